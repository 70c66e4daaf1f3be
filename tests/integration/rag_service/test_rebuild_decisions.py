"""Who decides whether what was indexed anew is served: the evidence, or somebody."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import Result
from typer.testing import CliRunner

from cuvee.cli import app
from cuvee.database import promotions
from cuvee.errors import InvalidInputError, NotReadyError
from cuvee.settings import Settings
from rag_service import pipeline
from rag_service.index.building import Recipe
from rag_service.index.calibration import Calibration
from rag_service.pipeline import rebuild
from rag_service.pipeline.run import Run
from tests.integration.rag_service.test_pipeline import drop, ready, rows, run_all
from tests.integration.rag_service.test_pipeline_index import delete
from tests.integration.rag_service.test_rebuild import FILLING, golden, indexed, logged, manifest

pytestmark = pytest.mark.integration
__all__ = ["golden", "indexed", "logged", "ready"]


def rebuilt(*options: str) -> Result:
    return CliRunner().invoke(app, ["index", "rebuild", *options])


def test_only_somebody_can_decide_for_what_is_not_proven(
    engine: sa.Engine, indexed: Settings, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(indexed, "big.txt", "The big vat is called Hortense. " + FILLING * 20)
    drop(indexed, "huge.txt", "The huge vat is called Berta. " + FILLING * 30)
    run_all(indexed)
    served = manifest(engine, indexed).number
    monkeypatch.setenv("CUVEE_MAX_DOCUMENT_BYTES", "1500")
    much_too_strict = Settings.load()
    monkeypatch.setenv("CUVEE_MAX_DOCUMENT_BYTES", "2000")
    stricter = Settings.load()
    questions = golden.read_text()
    golden.write_text(json.dumps([{"question": "Who?", "answerable": True, "document": "a/b/c", "answers": ["me"]}]))

    failed = [rebuild.read_anew(settings=chosen)["failed"] for chosen in (much_too_strict, stricter, stricter)]
    not_measured = rebuild.judge(settings=stricter)
    golden.write_text(questions)
    losing = rebuilt()

    assert failed == [2, 1, 1]
    assert not not_measured["promoted"]
    assert "could not be measured beside what is served: None of the documents" in not_measured["reason"]
    assert losing.exit_code == 1
    said = " ".join(losing.output.split())
    assert "Not served: Of 7 documents that are answered from now, 1 (" in said
    assert "CUVEE_MAX_DOCUMENT_BYTES" in said
    with pytest.raises(InvalidInputError, match="No rebuilt index was promoted"):
        rebuild.publish_anew(stricter)
    assert manifest(engine, indexed).number == served

    accepted = rebuilt("--accept", "the huge vat was sold")

    assert accepted.exit_code == 0, accepted.output
    assert manifest(engine, indexed).documents == 6
    assert (rows(engine)["huge.txt"].state, rows(engine)["huge.txt"].in_index) == ("failed", False)
    assert rows(engine)["big.txt"].state == "indexed"
    with engine.connect() as connection:
        recorded = connection.execute(sa.select(promotions.c.promoted, promotions.c.reason)).all()
    assert [promoted for promoted, _ in recorded] == [False, False, True]
    assert recorded[2].reason.startswith("Accepted (the huge vat was sold), though: ")

    back = pipeline.serve_again(served, indexed)
    assert (back["documents"], rows(engine)["huge.txt"].state) == (7, "indexed")

    # What was accepted as lost and could be read after all is not lost.
    rebuild.read_anew(settings=stricter)
    assert rebuild.judge("it may go", settings=stricter)["promoted"]
    assert rebuild.read_anew(settings=indexed)["failed"] == 0
    rebuild.publish_anew(stricter)
    assert (manifest(engine, indexed).documents, rows(engine)["huge.txt"].state) == (7, "indexed")

    # Nobody accepted that what comes after the decision is lost.
    delete(engine, "huge.txt")
    run_all(indexed)
    rebuild.read_anew(settings=stricter)
    assert rebuild.judge(settings=stricter)["promoted"]
    run = Run.begin(stricter)
    weights = Calibration().tuning()
    tuned = replace(Recipe.of(manifest(engine, indexed)), refusal_threshold=0.31, tuning=weights)
    rebuild.evaluation._publish_tuned(run, manifest(engine, indexed), tuned)
    with pytest.raises(NotReadyError, match="judge it again"):
        rebuild.publish_anew(stricter)
    assert rebuild.judge(settings=stricter)["promoted"]
    drop(indexed, "late.txt", "The late vat is called Clara. " + FILLING * 30)
    run_all(indexed)
    with pytest.raises(InvalidInputError, match="came since and cannot be read anew"):
        rebuild.publish_anew(stricter)
    assert rows(engine)["late.txt"].state == "indexed"
