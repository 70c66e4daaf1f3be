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
from rag_service.evaluation.golden import Case, GoldenSet
from rag_service.evaluation.measuring import Bench, Measured, document_name, passage_name, summary
from rag_service.index import building, reranker
from rag_service.index.alive import Alive
from rag_service.index.building import Recipe
from rag_service.index.calibration import Calibration
from rag_service.index.embedder import shared
from rag_service.index.generation import Generation
from rag_service.index.making import Making
from rag_service.index.manifest import Manifest, generation_folder
from rag_service.index.recency import Recency
from rag_service.index.search import CachingEncoder, Retriever
from rag_service.pipeline.index import publish_built
from rag_service.pipeline.run import INDEX_LOCK, Run, Tell

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


def evaluate_index(
    path: Path | None = None,
    settings: Settings | None = None,
    *,
    written: bool = False,
    most: int | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Measure the published generation on a golden set (the sample's by default) and log it to MLflow.

    Args:
        path: of the golden set.
        settings: None: of this process.
        written: whether answers are those of the model that is served, and not the extractive ones.
        most: of more questions, as many are asked, drawn by their hashes: the same ones each time.
        tell: told after each question.

    Raises:
        InvalidInputError: the golden set cannot be read.
        NothingToMeasureError: nothing is published, or nothing that the golden set is about.
        ConfigurationError: the model that is served cannot be had.
        NotReadyError: it is served elsewhere and does not answer.
    """
    run = Run.begin(settings)
    chosen = golden.load(path or run.settings.golden_dir / SAMPLE)
    with _bench(run, chosen, _served_answerer(run) if written else None) as (bench, about):
        cases = _drawn(about_what_is_there(chosen, bench).cases, most)
        measured = []
        for one in bench.measure(cases):
            measured.append(one)
            if tell:
                tell(len(measured), len(cases))
        found = logged(run, chosen, measured, about, bench.threshold)
    return vars(found)


def _served_answerer(run: Run) -> Answerer:
    model = models.load(run.settings.answer_model, models.ModelOptions.of(run.settings))
    return Answerer(model, run.settings.rewrite_questions)


def _drawn(cases: Sequence[Case], most: int | None) -> list[Case]:
    """In their order."""
    if most is None or len(cases) <= most:
        return list(cases)
    drawn = set(sorted(cases, key=lambda case: hashlib.sha256(case.question.encode()).digest())[:most])
    return [case for case in cases if case in drawn]


def tune_index(path: Path | None = None, settings: Settings | None = None) -> dict[str, Any]:
    """Fit weights to a golden set, and choose the refusal threshold on it; publish a generation that has them if each
    half of the set proves better with what the other half gives.

    Raises:
        InvalidInputError: the golden set cannot be read.
        NothingToMeasureError: nothing is published, or nothing that the golden set, or one half of it, is about.
    """
    run = Run.begin(settings)
    chosen = golden.load(path or run.settings.golden_dir / SAMPLE)
    with _bench(run, chosen) as (bench, about):
        known = about_what_is_there(chosen, bench)
        must_part(known)
        least_kept = run.settings.least_answered_share
        outcome = trial.cross_fitted(bench, bench, known.cases, least_kept, trial.POLICY, "what is in use")
        present, found = (bench.retriever.calibration, bench.threshold), (outcome.calibration, outcome.threshold)
        logged(run, chosen, outcome.after, {**about, "trial": "tuned"}, outcome.threshold, outcome.fitted)
    decision = outcome.decision
    with single_writer(run.engine, INDEX_LOCK):
        manifest = run.published()
        if manifest is None:
            raise NotReadyError("Nothing is indexed, so there is no generation that could have new weights.")
        if (Calibration.of(manifest.tuning), manifest.refusal_threshold) != present:
            raise NotReadyError("Other weights were published meanwhile; run it again.")
        name = f"{manifest.number}:{_name(*found)}"
        with run.engine.begin() as connection:
            champion = _name(*present)
            decision = promotion.record(connection, ARTEFACT, name, champion, decision, trial.POLICY)
        recipe = replace(Recipe.of(manifest), tuning=found[0].tuning(), refusal_threshold=found[1])
        number = _publish_tuned(run, manifest, recipe) if decision.promoted else manifest.number
    return {"promoted": decision.promoted, "reason": decision.reason, "generation": number, "threshold": found[1]}


def _publish_tuned(run: Run, present: Manifest, recipe: Recipe) -> int:
    def build(number: int, indexed: set[str]) -> Path:
        return building.extend(number, Alive.of(run.index_dir, present, indexed), None, recipe, run.folding)

    return publish_built(run, build, "tuning").number


def _name(calibration: Calibration, refused_below: float) -> str:
    return hashlib.sha256(f"{calibration.model_dump_json()} {refused_below}".encode()).hexdigest()[:12]


@contextmanager
def _bench(run: Run, chosen: GoldenSet, answerer: Answerer | None = None) -> Iterator[tuple[Bench, dict[str, str]]]:
    """What is published, or the passages that came along; and what reports say it is."""
    manifest = run.published()
    if chosen.passages is None:
        if manifest is None:
            raise NothingToMeasureError("Nothing is indexed yet, so there is nothing to measure.")
        bench = bench_of(run, generation_folder(run.index_dir, manifest.number), run.making(manifest), answerer)
        yield bench, {**described(run, chosen, bench), "generation": str(manifest.number)}
        return
    # Made as what is published: weights that are fitted to them may be served with it.
    encoder = _encoder(run.making(manifest))
    in_use = Calibration.of(manifest.tuning) if manifest else None
    refused_below = manifest.refusal_threshold if manifest else run.settings.refusal_threshold
    with tempfile.TemporaryDirectory(prefix="cuvee-golden-") as folder:
        apart = corpus.indexed(chosen.passages, encoder, Path(folder))
        retriever = Retriever(apart, encoder, in_use, reranker.load(run.settings.reranker))
        bench = Bench.of(retriever, answerer or Answerer(models.extractive()), passage_name, refused_below)
        yield bench, described(run, chosen, bench)


def bench_of(run: Run, folder: Path, making: Making, answerer: Answerer | None = None) -> Bench:
    """A generation as it would be served; None: with extractive answers."""
    recency = Recency(run.settings.recency_half_life_days)
    scorer = reranker.load(run.settings.reranker)
    retriever = Retriever(Generation.load(folder), _encoder(making), None, scorer, recency)
    return Bench.of(retriever, answerer or Answerer(models.extractive()), document_name)


def _encoder(making: Making) -> CachingEncoder:
    return CachingEncoder(shared(making.embedder, making.rule.tokens), most_texts=200_000)


def described(run: Run, chosen: GoldenSet, bench: Bench) -> dict[str, str]:
    """Tags of the report."""
    # Another model may take minutes for one question: it is measured only if asked for, and the report says which was.
    served, measured = run.settings.answer_model, bench.answerer.model.name
    as_served = served == "extractive" or measured != models.extractive().name
    scorer = bench.retriever.scorer
    return {
        "golden": chosen.name,
        "embedder": bench.retriever.encoder.version,
        "answer_model": measured if as_served else f"{measured}, not {served}, which is served",
        "reranker": scorer.version if scorer else reranker.NONE,
    }


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
            f"Each half of a golden set is judged with weights fitted to the other, but one half of the golden set "
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
