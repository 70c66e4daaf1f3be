"""the record"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("key_sha256", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("key_sha256", name=op.f("api_keys_key_sha256_key")),
    )
    op.create_table(
        "documents",
        sa.Column("document_id", sa.Text(), nullable=False, comment="SHA-256 of topic, segment, uri and content"),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column(
            "uri", sa.Text(), nullable=False, comment="where the document came from, within its topic and segment"
        ),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("media_type", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the raw bytes; their key in object storage"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True, comment="why it failed, in words for its owner"),
        sa.Column(
            "text_sha256",
            sa.Text(),
            nullable=True,
            comment="of the cleaned text in object storage, which character spans refer to",
        ),
        sa.Column("pages", sa.Integer(), nullable=True),
        sa.Column("chars", sa.Integer(), nullable=True),
        sa.Column("chunks", sa.Integer(), nullable=True),
        sa.Column("landed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("indexed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state in ('landed', 'indexed', 'failed', 'superseded', 'deleted')", name=op.f("documents_state_check")
        ),
        sa.PrimaryKeyConstraint("document_id", name=op.f("documents_pkey")),
    )
    op.create_index("documents_place_idx", "documents", ["topic", "segment", "uri"], unique=False)
    op.create_index("documents_state_idx", "documents", ["state"], unique=False)
    op.create_table(
        "index_generations",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=False),
        sa.Column("embedder", sa.Text(), nullable=False),
        sa.Column("documents", sa.Integer(), nullable=False),
        sa.Column("chunks", sa.Integer(), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("state in ('published', 'retired')", name=op.f("index_generations_state_check")),
        sa.PrimaryKeyConstraint("number", name=op.f("index_generations_pkey")),
    )
    op.create_index(
        "index_generations_published_key",
        "index_generations",
        ["state"],
        unique=True,
        postgresql_where=sa.text("state = 'published'"),
    )
    op.create_table(
        "predictions",
        sa.Column("prediction_id", sa.UUID(), nullable=False),
        sa.Column("predicted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("sample", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("quality", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("prediction_id", name=op.f("predictions_pkey")),
    )
    op.create_index("predictions_predicted_at_idx", "predictions", ["predicted_at"], unique=False)
    op.create_table(
        "promotions",
        sa.Column("promotion_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("artefact", sa.Text(), nullable=False, comment="what is served: wine-quality, index, ..."),
        sa.Column("challenger", sa.Text(), nullable=False),
        sa.Column(
            "champion",
            sa.Text(),
            nullable=True,
            comment="served before; null: nothing was, the challenger met the baseline",
        ),
        sa.Column("promoted", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("promotion_id", name=op.f("promotions_pkey")),
        sa.UniqueConstraint("artefact", "challenger", name=op.f("promotions_artefact_challenger_key")),
    )
    op.create_table(
        "questions",
        sa.Column("question_id", sa.UUID(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=True),
        sa.Column("segment", sa.Text(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("sentences", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("sources", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("versions", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("timings_ms", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("question_id", name=op.f("questions_pkey")),
    )
    op.create_index("questions_asked_at_idx", "questions", ["asked_at"], unique=False)


def downgrade() -> None:
    op.drop_index("questions_asked_at_idx", table_name="questions")
    op.drop_table("questions")
    op.drop_table("promotions")
    op.drop_index("predictions_predicted_at_idx", table_name="predictions")
    op.drop_table("predictions")
    op.drop_index(
        "index_generations_published_key",
        table_name="index_generations",
        postgresql_where=sa.text("state = 'published'"),
    )
    op.drop_table("index_generations")
    op.drop_index("documents_state_idx", table_name="documents")
    op.drop_index("documents_place_idx", table_name="documents")
    op.drop_table("documents")
    op.drop_table("api_keys")
