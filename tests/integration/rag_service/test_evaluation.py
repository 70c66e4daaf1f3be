"""`cuvee evaluate` as people run it, with a real MLflow: what it measures, and the weights and threshold it serves."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import openai
import pytest
import sqlalchemy as sa
from mlflow.tracking import MlflowClient
from typer.testing import CliRunner

from cuvee.cli import app
from cuvee.database import promotions
from cuvee.errors import InvalidInputError
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.documents import ledger
from rag_service.index import building
from rag_service.index.alive import Alive
from rag_service.index.building import Recipe
from rag_service.index.manifest import Manifest
from rag_service.pipeline import evaluation
from rag_service.pipeline.run import Run
from tests.integration.conftest import free_port
from tests.integration.rag_service.chat_server import running
from tests.integration.rag_service.live import set_document, shelve
from tests.integration.rag_service.serving import Library, publish

pytestmark = pytest.mark.integration

BAD_WEIGHTS = {"retrieval.dense": -1.0, "retrieval.statement": -1.0}
PLACES = ["Ahr", "Nahe", "Mosel", "Saale", "Douro", "Jura", "Loire", "Rioja"]


@pytest.fixture
def ready(library: Library, engine: sa.Engine, settings: Settings, mlflow_url: str, monkeypatch: Any) -> Iterator[Run]:
    """LIBRARY as generation 2, published with weights that rank the worst first."""
    shelve(engine, settings)
    for name in ("museum", "gas", "barrels"):
        set_document(engine, f"doc-{name}", in_index=True)
    monkeypatch.setenv("CUVEE_MLFLOW_URI", mlflow_url)
    run = Run.begin(None)
    present = published(run)
    alive = Alive.of(run.index_dir, present, {"doc-museum", "doc-gas", "doc-barrels"})
    bad = replace(Recipe.of(present), chunker=run.wanted.chunker, tuning=BAD_WEIGHTS)
    publish(engine, building.extend(2, alive, None, bad, run.folding))
    yield run
    mlflow.set_tracking_uri(None)


def published(run: Run) -> Manifest:
    manifest = run.published()
    assert manifest is not None
    return manifest


def articles(places: list[str]) -> dict[str, Any]:
    """A golden set of its own passages, in SQuAD's form: of each place a press, whose year is known, and no painter."""
    return {"data": [{"title": place, "paragraphs": [paragraph(place, n)]} for n, place in enumerate(places)]}


def paragraph(place: str, number: int) -> dict[str, Any]:
    year, price = str(1800 + 7 * number), str(11 + number)
    text = f"The press of {place} was built in {year} by the monks. A visit to {place} costs {price} crowns."
    known = {"is_impossible": False}
    asked = [
        {"question": f"When was the press of {place} built?", "answers": [{"text": year}]} | known,
        {"question": f"What does a visit to {place} cost?", "answers": [{"text": price}]} | known,
        {"question": f"Who built the press of {place}?", "answers": [{"text": "monks"}]} | known,
        {"question": f"Who painted the north door in {place}?", "answers": [], "is_impossible": True},
        {"question": f"How long is the harbour wall of {place}?", "answers": [], "is_impossible": True},
    ]
    return {"context": text, "qas": asked}


def evaluate(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["evaluate", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


def test_weights_and_a_threshold_that_prove_better_are_served_and_outlast_a_micro_batch(
    ready: Run, engine: sa.Engine, tmp_path: Path
) -> None:
    (tmp_path / "golden.json").write_text(json.dumps(articles(PLACES)))

    told = evaluate("--tune", str(tmp_path / "golden.json"))

    tuned = published(ready)
    assert "Served: Mean gain over what is in use on 40 cases" in told
    assert f"Refusal threshold chosen: {tuned.refusal_threshold:.4f}" in told
    assert (tuned.number, tuned.chunks) == (3, published_before(ready).chunks)
    assert tuned.tuning["retrieval.dense"] >= 0 and tuned.tuning["retrieval.statement"] >= 0
    with engine.connect() as connection:
        assert connection.execute(sa.select(promotions.c.promoted)).scalars().all() == [True]
    run = the_run(ready)
    assert run.data.metrics["refusal.threshold"] == pytest.approx(tuned.refusal_threshold)
    assert run.data.metrics["refusal.kept"] >= 0.8
    plots = {file.path for file in MlflowClient().list_artifacts(run.info.run_id, "plots")}
    assert plots >= {"plots/risk_coverage.png", "plots/risk_coverage_fitted.png"}

    with engine.begin() as connection:
        ledger.delete(connection, "doc-museum")
    batch = pipeline.embed_chunks(pipeline.prepare_chunks(ready.settings), ready.settings)
    assert pipeline.publish_generation(batch, ready.settings)["generation"] == 4
    later = published(ready)
    assert (later.refusal_threshold, later.tuning) == (tuned.refusal_threshold, tuned.tuning)


def published_before(run: Run) -> Manifest:
    from rag_service.index.manifest import generation_folder, read_manifest

    return read_manifest(generation_folder(run.index_dir, 2))


def the_run(run: Run) -> Any:
    mlflow.set_tracking_uri(run.settings.resolved_mlflow_uri)
    return mlflow.search_runs(
        experiment_names=["index-evaluation"], output_format="list", order_by=["start_time DESC"], max_results=1
    )[0]


def test_weights_that_too_few_questions_speak_for_are_not_served(ready: Run, tmp_path: Path) -> None:
    (tmp_path / "golden.json").write_text(json.dumps(articles(PLACES[:4])))

    told = evaluate("--tune", str(tmp_path / "golden.json"))

    assert "Not served: 20 cases are too few" in told
    assert published(ready).number == 2


def test_the_documents_that_are_indexed_are_measured_and_the_report_is_logged(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUVEE_ANSWER_MODEL", "transformers:elsewhere")
    asked = {"question": "When does the cellar museum open?", "answerable": True, "answers": ["first Sunday of March"]}
    cases = [asked | {"document": "visits/museum/museum.txt"}, asked | {"document": "visits/museum/elsewhere.txt"}]
    (tmp_path / "golden.json").write_text(json.dumps(cases))

    told = evaluate(str(tmp_path / "golden.json"))

    run = the_run(ready)
    assert run.info.run_id in told
    assert (run.data.metrics["cases"], run.data.tags["generation"]) == (1, "2")
    assert run.data.metrics["bm25.hit_1"] == 1
    assert run.data.metrics["answer.supported"] == 1
    assert "extractive-5, not transformers:elsewhere, which is served" in told
    assert run.data.tags["answer_model"] in told
    assert run.data.metrics["hybrid.hit_1"] == 0, "the weights in use rank the worst first"
    assert run.data.metrics["refusal.threshold"] == pytest.approx(published(ready).refusal_threshold)


def test_what_asks_about_nothing_that_is_indexed_is_told_apart_from_what_cannot_be_read(
    ready: Run, tmp_path: Path
) -> None:
    about_others = tmp_path / "others.json"
    asked = {"question": "How old is it?", "answerable": True, "document": "other.txt", "answers": ["9"]}
    about_others.write_text(json.dumps([asked]))
    unreadable = tmp_path / "unreadable.json"
    unreadable.write_text("[")

    with pytest.raises(evaluation.NothingToMeasureError, match=r"None of the documents .* is indexed"):
        evaluation.evaluate_index(about_others)
    with pytest.raises(InvalidInputError, match="is no golden set"):
        evaluation.evaluate_index(unreadable)


@pytest.mark.parametrize("answered", ["cellar/safety/gas.txt", "visits/museum/museum.txt"])
def test_where_one_half_has_no_answerable_question_nothing_is_tuned_and_it_says_so(
    answered: str, ready: Run, tmp_path: Path
) -> None:
    # The halves share no topic.
    documents = ("cellar/safety/gas.txt", "visits/museum/museum.txt")
    cases = [{"question": "What is there?", "document": one, "answerable": one == answered} for one in documents]
    (tmp_path / "golden.json").write_text(json.dumps(cases))

    done = CliRunner().invoke(app, ["evaluate", "--tune", str(tmp_path / "golden.json")])

    assert (done.exit_code, type(done.exception)) == (1, SystemExit)
    assert "one half of the golden set golden has no question with an answer" in done.output
    assert published(ready).number == 2


def test_what_the_served_model_writes_is_measured_when_asked_for(
    ready: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"answerable": True, "document": "visits/museum/museum.txt", "answers": ["March"]}
    cases = [asked | {"question": f"In which month does the cellar museum open {when}?"} for when in ("first", "again")]
    (tmp_path / "golden.json").write_text(json.dumps(cases))
    written = ("It opens on the first Sunday", " of March, from ten to four. [1]")
    with running(free_port()) as server:
        server.does.pieces = written
        monkeypatch.setenv("CUVEE_ANSWER_MODEL", f"openai:{server.url}")

        told = evaluate("--written", "--most", "1", str(tmp_path / "golden.json"))

        assert len(server.requests) == 1
    run = the_run(ready)
    assert (run.data.metrics["cases"], run.data.metrics["answer.holds_gold"]) == (1, 1)
    assert "Answers of openai:little@" in told and "which is served" not in told
    assert run.data.tags["answer_model"].startswith("openai:little@")
    assert "1/1" in told

    monkeypatch.setattr(openai._base_client, "INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr(openai._base_client, "MAX_RETRY_DELAY", 0.02)
    down = CliRunner().invoke(app, ["evaluate", "--written", str(tmp_path / "golden.json")])
    assert (down.exit_code, type(down.exception)) == (1, SystemExit)
    both = CliRunner().invoke(app, ["evaluate", "--tune", "--most", "3"])
    assert (both.exit_code, "leave the other options out" in both.output) == (1, True)
