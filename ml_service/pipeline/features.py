"""The task that makes the feature table."""

import logging
from pathlib import Path

from cuvee.errors import DataQualityError
from cuvee.settings import Settings
from ml_service.pipeline.run import Receipt, work_dir

log = logging.getLogger(__name__)

_LOGGED_EXAMPLES = 10


def prepare_features(run_key: str, settings: Settings | None = None, observed: Receipt | None = None) -> Receipt:
    """Check, de-duplicate and split the wine table by Spark.

    Args:
        run_key: of the DAG run.
        settings: those of the process by default.
        observed: with `path`, a folder of Parquet files of wines whose quality was observed since; they are added.
            Those that are rejected are told in the log, and stop nothing.

    Returns:
        path, rejected_path, most_rows, checksum, and the counts of `expectations.TableCounts`.

    Raises:
        DataQualityError: a file breaks its contract, or the table as a whole is not what is expected of it.
        NotReadyError: Spark does not answer.
    """
    from ml_service import dataset, expectations
    from spark_jobs import wine_features
    from spark_jobs.session import attached

    settings = settings or Settings.load()
    target = work_dir(settings, run_key)
    since = Path(observed["path"]) if observed and observed.get("path") else None
    with attached(settings.resolved_spark_url) as session:
        wine_features.write(session, [settings.wine_dir], target, since)
    counts = expectations.count(target)
    log.info("%d rows, %d rejected; rejected rows with reasons: %s", counts.rows, counts.rejected, target / "rejected")
    for reason, found in counts.rejected_by_reason.items():
        log.warning("rejected: %s (%d rows)", reason, found)
    for reason, found in counts.observed.rejected_by_reason.items():
        log.warning("rejected, of the observed wines: %s (%d rows)", reason, found)
    for example in expectations.rejected_examples(target, _LOGGED_EXAMPLES):
        log.warning("for example: %s", example)
    unmet = expectations.unmet(counts, settings)
    if unmet:
        raise DataQualityError(
            f"{'; '.join(unmet)}. Each rejected row with its reason is in {target / 'rejected'}. Mend the files in "
            f"{settings.wine_dir} and clear this task. The champion stays."
        )
    table = dataset.load(target / "features", settings.max_training_rows)
    log.info("%d distinct wines, checksum %s", counts.distinct, table.checksum)
    if len(table.quality) < counts.distinct:
        log.warning(
            "models are trained and judged on %d of them, the newest observed ones and a fixed sample of the others; "
            "CUVEE_MAX_TRAINING_ROWS is %d",
            len(table.quality),
            settings.max_training_rows,
        )
    return {
        "path": str(target / "features"),
        "rejected_path": str(target / "rejected"),
        "most_rows": settings.max_training_rows,
        "checksum": table.checksum,
        **counts.to_json(),
    }
