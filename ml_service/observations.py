"""Predictions beside the qualities observed later, as the record has them, and the reports made of them."""

import uuid
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from cuvee.database import monitoring_reports, observed_qualities, predictions
from ml_service.dataset import encode
from ml_service.evaluation import squared_errors
from ml_service.monitoring import Earlier, Verdict, Window
from ml_service.wine import EARLIEST_TASTING, FEATURE_NAMES, MODEL_NAME

_BATCH_ROWS = 20_000
_SCHEMA = pa.schema(
    [(name, pa.float64()) for name in FEATURE_NAMES]
    + [("colour", pa.string()), ("quality", pa.float64()), ("observed_at", pa.timestamp("us", tz="UTC"))]
)


def window(connection: sa.Connection, version: int, since: datetime, most: int) -> Window:
    """The newest `most` answers of one version since then, and of as many whose quality came in since then."""
    answered = (predictions.c.model_name == MODEL_NAME) & (predictions.c.role != "shadow")
    answered &= predictions.c.model_version == version
    rows = connection.execute(
        sa.select(predictions.c.sample, predictions.c.quality)
        .where(answered, predictions.c.predicted_at > since)
        .order_by(predictions.c.predicted_at.desc())
        .limit(most)
    ).all()
    pairs = connection.execute(
        sa.select(observed_qualities.c.quality, predictions.c.quality)
        .join(predictions, predictions.c.prediction_id == observed_qualities.c.prediction_id)
        .where(answered, observed_qualities.c.received_at > since)
        .order_by(observed_qualities.c.received_at.desc())
        .limit(most)
    ).all()
    truth, predicted = np.array([tuple(pair) for pair in pairs], dtype=np.float64).reshape(len(pairs), 2).T
    qualities = np.array([row.quality for row in rows], dtype=np.float64)
    return Window(encode([row.sample for row in rows]), qualities, squared_errors(truth, predicted))


def export(connection: sa.Connection, target: Path) -> int:
    """Write every answered sample whose quality was observed to one Parquet file; number of its rows.

    The columns are those of the wine table's contract, with the colour and the time of the tasting. The file appears
    complete or not at all. A shadow's prediction is no sample of its own.
    """
    seen = observed_qualities.c
    # Rows from before the service had bounds may have any time, also years that Python has not.
    tasted = sa.func.greatest(EARLIEST_TASTING, sa.func.least(seen.observed_at, seen.received_at))
    statement = (
        sa.select(predictions.c.sample, seen.quality, tasted.label("observed_at"))
        .join(predictions, predictions.c.prediction_id == seen.prediction_id)
        .where(predictions.c.model_name == MODEL_NAME, predictions.c.role != "shadow")
        .order_by(seen.observed_at, seen.prediction_id)
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    count = 0
    try:
        with pq.ParquetWriter(aside, _SCHEMA) as writer:
            rows = connection.execution_options(yield_per=_BATCH_ROWS).execute(statement)
            for batch in rows.partitions():
                lines = [row.sample | {"quality": row.quality, "observed_at": row.observed_at} for row in batch]
                writer.write_table(pa.Table.from_pylist(lines, _SCHEMA))
                count += len(lines)
        aside.rename(target)
    finally:
        aside.unlink(missing_ok=True)
    return count


def recorded_report(connection: sa.Connection, run_key: str) -> Any | None:
    """The row that an earlier try of the same run wrote."""
    statement = sa.select(monitoring_reports).where(monitoring_reports.c.run_key == run_key)
    return connection.execute(statement).one_or_none()


def earlier_reports(connection: sa.Connection, least: int) -> list[Earlier]:
    """The newest `least`, the last that asked for a retraining and the last that was stable; newest first."""
    reports = monitoring_reports.c
    columns = (reports.model_version, reports.verdict, reports.retraining, reports.made_at)
    ours = sa.select(*columns, reports.report_id).where(reports.model_name == MODEL_NAME)
    ours = ours.order_by(reports.report_id.desc())
    asked, stable = ours.where(reports.retraining).limit(1), ours.where(reports.verdict == "stable").limit(1)
    found = sa.union(ours.limit(least), asked, stable).subquery()
    rows = connection.execute(sa.select(found).order_by(found.c.report_id.desc()))
    return [Earlier(row.model_version, row.verdict, row.retraining, row.made_at) for row in rows]


def received_since(connection: sa.Connection, since: datetime) -> int:
    """How many observed qualities came in that training would see, of any version's answers."""
    statement = (
        sa.select(sa.func.count())
        .select_from(observed_qualities)
        .join(predictions, predictions.c.prediction_id == observed_qualities.c.prediction_id)
        .where(
            predictions.c.model_name == MODEL_NAME,
            predictions.c.role != "shadow",
            observed_qualities.c.received_at > since,
        )
    )
    return connection.execute(statement).scalar_one()


def record_report(
    connection: sa.Connection, run_key: str, version: int, verdict: Verdict, retraining: bool, run_url: str
) -> None:
    """Write one row; a run writes one only."""
    measures = {
        "columns": {one.column: asdict(one) for one in verdict.moved},
        "error": asdict(verdict.error) if verdict.error else None,
    }
    values = {
        "run_key": run_key,
        "model_name": MODEL_NAME,
        "model_version": version,
        "verdict": verdict.word,
        "reasons": list(verdict.reasons),
        "strong": verdict.strong,
        "retraining": retraining,
        "measures": measures,
        "run_url": run_url,
    }
    connection.execute(insert(monitoring_reports).values(**values).on_conflict_do_nothing(index_elements=["run_key"]))
