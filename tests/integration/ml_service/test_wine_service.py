"""The served app: 503 before the first champion, swapped in by a notification, every prediction a row."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from mlflow import MlflowClient
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.pipeline import Pipeline

from cuvee import keys
from cuvee.database import MODEL_CHANNEL, connect, notify, predictions
from cuvee.settings import Settings
from ml_service import dataset, inference
from ml_service.api import app as service
from ml_service.wine import MODEL_NAME
from tests.integration.conftest import free_port
from tests.wine_versions import register, wines

pytestmark = pytest.mark.integration

RED = {
    "fixed_acidity": 7.4,
    "volatile_acidity": 0.36,
    "citric_acid": 0.3,
    "residual_sugar": 2.1,
    "chlorides": 0.07,
    "free_sulfur_dioxide": 17,
    "total_sulfur_dioxide": 42,
    "density": 0.9952,
    "ph": 3.3,
    "sulphates": 0.78,
    "alcohol": 12.1,
    "colour": "red",
}
WHITE = {**RED, "colour": "white"}


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> float:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "the condition did not come true"
        time.sleep(0.05)
    return time.monotonic() - started


@pytest.fixture
def client(wine_settings: Settings, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The service, told of changes only by notifications: its own periodic check is put off."""
    monkeypatch.setattr(service, "_CHECK_SECONDS", 600.0)
    keys.ensure(engine, "tester", "the-key")
    keys.ensure(engine, "reader", "rag-only", ("rag",))
    with TestClient(service.create_app(wine_settings), headers={"Authorization": "Bearer the-key"}) as started:
        yield started


def forest(trees: int = 10, leaf: int = 5) -> Pipeline:
    inputs, quality = wines()
    model = ExtraTreesRegressor(trees, min_samples_leaf=leaf, random_state=0)
    return Pipeline([("model", model)]).fit(dataset.as_frame(inputs), quality)


def alias(settings: Settings, name: str, number: int) -> None:
    """Move an alias, and tell the service as promotion does."""
    registry = MlflowClient(settings.resolved_mlflow_uri, settings.resolved_mlflow_uri)
    registry.set_registered_model_alias(MODEL_NAME, name, str(number))
    engine = connect(settings.resolved_database_url)
    with engine.begin() as connection:
        notify(connection, MODEL_CHANNEL, "look")
    engine.dispose()


def promote(settings: Settings, model: Pipeline) -> int:
    number = register(settings.resolved_mlflow_uri, model)
    alias(settings, "champion", number)
    return number


def rows(engine: sa.Engine, count: int) -> list[Any]:
    """The predictions of the record, once there are so many."""

    def found() -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(sa.select(predictions).order_by(predictions.c.predicted_at)))

    wait_until(lambda: len(found()) >= count)
    return found()


def version(client: TestClient) -> int | None:
    return client.get("/health/ready").json().get("version")  # type: ignore[no-any-return]


def test_champions_are_served_as_they_come_without_a_restart_and_each_prediction_is_a_row(
    client: TestClient, wine_settings: Settings, engine: sa.Engine
) -> None:
    # Given nothing to serve
    for answer in (client.post("/predict", json={"samples": [RED]}), client.get("/model"), client.get("/health/ready")):
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "not_ready")
        assert "train_wine" in answer.json()["error"]["message"]
    assert client.get("/health/live").status_code == 200

    # When two champions are promoted, one after the other
    first = promote(wine_settings, forest(leaf=100))
    wait_until(lambda: version(client) == first)
    before = client.post("/predict", json={"samples": [RED]}).json()
    second = promote(wine_settings, forest(40))
    wait_until(lambda: version(client) == second)
    after = client.post("/predict", json={"samples": [RED, WHITE]}).json()

    # Then each answered with its own version, and what was answered is what was recorded
    assert (before["model"], after["model"]) == (
        {"name": MODEL_NAME, "version": 1},
        {"name": MODEL_NAME, "version": 2},
    )
    recorded = {row.prediction_id: row for row in rows(engine, 3)}
    answered = {UUID(p["prediction_id"]): p["quality"] for p in before["predictions"] + after["predictions"]}
    assert {i: row.quality for i, row in recorded.items()} == answered
    red, white = (recorded[UUID(p["prediction_id"])] for p in after["predictions"])
    assert (red.sample, white.sample, red.model_version, red.key_id) == (RED, WHITE, 2, 1)
    assert red.quality != white.quality
    assert 5 < red.quality < 8
    described = client.get("/model").json()
    assert (described["version"], described["data_checksum"]) == (2, "0" * 64)
    assert described["metrics"] == {"rmse": 0.7}
    assert (described["reload_error"], described["reload_failing_since"]) == (None, None)


def test_what_is_served_equals_the_model_in_the_registry(client: TestClient, wine_settings: Settings) -> None:
    served = promote(wine_settings, forest())
    wait_until(lambda: version(client) == served)

    answered = client.post("/predict", json={"samples": [RED, WHITE] * 500}).json()["predictions"]

    registry = inference.Registry(wine_settings.resolved_mlflow_uri)
    loaded = inference.load(registry, registry.version(MODEL_NAME, served))
    expected = loaded.predict(dataset.encode([RED, WHITE]))
    assert [p["quality"] for p in answered] == pytest.approx([*expected] * 500, abs=1e-12)
    assert len({p["prediction_id"] for p in answered}) == 1000


def test_a_champion_that_may_not_be_loaded_leaves_the_last_good_one_serving_and_says_since_when(
    client: TestClient, wine_settings: Settings, engine: sa.Engine, tmp_path: Any
) -> None:
    good = promote(wine_settings, forest())
    wait_until(lambda: version(client) == good)
    mlflow = MlflowClient(wine_settings.resolved_mlflow_uri, wine_settings.resolved_mlflow_uri)
    run = mlflow.get_run(mlflow.get_model_version(MODEL_NAME, str(good)).run_id)
    (tmp_path / "MLmodel").write_text("flavors: {}\n")
    mlflow.log_artifact(run.info.run_id, str(tmp_path / "MLmodel"), "model")
    broken = mlflow.create_model_version(MODEL_NAME, f"{run.info.artifact_uri}/model", run.info.run_id)
    mlflow.set_registered_model_alias(MODEL_NAME, "champion", broken.version)
    with engine.begin() as connection:
        notify(connection, MODEL_CHANNEL, "look")

    wait_until(lambda: client.get("/model").json()["reload_error"] is not None)
    described = client.get("/health/ready").json()
    assert described["version"] == good
    assert described["reload_error"].startswith("version 2: ")
    assert described["reload_failing_since"] is not None
    assert client.post("/predict", json={"samples": [RED]}).json()["model"]["version"] == good

    mlflow.set_registered_model_alias(MODEL_NAME, "champion", str(good))
    with engine.begin() as connection:
        notify(connection, MODEL_CHANNEL, "look")
    wait_until(lambda: client.get("/model").json()["reload_error"] is None)


def test_an_mlflow_that_comes_up_later_is_found_by_the_periodic_check(
    wine_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_CHECK_SECONDS", 0.5)
    served = promote(wine_settings, forest())
    port = free_port()
    later = wine_settings.model_copy(update={"mlflow_uri": f"http://127.0.0.1:{port}"})
    with TestClient(service.create_app(later)) as started:
        wait_until(lambda: "MLflow does not answer" in started.get("/health/ready").text)
        with sending_on(port, wine_settings.resolved_mlflow_uri):
            wait_until(lambda: version(started) == served)

        assert started.get("/health/ready").status_code == 200


@contextmanager
def sending_on(port: int, url: str) -> Iterator[None]:
    """On this port, a server that sends everyone to another."""

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(307)
            self.send_header("Location", url + self.path)
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

    with ThreadingHTTPServer(("127.0.0.1", port), Elsewhere) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield
        finally:
            server.shutdown()


@pytest.mark.parametrize(
    ("authorization", "status", "kind"),
    [
        (None, 401, "unauthorized"),
        ("Basic the-key", 401, "unauthorized"),
        ("Bearer unknown", 401, "unauthorized"),
        ("Bearer rag-only", 403, "forbidden"),
    ],
)
@pytest.mark.parametrize("call", ["POST /predict", "GET /model"])
def test_without_a_right_key_nothing_is_told(
    client: TestClient, call: str, authorization: str | None, status: int, kind: str
) -> None:
    method, path = call.split()
    headers = {"Authorization": authorization} if authorization else {"Authorization": ""}

    answer = client.request(method, path, json={"samples": [RED]}, headers=headers)

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([{**RED, "ph": 42.0}], "samples.0.ph: Input should be less than or equal to 4.5, not 42.0"),
        ([RED, {**RED, "alcohol": 4.9}], "samples.1.alcohol: Input should be greater than or equal to 5, not 4.9"),
        ([{**RED, "density": "0.99"}], "samples.0.density: Input should be a valid number, not '0.99'"),
        ([{**RED, "colour": "rosé"}], "samples.0.colour: Input should be 'red' or 'white', not 'rosé'"),
        ([{**RED, "vintage": 2020}], "samples.0.vintage: Extra inputs are not permitted, not 2020"),
        ([{k: v for k, v in RED.items() if k != "ph"}], "samples.0.ph: Field required"),
        ([], "samples: List should have at least 1 item"),
        ([RED] * 10_001, "samples: List should have at most 10000 items"),
    ],
)
def test_a_wrong_sample_is_refused_naming_field_bound_and_what_came(
    client: TestClient, samples: list[Any], told: str
) -> None:
    answer = client.post("/predict", json={"samples": samples})

    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "invalid_input")
    assert told in answer.json()["error"]["message"]


def test_numbers_that_are_not_finite_are_refused(client: TestClient) -> None:
    for number in ("NaN", "Infinity", "1e999"):
        body = '{"samples": [' + str(RED).replace("'", '"').replace("3.3", number) + "]}"
        answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 422
        assert "samples.0.ph" in answer.json()["error"]["message"]
