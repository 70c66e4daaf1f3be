"""The task that decides whether a candidate becomes champion."""

import logging
from typing import TYPE_CHECKING

from cuvee.errors import CuveeError
from cuvee.settings import Settings
from ml_service.pipeline.run import Receipt, features_of
from ml_service.wine import MODEL_NAME

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cuvee.promotion import Decision
    from cuvee.registry import RegisteredVersion, Registry
    from ml_service.dataset import Dataset, Floats

log = logging.getLogger(__name__)


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
    dataset, policy = features_of(features), Policy()
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
