"""author, date and metadata that come with an upload"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column(
        "documents",
        sa.Column(
            "given",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="author, date, metadata as its sender says",
        ),
    )


def downgrade() -> None:
    op.drop_column("documents", "given")
