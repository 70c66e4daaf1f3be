"""verdicts on answers, and what a question was asked with"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "answer_feedback",
        sa.Column("question_id", sa.UUID(), nullable=False),
        sa.Column(
            "key_id",
            sa.Integer(),
            autoincrement=False,
            nullable=False,
            comment="who judged; a later verdict replaces the former",
        ),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("correct_document_id", sa.Text(), nullable=True, comment="where the answer would have been"),
        sa.Column("given_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("verdict in ('up', 'down')", name=op.f("answer_feedback_verdict_check")),
        sa.ForeignKeyConstraint(
            ["question_id"],
            ["questions.question_id"],
            name=op.f("answer_feedback_question_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("question_id", "key_id", name=op.f("answer_feedback_pkey")),
    )
    op.create_index("answer_feedback_given_at_idx", "answer_feedback", ["given_at"], unique=False)
    json = postgresql.JSONB(astext_type=sa.Text())
    condition = sa.Column("filter", json, comment="the condition as it was sent, besides topic and segment")
    history = sa.Column("history", json, server_default=sa.text("'[]'"), nullable=False)
    nearest = sa.Column(
        "nearest", json, server_default=sa.text("'[]'"), nullable=False, comment="passages a refusal shows"
    )
    for column in (condition, history, nearest):
        op.add_column("questions", column)
    op.create_index("questions_key_idx", "questions", ["key_id", "asked_at"], unique=False)
    # A key that had every scope goes on having every scope.
    op.execute(
        "update api_keys set scopes = array_append(scopes, 'documents') "
        "where scopes @> array['rag', 'ml'] and not 'documents' = any(scopes)"
    )


def downgrade() -> None:
    op.execute("update api_keys set scopes = array_remove(scopes, 'documents')")
    op.drop_index("questions_key_idx", table_name="questions")
    for name in ("nearest", "history", "filter"):
        op.drop_column("questions", name)
    op.drop_index("answer_feedback_given_at_idx", table_name="answer_feedback")
    op.drop_table("answer_feedback")
