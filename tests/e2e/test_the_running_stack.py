"""The whole system through real DAG runs, in the order in which a user meets it. One stack serves all tests."""

import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import psutil
import pytest
from docx import Document
from PyPDF2 import PdfReader, PdfWriter
from reportlab.pdfgen import canvas

from cuvee.stack import demo
from ml_service import wine
from tests.e2e.conftest import FOREST, Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

WINE = wine.EXAMPLE
MUSEUM = "The cellar museum keeps an iron press from 1871. It opens on the first Sunday of March, from ten to four. "


def pdf(text: str, password: str | None = None) -> bytes:
    plain = io.BytesIO()
    page = canvas.Canvas(plain)
    page.drawString(72, 720, text)
    page.save()
    if password is None:
        return plain.getvalue()
    writer, locked = PdfWriter(), io.BytesIO()
    writer.append_pages_from_reader(PdfReader(plain))
    writer.encrypt(password)
    writer.write(locked)
    return locked.getvalue()


def docx(text: str) -> bytes:
    written, document = io.BytesIO(), Document()
    document.add_paragraph(text)
    document.save(written)
    return written.getvalue()


def quiet(stack: Stack) -> bool:
    """No DAG run is under way and the inbox is empty."""
    waiting = [path for path in stack.settings.inbox_dir.rglob("*") if path.is_file()]
    runs = [run for dag in demo.DAGS for run in stack.airflow.runs(dag)]
    return not waiting and all(run["state"] in ("success", "failed") for run in runs)


def indexed(stack: Stack) -> set[str]:
    return set(stack.documents(state="indexed"))


@pytest.fixture(scope="module")
def second_training(stack: Stack, first_training: str) -> str:
    """The same once more, after the first."""
    stack.trained(first_training)
    return stack.airflow.trigger("train_wine", FOREST)


@pytest.mark.usefixtures("first_training")  # both pipelines at once, as in `make demo`
def test_the_sample_documents_become_answerable_with_citations_that_resolve(stack: Stack) -> None:
    stack.airflow.wait_for_dags(demo.DAGS)
    dropped = demo.drop_samples(stack.settings, stack.services)
    places = {"/".join(path.parts[-3:]) for path in demo.sample_documents()}
    assert dropped == len(places) >= 10

    wait_until(lambda: indexed(stack) >= places, "all sample documents indexed", 300)
    wait_until(lambda: stack.services.serves("rag"), "an index generation is served")
    answer = stack.services.ask(demo.QUESTION)

    assert not answer["refused"]
    assert "density does not change for 48 hours" in answer["answer"]
    cited = {number for sentence in answer["sentences"] for number in sentence["citations"]}
    sources = {source["number"]: source for source in answer["sources"]}
    assert cited == set(sources)
    first = sources[answer["sentences"][0]["citations"][0]]
    assert first["uri"] == "primary-fermentation.pdf"
    assert first["page"] in (1, 2, 3)
    assert first["end_char"] - first["start_char"] == len(first["text"])


def test_a_question_that_no_document_answers_is_refused(stack: Stack) -> None:
    answer = stack.services.ask("Who won the football world cup in 1998?")

    assert (answer["refused"], answer["sources"]) == (True, [])


def test_files_that_cannot_be_read_fail_with_a_reason_and_stop_nobody(stack: Stack) -> None:
    good = pdf("The museum shop sells corkscrews made of olive wood.")
    odd = 'odd "name"\n\u202e \U0001f377 %s; drop.txt'
    stack.drop("odd", "bad", "broken.pdf", good[: len(good) // 2])
    stack.drop("odd", "bad", "locked.pdf", pdf("secret", password="x"))
    stack.drop("odd", "bad", "empty.txt", b"")
    stack.drop("odd", "bad", "huge.txt", b"A long line about wine. " * (50_000_000 // 24))
    stack.drop("odd", "bad", "not-one.docx", b"this is no zip archive")
    stack.drop("odd", "good", odd, MUSEUM.encode())
    stack.drop("odd", "good", b"latin-\xe9.txt", "Frühling im Keller: die Presse läuft.".encode("latin-1"))
    stack.drop("odd", "good", "shop.docx", docx("The museum shop also sells postcards of the old press house."))

    everything = wait_until(
        lambda: (
            (found := stack.documents(topic="odd"))
            and len(found) == 8
            and all(d["state"] != "landed" for d in found.values())
            and found
        ),
        "all eight files indexed or failed",
    )

    failed = {place: d["error"] for place, d in everything.items() if d["state"] == "failed"}
    assert set(failed) == {
        f"odd/bad/{n}" for n in ("broken.pdf", "locked.pdf", "empty.txt", "huge.txt", "not-one.docx")
    }
    assert "password" in failed["odd/bad/locked.pdf"]
    assert "empty" in failed["odd/bad/empty.txt"]
    assert "CUVEE_MAX_DOCUMENT" in failed["odd/bad/huge.txt"]
    assert all(len(reason) > 10 for reason in failed.values())
    answer = wait_until(
        lambda: (a := stack.services.ask("When does the cellar museum open?", topic="odd")) and not a["refused"] and a,
        "the file with the odd name is answered from",
    )
    assert "first Sunday of March" in answer["answer"]


def test_what_is_uploaded_is_answered_from_and_what_is_deleted_never_again(stack: Stack) -> None:
    question = "What does the old cooper keep in the blue chest?"
    sent = stack.services.upload(
        "chest", "yard", "chest.txt", b"The old cooper keeps eleven silver bungs in the blue chest."
    )

    answer = wait_until(
        lambda: (a := stack.services.ask(question, topic="chest")) and not a["refused"] and a,
        "the upload is answered from",
    )
    stack.services.delete(sent["document_id"])
    gone = wait_until(
        lambda: (a := stack.services.ask(question, topic="chest")) and a["refused"] and a, "the deletion took effect"
    )

    assert "eleven silver bungs" in answer["answer"]
    assert (gone["sources"], gone["nearest"]) == ([], [])


def test_training_promotes_the_first_model_and_predictions_come_from_it(stack: Stack, first_training: str) -> None:
    stack.trained(first_training)

    served = wait_until(lambda: stack.services.serves("ml"), "a champion is served", 60)
    predicted = stack.services.predict([WINE, {**WINE, "colour": "white"}])

    assert (served["version"], predicted["model"]["version"]) == (1, 1)
    assert all(3.0 <= p["quality"] <= 9.0 for p in predicted["predictions"])
    assert len({p["prediction_id"] for p in predicted["predictions"]}) == 2


@pytest.mark.usefixtures("second_training")  # it goes on meanwhile
def test_a_new_base_is_evaluated_a_micro_batch_is_not_and_no_answer_changes(stack: Stack) -> None:
    def evaluated() -> list[str]:
        return [r["state"] for r in stack.airflow.runs("evaluate_index") if r["run_type"] == "asset_triggered"]

    before = stack.services.ask(demo.QUESTION)
    wait_until(lambda: set(evaluated()) == {"success"}, "the first base evaluated", 300)
    after_micro_batches = evaluated()
    stack.airflow.trigger("compact_index")
    wait_until(lambda: len(evaluated()) > 1 and set(evaluated()) == {"success"}, "the compacted base evaluated", 300)
    after = stack.services.ask(demo.QUESTION)

    assert (len(after_micro_batches), len(evaluated())) == (1, 2)
    assert after["versions"]["generation"] > before["versions"]["generation"]
    assert after["answer"] == before["answer"]


def test_housekeeping_runs_and_changes_no_answer(stack: Stack) -> None:
    before = stack.services.ask(demo.QUESTION)["answer"]

    run = stack.airflow.trigger("housekeeping")
    wait_until(lambda: stack.airflow.run_state("housekeeping", run) == "success", "housekeeping done", 300)

    assert stack.services.ask(demo.QUESTION)["answer"] == before


def test_the_same_training_again_changes_nothing_and_says_why_in_a_readable_log(
    stack: Stack, second_training: str
) -> None:
    stack.trained(second_training)

    assert stack.services.model()["version"] == 1
    tasks = stack.airflow.task_runs(datetime.now(UTC) - timedelta(hours=1))
    decided = next(t for t in tasks if (t.run_id, t.task_id) == (second_training, "decide_promotion"))
    assert "does not exceed the margin" in stack.airflow.log(decided)


def test_what_was_promoted_is_verified_to_be_served(stack: Stack) -> None:
    wait_until(lambda: quiet(stack), "no run under way", 300)

    assert {run["state"] for run in stack.airflow.runs("verify_serving")} == {"success"}


def test_a_broken_wine_table_fails_the_run_and_the_champion_stays(stack: Stack) -> None:
    before = stack.services.model()
    folder = stack.settings.data_dir / "wine"
    folder.mkdir()
    for path in sorted((demo.PROJECT_DIR / "data" / "wine").glob("*.csv")):
        rows = path.read_text().splitlines()
        spoiled = [row.replace(row.split(";")[7], "dense") if i % 8 == 1 else row for i, row in enumerate(rows)]
        (folder / path.name).write_text("\n".join(spoiled) + "\n")
    try:
        run = stack.airflow.trigger("train_wine", FOREST)
        stack.trained(run, "failed")
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()

    assert stack.services.model()["version"] == before["version"]


def test_dag_tasks_killed_in_the_middle_are_retried_and_lose_nothing(stack: Stack) -> None:
    wait_until(lambda: quiet(stack), "no run under way", 300)
    for number in range(5):
        note = f"Tank {number} was scrubbed by apprentice {number}. " * 40
        stack.drop("kill", "task", f"note-{number}.txt", note.encode())

    killed: set[int] = set()
    while len(killed) < 3:
        killed.add(wait_until(lambda: kill_running_task(stack, killed), "a task is running", 120))
    places = {f"kill/task/note-{number}.txt" for number in range(5)}
    wait_until(lambda: indexed(stack) >= places, f"documents indexed although the tasks {killed} were killed", 240)

    # A document is recorded as indexed in the transaction that publishes; the service hears of it a moment later.
    asked = ("Who scrubbed tank 3?", "kill")
    wait_until(lambda: not stack.services.ask(asked[0], topic=asked[1])["refused"], "what was indexed is served", 15)
    assert "apprentice 3" in stack.services.ask(asked[0], topic=asked[1])["answer"]


def kill_running_task(stack: Stack, killed: set[int]) -> int | None:
    """`kill -9` a process that runs a task's code, and not one twice; its pid."""
    for process in psutil.Process(stack.pid_of("airflow-scheduler")).children(recursive=True):
        with suppress(psutil.Error):  # gone meanwhile
            title = " ".join(process.cmdline())
            # LocalExecutor's own workers are "airflow worker -- LocalExecutor: ..."; a task's is named by its id.
            if title.startswith("airflow worker -- ") and "LocalExecutor" not in title and process.pid not in killed:
                process.kill()
                return process.pid
    return None


def came_back(stack: Stack, process: str, old_pid: int | None) -> bool:
    return stack.healthy() and stack.pid_of(process) != old_pid


def test_any_process_killed_comes_back_and_the_same_state_is_reached(stack: Stack) -> None:
    wait_until(lambda: quiet(stack), "no run under way", 300)
    before = {place: d["document_id"] for place, d in stack.documents().items()}
    model = stack.services.model()["version"]

    for process in [program.name for program in stack.status()]:
        pid = stack.pid_of(process)
        psutil.Process(pid).kill()
        wait_until(partial(came_back, stack, process, pid), f"healthy after {process} was killed")

    stack.drop("kill", "after", "later.txt", b"The new pump was named Hortense by the night shift. " * 20)
    wait_until(lambda: "kill/after/later.txt" in indexed(stack), "a file dropped after all the killing", 240)
    wait_until(lambda: stack.services.serves("rag") and stack.services.serves("ml"), "both services serve")
    after = {place: d["document_id"] for place, d in stack.documents().items() if place != "kill/after/later.txt"}
    assert after == before
    assert stack.services.model()["version"] == model
    assert not stack.services.ask(demo.QUESTION)["refused"]
