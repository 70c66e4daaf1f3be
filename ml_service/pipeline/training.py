"""The task that trains a candidate and registers it."""

import logging

from cuvee.settings import Settings
from ml_service.pipeline.run import Receipt, features_of
from ml_service.wine import MODEL_NAME

log = logging.getLogger(__name__)


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
        trained = training.train(features_of(features), chosen, tags, settings.resolved_mlflow_uri)
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
