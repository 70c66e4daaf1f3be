"""what an answer is known by where a later question repeats it"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column(
        "questions",
        sa.Column(
            "answer_fingerprint",
            sa.Text(),
            nullable=True,
            comment="of the answer as given, also when its words are gone",
        ),
    )
    op.execute(
        r"""
        update questions set answer_fingerprint =
            md5(left(regexp_replace(answer, '\s+|[[(]\d+(\s*,\s*\d+)*[])]', '', 'g'), 1000))
        """
    )
    op.create_index("questions_answer_fingerprint_idx", "questions", ["answer_fingerprint"])


def downgrade() -> None:
    op.drop_index("questions_answer_fingerprint_idx", table_name="questions")
    op.drop_column("questions", "answer_fingerprint")
