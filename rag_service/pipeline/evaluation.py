"""Measuring what is served on a golden set, and trying weights that may serve better."""

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cuvee import promotion
from cuvee.database import single_writer
from cuvee.errors import NotReadyError
from cuvee.settings import Settings
from rag_service.answers import models
from rag_service.answers.answerer import Answerer
from rag_service.evaluation import corpus, golden, report, trial
from rag_service.evaluation.golden import GoldenSet
from rag_service.evaluation.measuring import Bench, Measured, document_name, passage_name, summary
from rag_service.index import building, reranker
from rag_service.index import generation as generations
from rag_service.index.alive import Alive
from rag_service.index.building import Recipe
from rag_service.index.calibration import Calibration
from rag_service.index.embedder import shared
from rag_service.index.generation import Generation, Manifest
from rag_service.index.recency import Recency
from rag_service.index.search import CachingEncoder, Retriever
from rag_service.pipeline.index import publish_built
from rag_service.pipeline.run import INDEX_LOCK, Run

log = logging.getLogger(__name__)

SAMPLE = "sample.json"
ARTEFACT = "index-weights"


class NothingToMeasureError(NotReadyError):
    """Nothing is indexed, or none of the documents that a golden set asks about, or too few for two halves."""


@dataclass(frozen=True)
class Evaluation:
    """What was measured, and where it is logged."""

    measures: dict[str, float]
    run_id: str
    generation: int | None
    """None: of passages that the golden set brought along."""
    answer_model: str
    """Whose answers were measured, and which model is served instead if another is."""


def evaluate_index(path: Path | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Measure the published generation on a golden set (the sample's by default) and log it to MLflow.

    Raises:
        InvalidInputError: the golden set cannot be read.
        NothingToMeasureError: nothing is published, or nothing that the golden set is about.
    """
    run = Run.begin(settings)
    chosen = golden.load(path or run.settings.golden_dir / SAMPLE)
    with _bench(run, chosen) as (bench, about):
        known = about_what_is_there(chosen, bench)
        found = logged(run, chosen, list(bench.measure(known.cases)), about, bench.threshold)
    return vars(found)


def tune_index(path: Path | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Fit weights to half of a golden set, and choose the refusal threshold on it; publish a generation that has them
    if the other half proves them better.

    Raises:
        InvalidInputError: the golden set cannot be read.
        NothingToMeasureError: nothing is published, or nothing that the golden set, or one half of it, is about.
    """
    run = Run.begin(settings)
    chosen = golden.load(path or run.settings.golden_dir / SAMPLE)
    with _bench(run, chosen) as (bench, about):
        known = about_what_is_there(chosen, bench)
        must_part(known)
        outcome = trial.trial(bench, known.cases, run.settings.least_answered_share)
        present = bench.retriever.calibration, bench.threshold
        tried = outcome.chosen.threshold
        logged(run, chosen, outcome.tuned, {**about, "trial": "tuned"}, tried, outcome.fitted)
    decision = outcome.decision
    with single_writer(run.engine, INDEX_LOCK):
        manifest = run.published()
        if manifest is None:
            raise NotReadyError("Nothing is indexed, so there is no generation that could have new weights.")
        if (Calibration.of(manifest.tuning), manifest.refusal_threshold) != present:
            raise NotReadyError("Other weights were published meanwhile; run it again.")
        name = f"{manifest.number}:{_name(outcome.calibration, tried)}"
        with run.engine.begin() as connection:
            champion = _name(*present)
            decision = promotion.record(connection, ARTEFACT, name, champion, decision, trial.POLICY)
        recipe = replace(Recipe.of(manifest), tuning=outcome.calibration.tuning(), refusal_threshold=tried)
        number = _publish_tuned(run, manifest, recipe) if decision.promoted else manifest.number
    return {"promoted": decision.promoted, "reason": decision.reason, "generation": number, "threshold": tried}


def _publish_tuned(run: Run, present: Manifest, recipe: Recipe) -> int:
    def build(number: int, indexed: set[str]) -> Path:
        return building.extend(number, Alive.of(run.index_dir, present, indexed), None, recipe, run.folding)

    return publish_built(run, build, "tuning").number


def _name(calibration: Calibration, refused_below: float) -> str:
    return hashlib.sha256(f"{calibration.model_dump_json()} {refused_below}".encode()).hexdigest()[:12]


@contextmanager
def _bench(run: Run, chosen: GoldenSet) -> Iterator[tuple[Bench, dict[str, str]]]:
    # Passages that came along, too: weights that are fitted to them may be served with what is published.
    making = run.making(run.published())
    encoder = CachingEncoder(shared(making.embedder, making.rule.tokens), most_texts=200_000)
    answerer = Answerer(models.extractive())
    scorer = reranker.load(run.settings.reranker)
    # Another model may take minutes for one question: what it says is not measured here, and the report says so.
    served = run.settings.answer_model
    measured_model = answerer.model.name + ("" if served == "extractive" else f", not {served}, which is served")
    about = {"golden": chosen.name, "embedder": encoder.version, "answer_model": measured_model}
    about["reranker"] = scorer.version if scorer else reranker.NONE
    if chosen.passages is not None:
        with tempfile.TemporaryDirectory(prefix="cuvee-golden-") as folder:
            apart = corpus.indexed(chosen.passages, encoder, Path(folder))
            manifest = run.published()
            in_use = Calibration.of(manifest.tuning) if manifest else None
            refused_below = manifest.refusal_threshold if manifest else run.settings.refusal_threshold
            yield Bench.of(Retriever(apart, encoder, in_use, scorer), answerer, passage_name, refused_below), about
        return
    published = generations.current(run.engine, run.index_dir)
    if published is None:
        raise NothingToMeasureError("Nothing is indexed yet, so there is nothing to measure.")
    generation = Generation.load(published)
    recency = Recency(run.settings.recency_half_life_days)
    about["generation"] = str(generation.manifest.number)
    yield Bench.of(Retriever(generation, encoder, None, scorer, recency), answerer, document_name), about


def about_what_is_there(chosen: GoldenSet, bench: Bench) -> GoldenSet:
    """Without the questions about documents that are not there.

    Raises:
        NothingToMeasureError: none is left that has an answer.
    """
    kept = tuple(case for case in chosen.cases if not case.answerable or case.relevant & bench.documents.keys())
    if not any(case.answerable for case in kept):
        raise NothingToMeasureError(f"None of the documents that the golden set {chosen.name} asks about is indexed.")
    return replace(chosen, cases=kept)


def must_part(known: GoldenSet) -> None:
    """Raises NothingToMeasureError where weights could not be fitted to one half, or not be judged by the other."""
    if not all(any(case.answerable for case in half) for half in trial.halves(known.cases)):
        raise NothingToMeasureError(
            f"Weights are fitted to one half of a golden set and judged by the other, but one half of the golden set "
            f"{known.name} has no question with an answer in what is indexed. It needs more of them, on other topics."
        )


def logged(
    run: Run,
    chosen: GoldenSet,
    measured: list[Measured],
    about: dict[str, str],
    refused_below: float,
    fitted: Sequence[Measured] = (),
) -> Evaluation:
    number = int(about["generation"]) if "generation" in about else None
    name = f"{chosen.name} on generation {number}" if number else chosen.name
    run_id = report.log_run(run.settings.resolved_mlflow_uri, name, measured, about, refused_below, fitted)
    log.info("%d questions of %s measured: MLflow run %s", len(measured), chosen.name, run_id)
    return Evaluation({k: round(v, 4) for k, v in summary(measured).items()}, run_id, number, about["answer_model"])
