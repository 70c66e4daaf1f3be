"""The record: PostgreSQL tables, transactions, advisory locks and notifications (heard in `cuvee.listener`)."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)
_now = sa.func.now()
_Time = sa.DateTime(timezone=True)

documents = sa.Table(
    "documents",
    metadata,
    sa.Column("document_id", sa.Text, primary_key=True, comment="SHA-256 of topic, segment, uri and content"),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("segment", sa.Text, nullable=False),
    sa.Column("uri", sa.Text, nullable=False, comment="where the document came from, within its topic and segment"),
    sa.Column("title", sa.Text),
    sa.Column("media_type", sa.Text),
    sa.Column("sha256", sa.Text, nullable=False, comment="of the raw bytes; their key in object storage"),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("error", sa.Text, comment="why it failed, in words for its owner"),
    sa.Column("text_sha256", sa.Text, comment="of the cleaned text in object storage, which character spans refer to"),
    sa.Column("pages", sa.Integer),
    sa.Column("chars", sa.Integer),
    sa.Column("chunks", sa.Integer),
    sa.Column("landed_at", _Time, nullable=False, server_default=_now),
    sa.Column("updated_at", _Time, nullable=False, server_default=_now),
    sa.Column("indexed_at", _Time),
    sa.Column("source", sa.Text, nullable=False, server_default="inbox", comment="what brought it"),
    sa.Column("author", sa.Text),
    sa.Column("date", sa.Date, comment="published on, as the document says itself"),
    sa.Column("metadata", JSONB, nullable=False, server_default="{}", comment="texts by name"),
    sa.Column("given", JSONB, nullable=False, server_default="{}", comment="author, date, metadata as its sender says"),
    sa.Column(
        "in_index",
        sa.Boolean,
        nullable=False,
        server_default=sa.false(),
        comment="the published generation holds it; with another state than indexed it waits to be taken out",
    ),
    sa.Column("reclaimed_at", _Time, comment="its bytes and text were removed"),
    sa.CheckConstraint("state in ('landed', 'indexed', 'failed', 'superseded', 'deleted')", name="state"),
    sa.Index("documents_place_idx", "topic", "segment", "uri"),
    sa.Index("documents_state_idx", "state"),
    sa.Index("documents_leaving_idx", "document_id", postgresql_where=sa.text("in_index and state <> 'indexed'")),
)

index_generations = sa.Table(
    "index_generations",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("manifest_sha256", sa.Text, nullable=False),
    sa.Column("embedder", sa.Text, nullable=False),
    sa.Column("documents", sa.Integer, nullable=False),
    sa.Column("chunks", sa.Integer, nullable=False),
    sa.Column("published_at", _Time, nullable=False, server_default=_now),
    sa.Column("origin", sa.Text, nullable=False, server_default="batch"),
    sa.Column("made_from", sa.Integer, comment="the older generation that it serves again"),
    sa.Column("retired_at", _Time),
    sa.CheckConstraint("state in ('published', 'retired', 'reclaimed')", name="state"),
    sa.Index("index_generations_published_key", "state", unique=True, postgresql_where=sa.text("state = 'published'")),
)

questions = sa.Table(
    "questions",
    metadata,
    sa.Column("question_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("asked_at", _Time, nullable=False, server_default=_now),
    sa.Column("key_id", sa.Integer, nullable=False),
    sa.Column("question", sa.Text, nullable=False),
    sa.Column("topic", sa.Text),
    sa.Column("segment", sa.Text),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("refused", sa.Boolean, nullable=False),
    sa.Column("sentences", JSONB, nullable=False),
    sa.Column("sources", JSONB, nullable=False),
    sa.Column("versions", JSONB, nullable=False),
    sa.Column("timings_ms", JSONB, nullable=False),
    sa.Column("filter", JSONB(none_as_null=True), comment="the condition as it was sent, besides topic and segment"),
    sa.Column("history", JSONB, nullable=False, server_default=sa.text("'[]'")),
    sa.Column("nearest", JSONB, nullable=False, server_default=sa.text("'[]'"), comment="passages a refusal shows"),
    sa.Column("answer_fingerprint", sa.Text, comment="of the answer as given, also when its words are gone"),
    sa.Index("questions_asked_at_idx", "asked_at"),
    sa.Index("questions_key_idx", "key_id", "asked_at"),
    sa.Index("questions_answer_fingerprint_idx", "answer_fingerprint"),
)

answer_feedback = sa.Table(
    "answer_feedback",
    metadata,
    sa.Column(
        "question_id",
        UUID(as_uuid=True),
        sa.ForeignKey("questions.question_id", name="answer_feedback_question_id_fkey", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("key_id", sa.Integer, primary_key=True, comment="who judged; a later verdict replaces the former"),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("comment", sa.Text),
    sa.Column("correct_document_id", sa.Text, comment="where the answer would have been"),
    sa.Column("given_at", _Time, nullable=False, server_default=_now),
    sa.CheckConstraint("verdict in ('up', 'down')", name="verdict"),
    sa.Index("answer_feedback_given_at_idx", "given_at"),
)

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("prediction_id", UUID(as_uuid=True), primary_key=True),
    sa.Column("predicted_at", _Time, nullable=False, server_default=_now),
    sa.Column("key_id", sa.Integer, nullable=False),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("sample", JSONB, nullable=False),
    sa.Column("quality", sa.Double, nullable=False),
    sa.Column("low", sa.Double, comment="lower end of the interval; null in rows older than intervals"),
    sa.Column("high", sa.Double),
    sa.Column("role", sa.Text, nullable=False, server_default="champion", comment="why this version was asked"),
    sa.Column(
        "shadow_of",
        UUID(as_uuid=True),
        sa.ForeignKey("predictions.prediction_id", name="predictions_shadow_of_fkey", ondelete="CASCADE"),
        comment="the answered prediction that this one, never returned, stands beside",
    ),
    sa.CheckConstraint("role in ('champion', 'named', 'canary', 'shadow')", name="role"),
    sa.CheckConstraint("(role = 'shadow') = (shadow_of is not null)", name="shadow_of"),
    sa.Index("predictions_predicted_at_idx", "predicted_at"),
    sa.Index("predictions_shadow_of_idx", "shadow_of", postgresql_where=sa.text("shadow_of is not null")),
)

observed_qualities = sa.Table(
    "observed_qualities",
    metadata,
    sa.Column(
        "prediction_id",
        UUID(as_uuid=True),
        sa.ForeignKey("predictions.prediction_id", name="observed_qualities_prediction_id_fkey", ondelete="CASCADE"),
        primary_key=True,
        comment="of the answered prediction; its shadows are judged by the same row",
    ),
    sa.Column("quality", sa.Double, nullable=False, comment="points; a later observation replaces the former"),
    sa.Column("observed_at", _Time, nullable=False, server_default=_now, comment="when the wine was tasted"),
    sa.Column("key_id", sa.Integer, nullable=False),
    sa.Column("received_at", _Time, nullable=False, server_default=_now),
    sa.Index("observed_qualities_received_at_idx", "received_at"),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("promotion_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("artefact", sa.Text, nullable=False, comment="what is served: wine-quality, index, ..."),
    sa.Column("challenger", sa.Text, nullable=False),
    sa.Column("champion", sa.Text, comment="served before; null: nothing was, the challenger met the baseline"),
    sa.Column("promoted", sa.Boolean, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", JSONB, nullable=False),
    sa.Column("decided_at", _Time, nullable=False, server_default=_now),
    sa.Column("kind", sa.Text, nullable=False, server_default="decision", comment="rollback: challenger served again"),
    sa.Column("approval", sa.Text, comment="null: the evidence alone decides"),
    sa.Column("decided_by", sa.Text, comment="who approved, rejected or went back"),
    sa.Column("remark", sa.Text, comment="why, in that person's words"),
    sa.Column("carried_out_at", _Time, comment="the alias was moved, or left for good"),
    sa.CheckConstraint("kind in ('decision', 'rollback')", name="kind"),
    sa.CheckConstraint("approval in ('waiting', 'approved', 'rejected')", name="approval"),
    sa.Index(
        "promotions_decision_key", "artefact", "challenger", unique=True, postgresql_where=sa.text("kind = 'decision'")
    ),
)

monitoring_reports = sa.Table(
    "monitoring_reports",
    metadata,
    sa.Column("report_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run_key", sa.Text, nullable=False, unique=True, comment="a repeated step finds its report by it"),
    sa.Column("made_at", _Time, nullable=False, server_default=_now),
    sa.Column("model_name", sa.Text, nullable=False),
    sa.Column("model_version", sa.Integer, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("reasons", ARRAY(sa.Text), nullable=False),
    sa.Column("strong", sa.Boolean, nullable=False, comment="the evidence needs no second verdict"),
    sa.Column("retraining", sa.Boolean, nullable=False, comment="a retraining was asked for"),
    sa.Column("measures", JSONB, nullable=False),
    sa.Column("run_url", sa.Text, nullable=False, comment="of the MLflow run that has the report"),
    sa.CheckConstraint("verdict in ('stable', 'drifting', 'degraded')", name="verdict"),
    sa.Index("monitoring_reports_made_at_idx", "model_name", "made_at"),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_id", sa.Integer, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("key_sha256", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", ARRAY(sa.Text), nullable=False),
    sa.Column("created_at", _Time, nullable=False, server_default=_now),
    sa.Column("revoked_at", _Time),
)

INDEX_CHANNEL = "cuvee_index"
MODEL_CHANNEL = "cuvee_model"


def connect(url: str, pool_size: int = 5) -> sa.Engine:
    """An engine whose pooled connections are tested before use, so that a restarted server is no error."""
    return sa.create_engine(url, pool_pre_ping=True, pool_size=pool_size, max_overflow=pool_size)


def _lock_key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


@contextmanager
def single_writer(engine: sa.Engine, name: str) -> Iterator[None]:
    """Hold the advisory lock `name` on a connection of its own; wait for whoever holds it.

    The server frees the lock when the holder's connection ends, also by `kill -9`.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.select(sa.func.pg_advisory_lock(_lock_key(name))))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(_lock_key(name))))


def notify(connection: sa.Connection, channel: str, payload: str) -> None:
    """Queue a notification that listeners get when, and only if, this transaction commits."""
    connection.execute(sa.select(sa.func.pg_notify(channel, payload)))
