"""Everything indexed anew with what the settings name now, beside the generation that is served and kept up meanwhile.

Three steps, each of which can be killed at any line and run again: `read_anew` (hours, where there is much), `judge`,
`publish_anew`. Imported by name, because measuring needs slow libraries. Why it is so: docs/adr/0014.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from cuvee import promotion
from cuvee.database import single_writer
from cuvee.errors import ConfigurationError, InvalidInputError, NotReadyError
from cuvee.promotion import Decision
from cuvee.settings import Settings
from rag_service.documents import ledger, membership
from rag_service.documents.ledger import Outcome
from rag_service.evaluation import golden, trial
from rag_service.index import building, publishing
from rag_service.index import generation as generations
from rag_service.index.alive import Alive
from rag_service.index.building import Recipe
from rag_service.index.making import Making
from rag_service.index.manifest import Manifest, generation_folder, read_manifest
from rag_service.index.rows import Rows
from rag_service.pipeline import evaluation
from rag_service.pipeline.index import REBUILD, publish_built, receipt_of
from rag_service.pipeline.rebuild_files import Candidate, Landing, Profile, Rebuild, Reread
from rag_service.pipeline.run import INDEX_LOCK, Run, Tell

log = logging.getLogger(__name__)

ARTEFACT = "index-making"
_LOCK = "index-rebuild"
_MOST_NAMED = 5
_MOST_TRIES = 5
_FEW = 20
"""Documents that are read while micro-batches wait, if there are no more: a few seconds."""


def read_anew(tell: Tell | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Read, cut and embed every indexed document with what the settings name; what an earlier try could read stays.

    Raises:
        NotReadyError: nothing is indexed, or Spark does not answer.
        ConfigurationError: the embedder that the settings name cannot be had.
    """
    run = Run.begin(settings)
    _present(run)
    rebuild = Rebuild.of(run)
    with single_writer(run.engine, _LOCK):
        rebuild.begin()
        known = rebuild.read_rest(rebuild.read_sound(), tell)
        indexed = [known[document.landing] for document in rebuild.indexed() if document.landing in known]
    failed = sum(one.outcome.error is not None for one in indexed)
    return {"documents": len(indexed), "failed": failed, "embedder": rebuild.making.model.version}


def judge(accept: str | None = None, path: Path | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Build a generation aside of what was read anew, and decide whether it may be served: it is promoted if it is not
    worse than what is served, by the golden set, and if no document is lost.

    Args:
        accept: why it is to be promoted whatever was measured, in somebody's words.
        path: golden set about the indexed documents; None: the sample's.

    Raises:
        NotReadyError: nothing was read anew.
        InvalidInputError: the golden set cannot be read, or brings passages of its own.
    """
    run = Run.begin(settings)
    _present(run)
    rebuild = Rebuild.of(run)
    with single_writer(run.engine, _LOCK):
        rebuild.begin()
        known, indexed = rebuild.read(), rebuild.indexed()
        read = [known[document.landing] for document in indexed if document.landing in known]
        sound = [one for one in read if one.outcome.error is None]
        lost = [one.outcome for one in read if one.outcome.error is not None]
        if not sound:
            raise NotReadyError("Nothing was read anew; begin with the first step.")
        folder = _built(rebuild, sound)
        # What is served by now: building takes long, and micro-batches and people go on.
        present = _present(run)
        decision, recipe = _judged(run, rebuild, present, folder, path)
        decision = _without_loss(decision, lost, len(read))
        if accept and not decision.promoted:
            decision = replace(decision, promoted=True, reason=f"Accepted ({accept}), though: {decision.reason}")
        candidate = Candidate(
            folder=str(folder.relative_to(rebuild.index_dir)),
            held=dict(one.outcome.landing for one in sound),
            lost=dict(outcome.landing for outcome in lost),
            profile=Profile.of(recipe),
            beside=Profile.of(present),
            champion=present.number,
            promoted=decision.promoted,
        )
        with run.engine.begin() as connection:
            name, champion = _name(rebuild, candidate, decision), f"generation {present.number}"
            decision = promotion.record(connection, ARTEFACT, name, champion, decision, trial.RENEWAL)
        rebuild.remember(candidate)
    log.info("%s: %s", "promoted" if decision.promoted else "not promoted", decision.reason)
    return {"promoted": decision.promoted, "reason": decision.reason, "documents": len(sound)}


def publish_anew(settings: Settings | None = None) -> dict[str, Any]:
    """Publish the candidate that was promoted, with what was indexed since it was built and without what is gone.

    Micro-batches and deletions wait while the base's files are hashed, and while those documents are read that came
    during this very step.

    Raises:
        InvalidInputError: nothing was promoted, or what came since cannot be read with what the settings name.
        NotReadyError: it was measured beside something else than what is served now.
        IntegrityError: a file of the candidate is missing or altered.
    """
    run = Run.begin(settings)
    rebuild = Rebuild.of(run)
    with single_writer(run.engine, _LOCK):
        candidate = rebuild.candidate()
        if candidate is None or not candidate.promoted:
            raise InvalidInputError("No rebuilt index was promoted, so there is none to publish.")
        rebuild.begin()
        for tries_left in reversed(range(_MOST_TRIES)):
            known = rebuild.read_rest(rebuild.read())
            with single_writer(run.engine, INDEX_LOCK):
                came = [document for document in rebuild.indexed() if document.landing not in known]
                if len(came) > _FEW and tries_left:
                    continue  # read them while micro-batches go on
                before = _present(run)
                # A run that was killed between publishing and this.
                done = any(
                    r.origin == REBUILD and r.number > candidate.champion for r in publishing.records(run.engine)
                )
                manifest = before if done else _publish(rebuild, candidate, rebuild.read_rest(known), before)
                break
        rebuild.end()
    return receipt_of(manifest, before)


def _publish(rebuild: Rebuild, candidate: Candidate, known: dict[Landing, Reread], before: Manifest) -> Manifest:
    run = rebuild.run
    if Profile.of(before) != candidate.beside:
        raise NotReadyError("Other weights, or another embedder, were published since it was measured: judge it again.")
    landings = {document.landing for document in rebuild.indexed()}
    kept = {landing[0] for landing in candidate.held.items() if landing in landings}
    later = [known[landing] for landing in landings if landing[0] not in kept]
    failed = [one.outcome for one in later if one.outcome.error is not None]
    if lost := [outcome for outcome in failed if outcome.landing not in candidate.lost.items()]:
        raise InvalidInputError(
            f"{_told(lost)} came since and cannot be read anew. Mend or delete them, or judge again."
        )
    fresh = list(rebuild.rows([one for one in later if one.outcome.error is None]))
    rows = Rows.together(fresh) if fresh else None
    base = building.adopt(run.index_dir, rebuild.index_dir / candidate.folder)
    wanted = candidate.profile
    recipe = replace(Recipe.of(base), refusal_threshold=wanted.refusal_threshold, tuning=wanted.tuning)

    def build(number: int, indexed: set[str]) -> Path:
        alive = Alive.of(run.index_dir, base, indexed & kept)
        return building.extend(number, alive, rows.only(indexed) if rows else None, recipe, run.folding)

    def record(connection: sa.Connection) -> None:
        ledger.mark_reread(connection, [known[landing].outcome for landing in sorted(landings)])
        membership.mark_left(connection)

    return publish_built(run, build, REBUILD, record)


def _present(run: Run) -> Manifest:
    present = run.published()
    if present is None or not present.chunks:
        raise NotReadyError("Nothing is indexed, so there is nothing to index anew: new documents are indexed as set.")
    return present


def _built(rebuild: Rebuild, sound: Sequence[Reread]) -> Path:
    batches = rebuild.rows(sound)
    first = next(batches, None)
    if first is None:
        raise NotReadyError("No document that was read anew has text.")
    number = generations.next_number(rebuild.run.engine)
    # How it is searched is decided later.
    recipe = Recipe.of_making(rebuild.making, rebuild.run.settings.refusal_threshold, {})
    return building.build_from(rebuild.index_dir, number, chain([first], batches), first.vectors.shape[1], recipe)


def _judged(run: Run, rebuild: Rebuild, present: Manifest, folder: Path, path: Path | None) -> tuple[Decision, Recipe]:
    """By a golden set; and what the candidate is to be served with."""
    making, settings = rebuild.making, run.settings
    chosen = golden.load(path or settings.golden_dir / evaluation.SAMPLE)
    if chosen.passages is not None:
        raise InvalidInputError(f"The golden set {chosen.name} brings passages of its own; one about yours is needed.")
    fits = _network(present.embedder_version) != making.model.weights_sha256[:12]
    # Weights in use belong to the embedder in use.
    recipe = (
        Recipe.of_making(making, settings.refusal_threshold, {})
        if fits
        else Recipe.of_making(making, present.refusal_threshold, present.tuning)
    )
    try:
        before = evaluation.bench_of(run, generation_folder(run.index_dir, present.number), Making.of(present))
        known = evaluation.about_what_is_there(chosen, before)
        after = evaluation.bench_of(run, folder, making)
        if fits:
            evaluation.must_part(known)
    except (ConfigurationError, evaluation.NothingToMeasureError) as error:
        return Decision(False, f"It could not be measured beside what is served: {error}", 0.0, 0.0, 0), recipe
    rule = trial.RENEWAL, "what is served"
    if fits:
        found = trial.cross_fitted(before, after, known.cases, settings.least_answered_share, *rule)
        recipe = Recipe.of_making(making, found.threshold, found.calibration.tuning())
    else:
        found = trial.same_weights(before, after, known.cases, *rule)
    about = {**evaluation.described(run, chosen, after), "trial": "rebuilt"}
    evaluation.logged(run, chosen, found.after, about, found.threshold, found.fitted)
    return found.decision, recipe


def _network(embedder_version: str) -> str:
    """First 12 digits of the hash of the weights: with the same ones, cosines have the same scale."""
    return embedder_version.rpartition("@")[2].partition("/")[0]


def _without_loss(decision: Decision, failed: Sequence[Outcome], read: int) -> Decision:
    if not failed or not decision.promoted:
        return decision
    reason = f"Of {read} documents that are answered from now, {_told(failed)} cannot be read anew."
    return replace(decision, promoted=False, reason=f"{reason} Mend or delete them, or accept that.")


def _told(failed: Sequence[Outcome]) -> str:
    named = "; ".join(f"{outcome.document_id}: {outcome.error}" for outcome in failed[:_MOST_NAMED])
    more = f"; and {len(failed) - _MOST_NAMED} more" if len(failed) > _MOST_NAMED else ""
    return f"{len(failed)} ({named}{more})"


def _name(rebuild: Rebuild, candidate: Candidate, decision: Decision) -> str:
    """A step that is repeated with the same outcome gives the same name, so that it adds no row."""
    base = read_manifest(rebuild.index_dir / candidate.folder).base
    assert base is not None
    what = json.dumps([base.id, candidate.model_dump(), asdict(decision)], sort_keys=True)
    digest = hashlib.sha256(what.encode()).hexdigest()[:12]
    return f"{rebuild.making.model.version} {rebuild.making.chunker} {digest}"
