"""The part of Airflow's REST API that `cuvee demo` and the end-to-end tests use."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from cuvee.errors import NotReadyError


@dataclass(frozen=True)
class TaskRun:
    """One task instance as the UI's grid shows it."""

    dag_id: str
    run_id: str
    task_id: str
    state: str | None
    try_number: int
    duration_seconds: float | None


class AirflowClient:
    """Logs in once, and again when the token has run out."""

    def __init__(self, url: str, password: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=20)
        self._password = password

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json={"username": "admin", "password": self._password})
        answer.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Any call under `/api/v2`; the caller looks at the status."""
        if "Authorization" not in self._http.headers:
            self._log_in()
        answer = self._http.request(method, f"/api/v2{path}", **arguments)
        if answer.status_code == 401:
            self._log_in()
            answer = self._http.request(method, f"/api/v2{path}", **arguments)
        return answer

    def _get(self, path: str, **parameters: Any) -> dict[str, Any]:
        answer = self.request("GET", path, params=parameters)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def wait_for_dags(self, dag_ids: list[str], timeout_seconds: float = 120) -> None:
        """Until the DAG files are parsed.

        Raises:
            NotReadyError: one does not appear; the message has the import errors that Airflow reports.
        """
        deadline = time.monotonic() + timeout_seconds
        missing = list(dag_ids)
        while missing:
            missing = [dag_id for dag_id in missing if self.request("GET", f"/dags/{dag_id}").status_code != 200]
            if missing and time.monotonic() > deadline:
                errors = self._get("/importErrors")["import_errors"]
                told = "\n".join(f"{e['filename']}: {e['stack_trace']}" for e in errors) or "no import errors"
                raise NotReadyError(f"Airflow has not parsed {missing} after {timeout_seconds:.0f} s: {told}")
            if missing:
                time.sleep(1)

    def trigger(self, dag_id: str, parameters: dict[str, Any] | None = None) -> str:
        """Start a run by hand; its run id."""
        body = {"logical_date": None, "conf": parameters or {}}
        answer = self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)
        answer.raise_for_status()
        return str(answer.json()["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self._get(f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}")["state"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Newest first."""
        found: list[dict[str, Any]] = self._get(f"/dags/{dag_id}/dagRuns", order_by="-run_after", limit=100)["dag_runs"]
        return found

    def task_runs(self, since: datetime) -> list[TaskRun]:
        """Every task instance that started after `since`, of all DAGs, oldest first."""
        found = self._get(
            "/dags/~/dagRuns/~/taskInstances", start_date_gte=since.isoformat(), order_by="start_date", limit=1000
        )
        return [
            TaskRun(t["dag_id"], t["dag_run_id"], t["task_id"], t["state"], t["try_number"], t["duration"])
            for t in found["task_instances"]
        ]

    def question(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any] | None:
        """The form that this task shows to a person; None while it does not ask."""
        answer = self.request("GET", self._form(dag_id, run_id, task_id))
        return dict(answer.json()) if answer.status_code == 200 else None

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str, fields: dict[str, Any]) -> None:
        """Choose in that form, as the person who logged in."""
        body = {"chosen_options": [option], "params_input": fields}
        self.request("PATCH", self._form(dag_id, run_id, task_id), json=body).raise_for_status()

    def _form(self, dag_id: str, run_id: str, task_id: str) -> str:
        return f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/-1/hitlDetails"

    def log(self, task: TaskRun) -> str:
        """The log of one try, a line an event."""
        run = quote(task.run_id, safe="")
        path = f"/dags/{task.dag_id}/dagRuns/{run}/taskInstances/{task.task_id}/logs/{task.try_number}"
        content = self._get(path, full_content=True)["content"]
        return "\n".join(_line(event) for event in content)


def _line(event: Any) -> str:
    if not isinstance(event, dict):
        return str(event)
    details = event.get("error_detail") or []
    errors = [f"{detail.get('exc_type')}: {detail.get('exc_value')}" for detail in details]
    return " ".join([str(event.get("timestamp", "")), str(event.get("event", "")), *errors]).strip()
