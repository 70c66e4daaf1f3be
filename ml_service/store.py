"""Predictions and observed qualities as rows of the record."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from cuvee.database import observed_qualities, predictions

COLUMNS = (
    "prediction_id",
    "predicted_at",
    "key_id",
    "model_name",
    "model_version",
    "sample",
    "quality",
    "low",
    "high",
    "role",
    "shadow_of",
)
_NAMES = ", ".join(COLUMNS)


def write(engine: sa.Engine, lines: str) -> None:
    """Add predictions in one transaction; what an earlier try, whose end was not heard of, has written stays.

    Args:
        engine: of our database.
        lines: PostgreSQL's text format of COPY, with the columns of `COLUMNS`.
    """
    create = "create temporary table if not exists arriving (like predictions including defaults) on commit delete rows"
    insert_new = (
        f"insert into predictions ({_NAMES}) select {_NAMES} from arriving "  # noqa: S608, constants
        "on conflict (prediction_id) do nothing"
    )
    with engine.begin() as connection:
        connection.exec_driver_sql(create)
        driver: Any = connection.connection.driver_connection
        with driver.cursor() as cursor:
            cursor.copy_expert(f"copy arriving ({_NAMES}) from stdin", io.StringIO(lines))
        connection.exec_driver_sql(insert_new)


@dataclass(frozen=True)
class Observed:
    """What tasters said of a wine that was predicted; `observed_at` None: now."""

    prediction_id: UUID
    quality: float
    observed_at: datetime | None


def observe(engine: sa.Engine, key_id: int, observed: Sequence[Observed]) -> list[str]:
    """Record each one; what became of it, in their order: `recorded`, `replaced` or `unknown`.

    A later observation of the same prediction replaces the former. Shadows were never answered: they are `unknown`.
    """
    ids = {one.prediction_id for one in observed}
    told = []
    with engine.begin() as connection:
        answered = sa.select(predictions.c.prediction_id).where(
            predictions.c.prediction_id.in_(ids), predictions.c.role != "shadow"
        )
        known = set(connection.execute(answered).scalars())
        for one in observed:
            if one.prediction_id not in known:
                told.append("unknown")
                continue
            given = {"observed_at": one.observed_at} if one.observed_at else {}
            new = insert(observed_qualities).values(
                prediction_id=one.prediction_id, quality=one.quality, key_id=key_id, **given
            )
            later = {name: new.excluded[name] for name in ("quality", "observed_at", "key_id", "received_at")}
            upsert = new.on_conflict_do_update(index_elements=["prediction_id"], set_=later)
            # xmax is 0 in a row that no statement has replaced.
            was_new = connection.execute(upsert.returning(sa.text("xmax = 0"))).scalar_one()
            told.append("recorded" if was_new else "replaced")
    return told
