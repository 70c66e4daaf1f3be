"""The task that decides whether a candidate becomes champion."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cuvee.errors import IntegrityError, InvalidInputError, NotFoundError
from cuvee.settings import Settings
from ml_service.pipeline.run import Receipt, features_of
from ml_service.wine import MODEL_NAME

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cuvee.promotion import Decision, Policy
    from cuvee.registry import RegisteredVersion, Registry

log = logging.getLogger(__name__)


def decide_promotion(candidate: Receipt, features: Receipt, settings: Settings | None = None) -> Receipt:
    """Compare with the champion, or at first with the baseline, on the frozen test wines; promote if proven better.

    In this order: decision row, tags, alias, notification. A try that was killed in between is finished by the next.
    Where CUVEE_WINE_APPROVAL is `human`, what is proven better waits for `settle_promotion`.

    Returns:
        promoted, waiting, reason, evidence (Markdown), version, champion_version, run_url, service_url.

    Raises:
        IntegrityError, NotFoundError: the champion or the candidate cannot be loaded; the champion stays.
    """
    from cuvee import champions
    from cuvee.database import connect, single_writer
    from cuvee.registry import Registry

    settings = settings or Settings.load()
    registry = Registry(settings.resolved_mlflow_uri)
    engine = connect(settings.resolved_database_url)
    challenger = registry.version(MODEL_NAME, int(candidate["version"]))
    try:
        with single_writer(engine, champions.lock_name(MODEL_NAME)):
            decision = _decided(engine, registry, challenger, features, settings)
            receipt = _carried_out(engine, registry, challenger, settings)
    finally:
        engine.dispose()
    told = {"reason": decision.reason, "evidence": evidence_text(decision), "run_url": candidate.get("run_url")}
    return receipt | told


def settle_promotion(decided: Receipt, answer: Receipt | None, settings: Settings | None = None) -> Receipt:
    """Record what a person answered in the form of `ask_approval`, and move the alias if it was yes.

    Args:
        decided: receipt of `decide_promotion`.
        answer: what Airflow's approval form returned: chosen_options, params_input, responded_by_user.
        settings: of this stack.

    Returns:
        promoted, waiting, version, champion_version, service_url.

    Raises:
        InvalidInputError: there is no answer.
    """
    from cuvee import champions
    from cuvee.database import connect, single_writer
    from cuvee.registry import Registry

    if not answer:
        raise InvalidInputError("Nobody answered yet; clear the task ask_approval, and answer it.")
    settings = settings or Settings.load()
    registry = Registry(settings.resolved_mlflow_uri)
    engine = connect(settings.resolved_database_url)
    challenger = registry.version(MODEL_NAME, int(decided["version"]))
    user = answer.get("responded_by_user") or {}
    by = str(user.get("name") or "nobody, the time ran out")
    remark = (answer.get("params_input") or {}).get("why")
    try:
        with single_writer(engine, champions.lock_name(MODEL_NAME)):
            with engine.begin() as connection:
                approved = answer["chosen_options"] == ["Approve"]
                champions.settle(connection, MODEL_NAME, challenger.identity, approved, by, remark)
            return _carried_out(engine, registry, challenger, settings)
    finally:
        engine.dispose()


def _carried_out(
    engine: "sa.Engine", registry: "Registry", challenger: "RegisteredVersion", settings: Settings
) -> Receipt:
    from cuvee import champions

    entry = champions.carry_out(engine, registry, challenger)
    log.info("version %d %s. %s", challenger.version, entry.outcome, entry.reason)
    champion = registry.champion(MODEL_NAME)
    return {
        "promoted": entry.promoted,
        "waiting": entry.waiting,
        "version": challenger.version,
        "champion_version": champion.version if champion else None,
        "service_url": f"{settings.public_ml_url}/docs",
    }


def evidence_text(decision: "Decision") -> str:
    """What a person is shown before saying yes or no, in Markdown."""
    lines = [decision.reason, "", "| guard | cases | value | limit | holds |", "|---|---|---|---|---|"]
    lines += [
        f"| {guard.name} | {guard.cases} | {guard.value:.4f} | {guard.limit:.4f} | {'yes' if guard.holds else 'no'} |"
        for guard in decision.guards
    ]
    return "\n".join(lines)


def wine_policy(settings: Settings) -> "Policy":
    """The policy of the settings, in squared quality points."""
    from cuvee.promotion import Policy

    return Policy(
        margin=settings.wine_margin,
        confidence=settings.wine_confidence,
        slice_tolerance=settings.wine_slice_tolerance,
        latency_limit_ms=settings.wine_latency_limit_ms,
        approval=settings.wine_approval,
    )


def _decided(
    engine: "sa.Engine",
    registry: "Registry",
    challenger: "RegisteredVersion",
    features: Receipt,
    settings: Settings,
) -> "Decision":
    """The decision that stands for this challenger; made and committed here if there is none."""
    from cuvee.promotion import decide, record, recorded

    with engine.connect() as connection:
        stands = recorded(connection, MODEL_NAME, challenger.identity)
    if stands is not None:
        return stands
    from ml_service import gate

    dataset, policy = features_of(features), wine_policy(settings)
    champion = registry.champion(MODEL_NAME)
    theirs = gate.scored(registry, challenger, dataset)
    if champion is None:
        name, ours = "the baseline (mean)", gate.scored_baseline(dataset)
    else:
        name = f"version {champion.version}"
        try:
            ours = gate.scored(registry, champion, dataset)
        except (IntegrityError, NotFoundError) as error:
            raise type(error)(
                f"The champion, {name}, could not be scored and stays champion: {error} To go on without it, remove "
                "the alias champion in MLflow, then run train_wine: its version is then compared with the baseline."
            ) from error
    checks = gate.checks(dataset, ours, theirs, settings.wine_recent_days, policy.least_cases)
    decision = decide(ours.losses, theirs.losses, policy, name, checks)
    decision = held_back(decision, challenger, champion, registry.versions(MODEL_NAME))
    with engine.begin() as connection:
        before = champion.identity if champion else None
        return record(connection, MODEL_NAME, challenger.identity, before, decision, policy)


def held_back(
    decision: "Decision",
    challenger: "RegisteredVersion",
    champion: "RegisteredVersion | None",
    versions: "Sequence[RegisteredVersion]",
) -> "Decision":
    """The decision, but against a challenger that is the same model again as one that a person has gone back from.

    The same data and parameters give the same model, which is proven better than the one gone back to once more.
    """
    from cuvee import champions
    from ml_service.artifact import CHECKSUM_TAG
    from ml_service.training import PARAMS_TAG

    made_of = {tag: challenger.tags.get(tag) for tag in (CHECKSUM_TAG, PARAMS_TAG)}
    if not decision.promoted or None in made_of.values():
        return decision
    for version in versions:
        left = version.tags.get(champions.DECISION_TAG) == champions.ROLLED_BACK
        serves = champion is not None and version.identity == champion.identity
        if left and not serves and made_of.items() <= version.tags.items():
            reason = (
                f"{decision.reason} But of the same data and parameters is version {version.version}, which was rolled "
                "back from. Give this version the alias champion in MLflow to serve it all the same."
            )
            return replace(decision, promoted=False, reason=reason)
    return decision
