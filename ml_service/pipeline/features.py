"""The task that makes the feature table."""

import logging
from pathlib import Path

from cuvee.errors import DataQualityError
from cuvee.settings import Settings
from ml_service.pipeline.run import Receipt, work_dir

log = logging.getLogger(__name__)

_LOGGED_EXAMPLES = 10


def prepare_features(run_key: str, settings: Settings | None = None) -> Receipt:
    """Check, de-duplicate and split the wine table by Spark.

    Returns:
        path, rejected_path, rows, distinct_rows, rejected, rejected_by_reason, checksum.

    Raises:
        DataQualityError: a file breaks its contract, or too large a share of its rows was rejected.
        NotReadyError: Spark does not answer.
    """
    from ml_service import dataset
    from spark_jobs import wine_features
    from spark_jobs.session import attached

    settings = settings or Settings.load()
    target = work_dir(settings, run_key)
    with attached(settings.resolved_spark_url) as session:
        wine_features.write(session, settings.wine_dir, target)
    rejected, by_reason = dataset.rejected_by_kind(target / "rejected")
    rows = dataset.row_count(target / "features") + rejected
    log.info("%d rows, %d rejected; rejected rows with reasons: %s", rows, rejected, target / "rejected")
    for reason, count in by_reason.items():
        log.warning("rejected: %s (%d rows)", reason, count)
    for example in dataset.rejected_examples(target / "rejected", _LOGGED_EXAMPLES):
        log.warning("for example: %s", example)
    _check_share(rows, rejected, by_reason, target, settings)
    table = dataset.load(target / "features")
    log.info("%d distinct wines, checksum %s", len(table.quality), table.checksum)
    return {
        "path": str(target / "features"),
        "rejected_path": str(target / "rejected"),
        "rows": rows,
        "distinct_rows": len(table.quality),
        "rejected": rejected,
        "rejected_by_reason": by_reason,
        "checksum": table.checksum,
    }


def _check_share(rows: int, rejected: int, by_reason: dict[str, int], target: Path, settings: Settings) -> None:
    if rows == 0:
        raise DataQualityError(f"The files in {settings.wine_dir} hold no rows. The champion stays.")
    if rejected / rows > settings.max_bad_row_share:
        counts = ", ".join(f"{reason} ({count})" for reason, count in by_reason.items())
        raise DataQualityError(
            f"{rejected} of {rows} rows ({rejected / rows:.1%}) were rejected, more than the "
            f"{settings.max_bad_row_share:.1%} that CUVEE_MAX_BAD_ROW_SHARE allows: {counts}. Each one with its reason "
            f"is in {target / 'rejected'}. Mend the files in {settings.wine_dir} and clear this task. "
            "The champion stays."
        )
