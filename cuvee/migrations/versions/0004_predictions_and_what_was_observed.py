"""intervals, roles and shadows of predictions, and the qualities observed later"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    added: tuple[sa.Column[Any], ...] = (
        sa.Column("low", sa.Double(), comment="lower end of the interval; null in rows older than intervals"),
        sa.Column("high", sa.Double()),
        sa.Column("role", sa.Text(), server_default="champion", nullable=False, comment="why this version was asked"),
        sa.Column(
            "shadow_of",
            sa.UUID(),
            sa.ForeignKey("predictions.prediction_id", name="predictions_shadow_of_fkey", ondelete="CASCADE"),
            comment="the answered prediction that this one, never returned, stands beside",
        ),
    )
    for column in added:
        op.add_column("predictions", column)
    op.create_check_constraint(
        op.f("predictions_role_check"), "predictions", "role in ('champion', 'named', 'canary', 'shadow')"
    )
    op.create_check_constraint(
        op.f("predictions_shadow_of_check"), "predictions", "(role = 'shadow') = (shadow_of is not null)"
    )
    op.create_index(
        "predictions_shadow_of_idx", "predictions", ["shadow_of"], postgresql_where=sa.text("shadow_of is not null")
    )
    op.create_table(
        "observed_qualities",
        sa.Column(
            "prediction_id",
            sa.UUID(),
            nullable=False,
            comment="of the answered prediction; its shadows are judged by the same row",
        ),
        sa.Column("quality", sa.Double(), nullable=False, comment="points; a later observation replaces the former"),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="when the wine was tasted",
        ),
        sa.Column("key_id", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["prediction_id"],
            ["predictions.prediction_id"],
            name=op.f("observed_qualities_prediction_id_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("prediction_id", name=op.f("observed_qualities_pkey")),
    )
    op.create_index("observed_qualities_received_at_idx", "observed_qualities", ["received_at"], unique=False)


def downgrade() -> None:
    op.drop_index("observed_qualities_received_at_idx", table_name="observed_qualities")
    op.drop_table("observed_qualities")
    op.execute("delete from predictions where role = 'shadow'")
    op.drop_index("predictions_shadow_of_idx", table_name="predictions")
    for name in ("shadow_of", "role", "high", "low"):
        op.drop_column("predictions", name)
