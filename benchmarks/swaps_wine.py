"""Twenty thousand predictions while ten champions are swapped in and two that may not be served are refused.

A served app over real HTTP with a real PostgreSQL and MLflow; every prediction that was answered must be in the table
once, with the version that answered it.

    .venv/bin/python benchmarks/swaps_wine.py [REQUESTS]
"""

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import UUID

import httpx
import sqlalchemy as sa
from mlflow import MlflowClient
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.pipeline import Pipeline

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.wine_stand import KEY, Stand, service, stand, told, wait_until
from cuvee.database import MODEL_CHANNEL, notify, predictions
from ml_service.dataset import as_frame
from ml_service.wine import FEATURE_NAMES, MODEL_NAME
from tests.wine_versions import register, wines

SWAPS, CLIENTS = 10, 4
REFUSED = {4: {"off_by": 2e-5}, 8: {"with_reference": False}}
"""After so many swaps: a version off its reference predictions, one without them."""


class Clients:
    """Predict until told to stop; keep what went wrong, and the version by prediction."""

    def __init__(self, url: str) -> None:
        self.errors: list[str] = []
        self.answered: list[tuple[UUID, int]] = []
        self.done = threading.Event()
        self._body = {"samples": [dict(zip(FEATURE_NAMES, wines()[0][0].tolist(), strict=False)) | {"colour": "red"}]}
        self._threads = [threading.Thread(target=self._ask, args=(url,)) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _ask(self, url: str) -> None:
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}, timeout=30)
        while not self.done.is_set():
            try:
                answer = client.post("/predict", json=self._body)
                body = answer.json()
                if answer.status_code != 200:
                    self.errors.append(f"{answer.status_code}: {body}")
                else:
                    found = UUID(body["predictions"][0]["prediction_id"]), body["model"]["version"]
                    self.answered.append(found)
            except (httpx.HTTPError, ValueError) as error:
                self.errors.append(repr(error))

    def stop(self) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join()


def swap(found: Stand, number: int) -> None:
    registry = MlflowClient(found.mlflow_url, found.mlflow_url)
    registry.set_registered_model_alias(MODEL_NAME, "champion", str(number))
    with found.engine.begin() as connection:
        notify(connection, MODEL_CHANNEL, "look")


def measured(found: Stand, wanted: int) -> dict[str, object]:
    forest = Pipeline([("model", ExtraTreesRegressor(50, min_samples_leaf=2, random_state=0))])
    inputs, quality = wines()
    forest.fit(as_frame(inputs), quality)
    swap(found, register(found.mlflow_url, forest))
    refused = 0
    with service(found) as url, httpx.Client(base_url=url, headers={"Authorization": f"Bearer {KEY}"}) as client:
        clients = Clients(url)
        try:
            for step in range(1, SWAPS + 1):
                number = register(found.mlflow_url, forest)
                swap(found, number)
                wait_until(lambda n=number: client.get("/health/ready").json()["version"] == n, f"version {number}")
                if step in REFUSED:
                    bad = register(found.mlflow_url, forest, **REFUSED[step])
                    swap(found, bad)
                    wait_until(lambda: client.get("/health/ready").json()["reload_error"] is not None, "a refusal")
                    refused += client.get("/health/ready").json()["version"] == number
                while len(clients.answered) < wanted * step / SWAPS:
                    time.sleep(0.05)
                told(
                    f"{step}/{SWAPS}: version {number}, {len(clients.answered)} answered, {len(clients.errors)} errors"
                )
        finally:
            clients.stop()
    for error in clients.errors[:5]:
        told(error)
    with found.engine.connect() as connection:
        rows = connection.execute(sa.select(predictions.c.prediction_id, predictions.c.model_version)).all()
    once = sorted(map(tuple, rows)) == sorted(clients.answered)
    return {
        "requests": {"value": len(clients.answered), "bar": wanted, "holds": len(clients.answered) >= wanted},
        "errors": {"value": len(clients.errors), "bar": 0, "holds": not clients.errors},
        "refused_versions": {"value": refused, "bar": len(REFUSED), "holds": refused == len(REFUSED)},
        "versions_that_answered": {
            "value": len({version for _, version in clients.answered}),
            "bar": SWAPS,
            "holds": len({version for _, version in clients.answered}) >= SWAPS,
        },
        "rows_not_once_in_the_table": {
            "value": len(set(map(tuple, rows)) ^ set(clients.answered)) + len(rows) - len(set(rows)),
            "bar": 0,
            "holds": once,
        },
    }


def main() -> None:
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    with tempfile.TemporaryDirectory(prefix="cuvee-benchmark-") as home, stand(Path(home)) as found:
        bars = measured(found, wanted)
    print(json.dumps({"bars": bars}))


if __name__ == "__main__":
    main()
