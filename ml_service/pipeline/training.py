"""The task that trains a candidate and registers it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.errors import CuveeError
from cuvee.settings import Settings
from ml_service.pipeline.run import Receipt, features_of
from ml_service.wine import MODEL_NAME

if TYPE_CHECKING:
    from cuvee.registry import Registry
    from ml_service.dataset import Dataset, Floats

log = logging.getLogger(__name__)


def train_candidate(features: Receipt, run_key: str, params: Receipt, settings: Settings | None = None) -> Receipt:
    """Train beside a dummy baseline and the champion, log to MLflow and register.

    A repeated call finds what it registered before; a search that was killed goes on.

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
        dataset = features_of(features)
        trained = training.train(
            dataset,
            chosen,
            tags,
            settings.resolved_mlflow_uri,
            # Beside the table: made again, it takes the trials with it.
            work_dir=Path(features["path"]).parent,
            lineage=features,
            rivals=_champion(registry, dataset),
        )
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


def _champion(registry: "Registry", dataset: "Dataset") -> "dict[str, Floats]":
    """What the champion answers to the test wines, by its name; nothing where there is none that can be loaded."""
    from ml_service import inference

    champion = registry.champion(MODEL_NAME)
    if champion is None:
        return {}
    try:
        predicted = inference.load(registry, champion).predict(dataset.inputs[dataset.split == "test"])
    except CuveeError as error:
        log.warning("the champion, version %d, is not compared with, it cannot be loaded: %s", champion.version, error)
        return {}
    return {f"champion (version {champion.version})": predicted}
