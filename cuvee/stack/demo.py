"""`make demo`: the whole system on the sample documents and the wine table, watched from the terminal."""

import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.panel import Panel

from cuvee.errors import CuveeError, NotReadyError
from cuvee.settings import PROJECT_DIR, Settings
from cuvee.stack import lifecycle, secrets
from cuvee.stack.airflow_client import AirflowClient, TaskRun
from cuvee.stack.services import ServiceClient

DAGS = ["index_documents", "train_wine", "verify_serving"]
QUESTION = "When do we say that a fermentation has got stuck?"
_DOCUMENT_ENDINGS = {".pdf", ".docx", ".html", ".md", ".txt"}
_TIMEOUT_SECONDS = 900


def run(settings: Settings, console: Console) -> None:
    """Start, ingest, train, ask, predict; everything is left running.

    Raises:
        CuveeError: with what to do about it.
    """
    started, since = time.monotonic(), datetime.now(UTC)
    console.rule("Starting")
    lifecycle.up(settings, console)
    keys = secrets.ensure(settings)
    airflow = AirflowClient(f"http://127.0.0.1:{settings.airflow_port}", keys["AIRFLOW_PASSWORD"])
    services = ServiceClient(settings, keys["CUVEE_API_KEY"])
    airflow.wait_for_dags(DAGS)

    console.rule("Running the DAGs")
    dropped = drop_samples(settings, services)
    console.print(
        f"{dropped} sample documents dropped into {settings.inbox_dir}" if dropped else "Documents are indexed."
    )
    if services.serves("ml") is None:
        airflow.trigger("train_wine")
        console.print("train_wine triggered")
    else:
        console.print("A wine model is served.")
    follow(airflow, console, since, lambda: _all_served(services, dropped))

    _show(settings, console, services, keys)
    console.print(f"{time.monotonic() - started:.0f} s in all. `make down` stops it; its data stays.")


def sample_documents() -> list[Path]:
    """The project's own documents, `<topic>/<segment>/<file>` below `data/sample`."""
    folder = PROJECT_DIR / "data" / "sample"
    return sorted(path for path in folder.glob("*/*/*") if path.suffix in _DOCUMENT_ENDINGS)


def drop_samples(settings: Settings, services: ServiceClient) -> int:
    """Copy into the inbox what is not indexed yet; the number of files copied."""
    known = {(d["topic"], d["segment"], d["uri"]) for d in services.documents(state="indexed")}
    dropped = 0
    for path in sample_documents():
        topic, segment, name = path.parts[-3:]
        if (topic, segment, name) in known:
            continue
        target = settings.inbox_dir / topic / segment / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Copied under a name that the inbox ignores, so that no half file is ever taken.
        aside = target.with_name(f".{name}.part")
        shutil.copyfile(path, aside)
        aside.replace(target)
        dropped += 1
    return dropped


def _all_served(services: ServiceClient, dropped: int) -> bool:
    if services.serves("ml") is None:
        return False
    if not dropped:
        return services.serves("rag") is not None
    indexed = {(d["topic"], d["segment"], d["uri"]) for d in services.documents(state="indexed")}
    return services.serves("rag") is not None and all(path.parts[-3:] in indexed for path in sample_documents())


def follow(
    airflow: AirflowClient,
    console: Console,
    since: datetime,
    done: Callable[[], bool],
    timeout_seconds: float = _TIMEOUT_SECONDS,
) -> None:
    """Print what tasks do until `done`.

    Raises:
        CuveeError: a task failed for good; the message has the end of its log.
        NotReadyError: time ran out.
    """
    told: dict[tuple[str, str, str, int], str | None] = {}
    deadline = time.monotonic() + timeout_seconds
    with console.status("waiting for the scheduler") as spinner:
        while not done():
            running = []
            for task in airflow.task_runs(since):
                key = (task.dag_id, task.run_id, task.task_id, task.try_number)
                if task.state == "running":
                    running.append(f"{task.dag_id}.{task.task_id}")
                if told.get(key) != task.state:
                    told[key] = task.state
                    _tell(airflow, console, task)
            spinner.update("running " + ", ".join(running) if running else "waiting for the next task")
            if time.monotonic() > deadline:
                raise NotReadyError(f"Not done after {timeout_seconds:.0f} s; look at the DAG runs in the Airflow UI.")
            time.sleep(1)


def _tell(airflow: AirflowClient, console: Console, task: TaskRun) -> None:
    name = f"{task.dag_id}.{task.task_id}"
    seconds = f"{task.duration_seconds:.1f} s" if task.duration_seconds is not None else ""
    if task.state == "success":
        console.print(f"  [green]done[/]     {name} {seconds}", highlight=False)
    elif task.state == "up_for_retry":
        console.print(f"  [yellow]retrying[/] {name} after try {task.try_number}", highlight=False)
    elif task.state == "failed":
        log = "\n".join(airflow.log(task).splitlines()[-25:])
        raise CuveeError(
            f"The task {name} failed. The end of its log:\n{log}\nMend the cause, then clear it in Airflow."
        )


def _show(settings: Settings, console: Console, services: ServiceClient, keys: dict[str, str]) -> None:
    answer = services.ask(QUESTION)
    lines = [f"[bold]{QUESTION}[/]", "", answer["answer"], ""]
    for source in answer["sources"]:
        page = f", page {source['page']}" if source["page"] else ""
        span = f"characters {source['start_char']}-{source['end_char']}"
        lines.append(f"[dim]\\[{source['number']}] {source['title']} ({source['uri']}{page}, {span})[/]")
    console.print(Panel("\n".join(lines), title="A question"))

    sample = services.features()["example"]
    predicted = services.predict([sample])
    quality, model = predicted["predictions"][0]["quality"], predicted["model"]
    wine = ", ".join(f"{name} {value}" for name, value in sample.items())
    told = f"{wine}\n\n[bold]quality {quality:.2f}[/] of 10 by {model['name']} version {model['version']}"
    console.print(Panel(told, title="A prediction"))

    airflow_url = f"http://127.0.0.1:{settings.airflow_port}"
    places = [
        ("Airflow", f"{airflow_url}   user admin, password {keys['AIRFLOW_PASSWORD']}"),
        ("MLflow", f"{settings.public_mlflow_url}   experiment wine-quality"),
        ("the page", f"{settings.public_rag_url}   ask, read, judge, send documents in; enter the API key once"),
        ("wine page", f"{settings.public_ml_url}   move sliders, see the prediction and why, browse versions"),
        ("rag_service", f"{settings.public_rag_url}/docs"),
        ("ml_service", f"{settings.public_ml_url}/docs"),
        ("API key", keys["CUVEE_API_KEY"]),
        ("documents", f"{settings.inbox_dir}/<topic>/<segment>/   drop files here"),
    ]
    for name, place in places:
        # Never wrapped or cut: people copy these.
        console.print(f"[bold]{name:12}[/] {place}", highlight=False, soft_wrap=True)
