"""One function per task of the DAG `train_wine`; every one of them can be killed anywhere and run again.

Receipts are small and JSON; what is heavy stays in Parquet, MLflow and PostgreSQL.
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.errors import CuveeError, DataQualityError, IntegrityError
from cuvee.settings import Settings
from ml_service.wine import MODEL_NAME

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cuvee.promotion import Decision
    from cuvee.registry import RegisteredVersion, Registry
    from ml_service.dataset import Dataset, Floats

log = logging.getLogger(__name__)

Receipt = dict[str, Any]
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
    target = _work_dir(settings, run_key)
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


def _work_dir(settings: Settings, run_key: str) -> Path:
    """Spark takes no ':' in a path; the hash keeps apart what the cleaning makes equal."""
    cleaned = re.sub(r"[^A-Za-z0-9-]+", "-", run_key).strip("-")[:80]
    return settings.batches_dir / "wine" / f"{cleaned}-{hashlib.sha256(run_key.encode()).hexdigest()[:8]}"


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


def train_candidate(features: Receipt, run_key: str, params: Receipt, settings: Settings | None = None) -> Receipt:
    """Train beside a dummy baseline, log to MLflow and register; a repeated call finds what it registered before.

    Returns:
        run_id, name, version, metrics, run_url.

    Raises:
        InvalidInputError: a parameter is out of its bounds.
    """
    from cuvee.registry import Registry
    from ml_service import artifact, training

    settings = settings or Settings.load()
    chosen = training.TrainingParams.parse(params)
    registry = Registry(settings.resolved_mlflow_uri)
    tags = {
        training.RUN_KEY_TAG: run_key,
        artifact.CHECKSUM_TAG: str(features["checksum"]),
        training.PARAMS_TAG: chosen.model_dump_json(),
    }
    version = registry.find(MODEL_NAME, tags)
    if version is None:
        log.info("training %s", chosen)
        trained = training.train(_dataset(features), chosen, tags, settings.resolved_mlflow_uri)
        version = registry.version(MODEL_NAME, trained.version)
    else:
        log.info("an earlier try registered version %d; nothing to do", version.version)
    run = registry.run(version)
    return {
        "run_id": version.run_id,
        "name": version.name,
        "version": version.version,
        "metrics": run.metrics,
        "run_url": f"{settings.public_mlflow_url}/#/experiments/{run.experiment_id}/runs/{run.run_id}",
    }


def decide_promotion(candidate: Receipt, features: Receipt, settings: Settings | None = None) -> Receipt:
    """Compare with the champion, or at first with the baseline, on the frozen test wines; promote if proven better.

    In this order: decision row, tags, alias, notification. A try that was killed in between is finished by the next.

    Returns:
        promoted, reason, version, champion_version, run_url, service_url.

    Raises:
        IntegrityError: the champion or the candidate cannot be loaded; the champion stays.
    """
    from cuvee.database import connect, single_writer
    from cuvee.registry import Registry

    settings = settings or Settings.load()
    registry = Registry(settings.resolved_mlflow_uri)
    engine = connect(settings.resolved_database_url)
    challenger = registry.version(MODEL_NAME, int(candidate["version"]))
    try:
        with single_writer(engine, f"promotion of {MODEL_NAME}"):
            decision = _decided(engine, registry, challenger, features)
            _carry_out(engine, registry, challenger, decision)
            champion = registry.champion(MODEL_NAME)
    finally:
        engine.dispose()
    return {
        "promoted": decision.promoted,
        "reason": decision.reason,
        "version": challenger.version,
        "champion_version": champion.version if champion else None,
        "run_url": candidate.get("run_url"),
        "service_url": f"{settings.public_ml_url}/docs",
    }


def _decided(
    engine: "sa.Engine", registry: "Registry", challenger: "RegisteredVersion", features: Receipt
) -> "Decision":
    """The decision that stands for this challenger; made and committed here if there is none."""
    from cuvee.promotion import Policy, decide, record, recorded

    with engine.connect() as connection:
        stands = recorded(connection, MODEL_NAME, challenger.identity)
    if stands is not None:
        return stands
    dataset, policy = _dataset(features), Policy()
    champion = registry.champion(MODEL_NAME)
    losses = _losses(registry, challenger, dataset)
    if champion is None:
        name, champion_losses = "the baseline (mean)", _baseline_losses(dataset)
    else:
        name = f"version {champion.version}"
        try:
            champion_losses = _losses(registry, champion, dataset)
        except CuveeError as error:
            raise type(error)(f"The champion, {name}, could not be scored and stays champion: {error}") from error
    decision = decide(champion_losses, losses, policy, name)
    with engine.begin() as connection:
        before = champion.identity if champion else None
        return record(connection, MODEL_NAME, challenger.identity, before, decision, policy)


def _carry_out(
    engine: "sa.Engine", registry: "Registry", challenger: "RegisteredVersion", decision: "Decision"
) -> None:
    from cuvee.database import MODEL_CHANNEL, notify
    from cuvee.promotion import superseded

    verdict = "promoted" if decision.promoted else "not promoted"
    log.info("version %d %s. %s", challenger.version, verdict, decision.reason)
    registry.tag(challenger, {"cuvee.decision": verdict, "cuvee.reason": decision.reason})
    with engine.begin() as connection:
        if decision.promoted and not superseded(connection, MODEL_NAME, challenger.identity):
            registry.promote(challenger)
            notify(connection, MODEL_CHANNEL, challenger.uri)


def _losses(registry: "Registry", version: "RegisteredVersion", dataset: "Dataset") -> "Floats":
    """Squared errors on the test side of what the registry really holds, loaded as the service loads it."""
    from ml_service import evaluation, inference

    inputs, truth = dataset.part("test")
    predicted = inference.load(registry, version).pipeline.predict(inputs)
    return evaluation.squared_errors(truth, predicted)


def _baseline_losses(dataset: "Dataset") -> "Floats":
    from ml_service import evaluation, training

    inputs, truth = dataset.part("test")
    return evaluation.squared_errors(truth, training.fit_baseline(dataset).predict(inputs))


def _dataset(features: Receipt) -> "Dataset":
    """The feature table of the receipt, unchanged since.

    Raises:
        IntegrityError: its content is another than when it was made.
    """
    from ml_service import dataset

    loaded = dataset.load(Path(features["path"]))
    if loaded.checksum != features["checksum"]:
        raise IntegrityError(f"The feature table in {features['path']} was changed; clear the task prepare_features.")
    return loaded


def verify_served(settings: Settings | None = None) -> Receipt:
    """Wait until `ml_service` answers with the champion.

    Raises:
        NotReadyError: it serves something else when time runs out.
    """
    from cuvee.registry import Registry
    from cuvee.serving import wait_until_serves

    settings = settings or Settings.load()
    champion = Registry(settings.resolved_mlflow_uri).champion(MODEL_NAME)
    if champion is None:
        log.info("no champion yet; nothing to verify")
        return {"version": None}
    waited = wait_until_serves(settings.resolved_ml_url, "version", champion.version)
    return {"version": champion.version, "seconds": waited, "service_url": f"{settings.public_ml_url}/docs"}
