"""origins of documents; generations that can be gone back to and are reclaimed"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column(
        "documents", sa.Column("source", sa.Text(), server_default="inbox", nullable=False, comment="what brought it")
    )
    op.add_column("documents", sa.Column("author", sa.Text(), nullable=True))
    op.add_column(
        "documents", sa.Column("date", sa.Date(), nullable=True, comment="published on, as the document says itself")
    )
    op.add_column(
        "documents",
        sa.Column(
            "metadata",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="texts by name",
        ),
    )
    op.add_column(
        "documents",
        sa.Column(
            "in_index",
            sa.Boolean(),
            server_default=sa.false(),
            nullable=False,
            comment="the published generation holds it; with another state than indexed it waits to be taken out",
        ),
    )
    op.add_column(
        "documents",
        sa.Column("reclaimed_at", sa.DateTime(timezone=True), nullable=True, comment="its bytes and text were removed"),
    )
    # Generations had another format: everything is read again, by the next run of index_documents.
    op.execute("update documents set state = 'landed', landed_at = now() where state = 'indexed'")
    op.execute("delete from index_generations")
    op.create_index(
        "documents_leaving_idx",
        "documents",
        ["document_id"],
        unique=False,
        postgresql_where=sa.text("in_index and state <> 'indexed'"),
    )
    op.add_column("index_generations", sa.Column("origin", sa.Text(), server_default="batch", nullable=False))
    op.add_column(
        "index_generations",
        sa.Column("made_from", sa.Integer(), nullable=True, comment="the older generation that it serves again"),
    )
    op.add_column("index_generations", sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True))
    op.drop_constraint(op.f("index_generations_state_check"), "index_generations")
    op.create_check_constraint(
        op.f("index_generations_state_check"), "index_generations", "state in ('published', 'retired', 'reclaimed')"
    )


def downgrade() -> None:
    op.execute("delete from index_generations where state = 'reclaimed'")
    op.drop_constraint(op.f("index_generations_state_check"), "index_generations")
    op.create_check_constraint(
        op.f("index_generations_state_check"), "index_generations", "state in ('published', 'retired')"
    )
    for name in ("retired_at", "made_from", "origin"):
        op.drop_column("index_generations", name)
    op.drop_index("documents_leaving_idx", table_name="documents")
    for name in ("reclaimed_at", "in_index", "metadata", "date", "author", "source"):
        op.drop_column("documents", name)
