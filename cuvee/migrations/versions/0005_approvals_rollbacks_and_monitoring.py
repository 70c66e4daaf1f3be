"""approval and rollback of promotions, and what monitoring found"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    added: tuple[sa.Column[Any], ...] = (
        sa.Column(
            "kind",
            sa.Text(),
            server_default="decision",
            nullable=False,
            comment="rollback: challenger served again",
        ),
        sa.Column("approval", sa.Text(), nullable=True, comment="null: the evidence alone decides"),
        sa.Column("decided_by", sa.Text(), nullable=True, comment="who approved, rejected or went back"),
        sa.Column("remark", sa.Text(), nullable=True, comment="why, in that person's words"),
        sa.Column("carried_out_at", time, nullable=True, comment="the alias was moved, or left for good"),
    )
    for column in added:
        op.add_column("promotions", column)
    # What was decided before was carried out in the same step.
    op.execute("update promotions set carried_out_at = decided_at")
    op.create_check_constraint(op.f("promotions_kind_check"), "promotions", "kind in ('decision', 'rollback')")
    op.create_check_constraint(
        op.f("promotions_approval_check"), "promotions", "approval in ('waiting', 'approved', 'rejected')"
    )
    op.drop_constraint("promotions_artefact_challenger_key", "promotions", type_="unique")
    op.create_index(
        "promotions_decision_key",
        "promotions",
        ["artefact", "challenger"],
        unique=True,
        postgresql_where=sa.text("kind = 'decision'"),
    )
    op.create_table(
        "monitoring_reports",
        sa.Column("report_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_key", sa.Text(), nullable=False, comment="a repeated step finds its report by it"),
        sa.Column("made_at", time, server_default=sa.text("now()"), nullable=False),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("strong", sa.Boolean(), nullable=False, comment="the evidence needs no second verdict"),
        sa.Column("retraining", sa.Boolean(), nullable=False, comment="a retraining was asked for"),
        sa.Column("measures", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("run_url", sa.Text(), nullable=False, comment="of the MLflow run that has the report"),
        sa.CheckConstraint(
            "verdict in ('stable', 'drifting', 'degraded')", name=op.f("monitoring_reports_verdict_check")
        ),
        sa.PrimaryKeyConstraint("report_id", name=op.f("monitoring_reports_pkey")),
        sa.UniqueConstraint("run_key", name=op.f("monitoring_reports_run_key_key")),
    )
    op.create_index("monitoring_reports_made_at_idx", "monitoring_reports", ["model_name", "made_at"], unique=False)


def downgrade() -> None:
    op.drop_index("monitoring_reports_made_at_idx", table_name="monitoring_reports")
    op.drop_table("monitoring_reports")
    op.execute("delete from promotions where kind = 'rollback'")
    op.drop_index("promotions_decision_key", table_name="promotions")
    op.create_unique_constraint("promotions_artefact_challenger_key", "promotions", ["artefact", "challenger"])
    for name in ("carried_out_at", "remark", "decided_by", "approval", "kind"):
        op.drop_column("promotions", name)
