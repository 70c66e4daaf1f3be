"""The three doors to one model, versions by name and on trial, observations: the served app over real HTTP."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import requests
import sqlalchemy as sa
import tritonclient.http as triton
import uvicorn
from mlflow import MlflowClient
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from sklearn.pipeline import Pipeline

from cuvee import keys
from cuvee.database import observed_qualities, predictions
from cuvee.settings import Settings
from ml_service.api import app as service
from ml_service.dataset import as_frame, encode
from ml_service.wine import FEATURE_NAMES, FEATURES, INPUT_COLUMNS, MODEL_NAME
from tests.integration.conftest import answers, free_port, wait_for
from tests.integration.ml_service.test_wine_service import RED, WHITE, alias, forest, promote, rows, wait_until
from tests.wine_versions import INTERVALS, register

pytestmark = pytest.mark.integration

HEADERS = {"Authorization": "Bearer the-key"}
INPUTS = encode([RED, WHITE])


@pytest.fixture(scope="module")
def model() -> Pipeline:
    return forest()


@pytest.fixture
def expected(model: Pipeline) -> list[float]:
    found: list[float] = model.predict(as_frame(INPUTS)).tolist()
    return found


@pytest.fixture
def http(wine_settings: Settings, engine: sa.Engine, model: Pipeline) -> Iterator[httpx.Client]:
    """The service on a port of its own, with `model` as version 1 and champion."""
    keys.ensure(engine, "tester", "the-key")
    promote(wine_settings, model)
    port = free_port()
    app = service.create_app(wine_settings)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=30) as client:
            wait_until(lambda: server.started and client.get("/health/ready").status_code == 200)
            yield client
    finally:
        server.should_exit = True
        thread.join(timeout=30)


def test_each_prediction_has_its_interval_and_adds_up_when_explained(http: httpx.Client, expected: list[float]) -> None:
    answer = http.post("/predict?explain=true", json={"samples": [RED, WHITE]}).json()["predictions"]

    low, high = INTERVALS.around(np.array(expected), np.array([False, True]))
    assert [p["quality"] for p in answer] == pytest.approx(expected)
    assert [p["low"] for p in answer] == pytest.approx(low)
    assert [p["high"] for p in answer] == pytest.approx(high)
    for one in answer:
        contributions = one["explanation"]["contributions"]
        assert set(contributions) == {*FEATURE_NAMES, "colour"}
        assert one["explanation"]["base"] + sum(contributions.values()) == pytest.approx(one["quality"])
    refused = http.post("/predict?explain=true", json={"samples": [RED] * 21})
    assert (refused.status_code, "at most 20" in refused.text) == (422, True)
    assert http.post("/predict?version=x", json={"samples": [RED]}).status_code == 422


FORMS: dict[str, Any] = {
    "dataframe_split": {"columns": list(INPUT_COLUMNS), "data": INPUTS.tolist()},
    "dataframe_records": [RED, WHITE],
    "instances": [dict(zip(INPUT_COLUMNS, row, strict=True)) for row in INPUTS.tolist()],
    "inputs": {name: INPUTS[:, place].tolist() for place, name in enumerate(INPUT_COLUMNS)},
}


def test_mlflows_own_client_and_each_of_its_forms_are_answered(
    http: httpx.Client, expected: list[float], monkeypatch: pytest.MonkeyPatch, engine: sa.Engine
) -> None:
    client = ScoringServerClient("127.0.0.1", http.base_url.port)
    client.ping()
    # Its client sends no key of its own: here each of its requests is given ours.
    plain = requests.Session.request
    monkeypatch.setattr(
        requests.Session,
        "request",
        lambda self, *a, **k: plain(self, *a, **{**k, "headers": {**k["headers"], **HEADERS}}),
    )

    found = client.invoke(as_frame(INPUTS)).get_predictions()

    assert found.iloc[:, 0].tolist() == pytest.approx(expected)
    csv = as_frame(INPUTS).to_csv(index=False)
    by_csv = http.post("/invocations", content=csv, headers={"Content-Type": "text/csv"})
    assert by_csv.json()["predictions"] == pytest.approx(expected)
    for form, sent in FORMS.items():
        answer = http.post("/invocations", json={form: sent}).json()
        assert answer["predictions"] == pytest.approx(expected), form
        assert len(answer["prediction_ids"]) == 2
    assert len(rows(engine, 12)) == 12


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"dataframe_records": [RED, {**RED, "ph": 42}]}, "row 1, ph: 42 is outside 2.5..4.5"),
    ({"dataframe_records": [{**RED, "ph": "3"}]}, "row 0, ph: '3' is no number"),
    ({"dataframe_records": [{**RED, "colour": "rosé"}]}, "colour: 'rosé' is neither red nor white"),
    ({"inputs": {**FORMS["inputs"], "ph": [3.3]}}, "same number of values"),
    ({"dataframe_split": {"columns": ["ph"], "data": [[3.0]]}}, "missing: fixed_acidity"),
    ({"instances": [[1.0]]}, "row 0: a list of 12 values"),
    ({"samples": []}, "exactly one of dataframe_split"),
    ({"instances": []}, "at least one"),
]


def test_invocations_refuse_as_mlflow_does(http: httpx.Client) -> None:
    for body, told in WRONG:
        answer = http.post("/invocations", json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "BAD_REQUEST"), told
        assert told in answer.json()["message"]
    unknown = http.post("/invocations", json={}, headers={"Authorization": "Bearer x"})
    assert (unknown.status_code, unknown.json()["error_code"]) == (401, "UNAUTHENTICATED")


def by_columns(binary: bool) -> list[triton.InferInput]:
    columns = []
    for place, name in enumerate(FEATURE_NAMES):
        columns.append(triton.InferInput(name, [2, 1], "FP64"))
        columns[-1].set_data_from_numpy(INPUTS[:, place : place + 1], binary_data=binary)
    columns.append(triton.InferInput("colour", [2, 1], "BYTES"))
    columns[-1].set_data_from_numpy(np.array([["red"], ["white"]], dtype=object), binary_data=binary)
    return columns


def matrix(binary: bool) -> triton.InferInput:
    found = triton.InferInput("x", [2, 12], "FP32")
    found.set_data_from_numpy(INPUTS.astype(np.float32), binary_data=binary)
    return found


def test_tritons_own_client_is_answered_by_columns_and_by_one_matrix(http: httpx.Client, expected: list[float]) -> None:
    # The client writes into the headers that it is given.
    client = triton.InferenceServerClient(f"127.0.0.1:{http.base_url.port}")
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(MODEL_NAME, "1", headers={**HEADERS})
    described = client.get_model_metadata(MODEL_NAME, headers={**HEADERS})
    assert [one["name"] for one in described["inputs"]] == [*FEATURE_NAMES, "colour"]
    for binary in (True, False):
        outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("quality", "prediction_id")]
        for sent in (by_columns(binary), [matrix(binary)]):
            found = client.infer(MODEL_NAME, sent, outputs=outputs, headers={**HEADERS})
            assert found.as_numpy("quality").ravel().tolist() == pytest.approx(expected)
            assert len(set(found.as_numpy("prediction_id").ravel().tolist())) == 2

    with pytest.raises(triton.InferenceServerException, match="There is no model other"):
        client.infer("other", [matrix(True)], headers={**HEADERS})


def test_what_the_protocol_cannot_take_is_refused_in_its_own_words(http: httpx.Client, engine: sa.Engine) -> None:
    at = f"/v2/models/{MODEL_NAME}/infer"
    whole = {"name": "x", "shape": [1, 12], "datatype": "FP64", "data": INPUTS[0].tolist()}
    for body in ({}, {"inputs": [{"name": "x"}]}, {"inputs": [whole], "outputs": [{"name": "colour"}]}):
        answer = http.post(at, json=body)
        assert (answer.status_code, type(answer.json()["error"])) == (400, str)
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(predictions)).scalar_one() == 0


def test_a_version_is_answered_by_name_and_one_that_cannot_be_served_is_refused(
    http: httpx.Client, wine_settings: Settings, engine: sa.Engine, model: Pipeline
) -> None:
    url = wine_settings.resolved_mlflow_uri
    register(url, forest(leaf=100))
    register(url, model, with_reference=False)
    register(url, model, off_by=2e-5)

    named = http.post("/predict?version=2", json={"samples": [RED]})
    by_protocol = http.get(f"/v2/models/{MODEL_NAME}/versions/2/ready")

    assert (named.json()["model"]["version"], by_protocol.status_code) == (2, 200)
    assert rows(engine, 1)[0].role == "named"
    assert http.post("/predict?version=77", json={"samples": [RED]}).status_code == 404
    for damaged in (3, 4):
        assert http.post(f"/predict?version={damaged}", json={"samples": [RED]}).status_code == 500
    assert http.post("/predict", json={"samples": [RED]}).json()["model"]["version"] == 1


def test_a_version_off_its_reference_never_replaces_the_champion_and_says_why(
    http: httpx.Client, wine_settings: Settings, model: Pipeline
) -> None:
    alias(wine_settings, "champion", register(wine_settings.resolved_mlflow_uri, model, off_by=2e-5))

    wait_until(lambda: http.get("/model").json()["reload_error"] is not None)
    assert "5320 of 5320 reference rows" in http.get("/model").json()["reload_error"]
    assert http.post("/predict", json={"samples": [RED]}).json()["model"]["version"] == 1

    alias(wine_settings, "champion", register(wine_settings.resolved_mlflow_uri, model, with_reference=False))
    wait_until(lambda: "serving/reference.parquet" in http.get("/model").json()["reload_error"])
    assert http.post("/predict", json={"samples": [RED]}).json()["model"]["version"] == 1


def test_a_challenger_is_scored_in_shadow_then_answers_as_a_canary(
    http: httpx.Client, wine_settings: Settings, engine: sa.Engine
) -> None:
    other = forest(leaf=100)
    alias(wine_settings, "challenger", register(wine_settings.resolved_mlflow_uri, other))
    wait_until(lambda: http.get("/model").json()["challenger"] == {"version": 2, "mode": "shadow", "weight": 0.0})

    answer = http.post("/predict", json={"samples": [RED]}).json()

    recorded = {row.role: row for row in rows(engine, 2)}
    champion, shadow = recorded["champion"], recorded["shadow"]
    assert answer["model"]["version"] == 1
    assert (shadow.model_version, shadow.shadow_of) == (2, champion.prediction_id)
    assert shadow.quality == pytest.approx(other.predict(as_frame(INPUTS[:1]))[0])
    assert str(champion.prediction_id) == answer["predictions"][0]["prediction_id"]

    registry = MlflowClient(wine_settings.resolved_mlflow_uri, wine_settings.resolved_mlflow_uri)
    registry.set_model_version_tag(MODEL_NAME, "2", "cuvee.challenger_mode", "canary")
    registry.set_model_version_tag(MODEL_NAME, "2", "cuvee.challenger_weight", "1")
    alias(wine_settings, "challenger", 2)
    wait_until(lambda: http.get("/model").json()["challenger"]["mode"] == "canary")
    assert http.post("/predict", json={"samples": [RED]}).json()["model"]["version"] == 2
    assert rows(engine, 3)[-1].role == "canary"
    listed = http.get("/versions").json()["versions"]
    assert [(one["version"], one["aliases"]) for one in listed] == [(2, ["challenger"]), (1, ["champion"])]

    # And what is only tried is no part of the trial, and leaves no row
    asked = {"samples": [RED, WHITE]}
    tried = http.post("/predict?record=false&explain=true", json=asked).json()
    named = http.post("/predict?record=false&version=2", json=asked).json()
    many = http.post("/predict?record=false", json={"samples": [RED] * 200}).json()
    assert [one["model"]["version"] for one in (tried, named, many)] == [1, 2, 1]
    told = tried["predictions"] + named["predictions"] + many["predictions"]
    assert {one["prediction_id"] for one in told} == {None}
    assert tried["predictions"][0]["quality"] == answer["predictions"][0]["quality"]
    assert tried["predictions"][0]["explanation"]["base"] > 0
    last = http.post("/predict?version=1", json={"samples": [WHITE]}).json()["predictions"][0]["prediction_id"]
    assert [str(row.prediction_id) for row in rows(engine, 4)][3:] == [last]


def test_versions_are_listed_with_their_metrics_and_the_time_they_were_registered(
    http: httpx.Client, wine_settings: Settings, model: Pipeline
) -> None:
    before = datetime.now(UTC)
    register(wine_settings.resolved_mlflow_uri, model)

    newest, first = http.get("/versions").json()["versions"]

    assert (newest["version"], newest["aliases"], newest["metrics"]) == (2, [], {"rmse": 0.7})
    assert (first["version"], first["aliases"], first["metrics"]) == (1, ["champion"], {"rmse": 0.7})
    times = [datetime.fromisoformat(one["registered_at"]) for one in (first, newest)]
    assert times[0] < before - timedelta(milliseconds=1) and before - timedelta(milliseconds=1) <= times[1]
    assert times[1] <= datetime.now(UTC)


def test_the_features_are_told_as_the_table_has_them_and_the_example_is_predicted(http: httpx.Client) -> None:
    told = http.get("/features").json()

    assert [(one["name"], one["label"], one["unit"], one["lowest"], one["highest"]) for one in told["features"]] == [
        (one.name, one.csv_name, one.unit, one.lowest, one.highest) for one in FEATURES
    ]
    assert (told["colours"], told["quality"]["highest"], told["interval_level"]) == (["red", "white"], 10, 0.9)
    assert http.post("/predict?record=false", json={"samples": [told["example"]]}).status_code == 200
    assert http.get("/features", headers={"Authorization": ""}).status_code == 401


def test_observations_are_recorded_replaced_or_unknown_each_by_itself(http: httpx.Client, engine: sa.Engine) -> None:
    # At once after the answer, when its row is still on its way.
    known = http.post("/predict", json={"samples": [RED]}).json()["predictions"][0]["prediction_id"]
    unknown = str(uuid.uuid4())
    sent = [{"prediction_id": known, "quality": 6}, {"prediction_id": unknown, "quality": 5}]

    first = http.post("/observations", json={"observations": sent})
    later = {"prediction_id": known, "quality": 7, "observed_at": "2026-01-02T03:04:05Z"}
    second = http.post("/observations", json=later)

    assert [one["outcome"] for one in first.json()["observations"]] == ["recorded", "unknown"]
    assert [one["outcome"] for one in second.json()["observations"]] == ["replaced"]
    with engine.connect() as connection:
        row = connection.execute(sa.select(observed_qualities)).one()
    assert (str(row.prediction_id), row.quality, row.observed_at.year) == (known, 7.0, 2026)
    wrong = {"prediction_id": known, "quality": 11}
    for body, where in (
        ({"observations": [wrong]}, "observations.0.quality"),
        (wrong, "observations.0.quality"),
        ({}, "observations"),
    ):
        refused = http.post("/observations", json=body)
        assert (refused.status_code, f"{where}: " in refused.text) == (422, True)


@pytest.mark.parametrize("quality", [5.5, 5.000000001])
def test_half_a_point_is_refused_since_the_table_has_whole_ones(http: httpx.Client, quality: float) -> None:
    sent = [{"prediction_id": str(uuid.uuid4()), "quality": quality}]

    refused = http.post("/observations", json={"observations": sent})

    assert refused.status_code == 422
    assert f"whole points, not {quality}" in refused.text
    whole = http.post("/observations", json={"observations": [sent[0] | {"quality": 5.0}]})
    assert whole.status_code == 200


def test_a_wine_was_tasted_since_1990_and_not_later_than_tomorrow(http: httpx.Client) -> None:
    def status(observed_at: str) -> int:
        sent = {"prediction_id": str(uuid.uuid4()), "quality": 5, "observed_at": observed_at}
        return http.post("/observations", json={"observations": [sent]}).status_code

    now = datetime.now(UTC)
    taken = ["1990-01-01T00:00:00Z", (now + timedelta(hours=23)).isoformat()]
    refused = ["1990-01-01T00:00:00+01:00", "0001-01-01T00:00:00+12:00", (now + timedelta(hours=25)).isoformat()]
    refused += ["2062-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"]

    assert [status(one) for one in taken] == [200, 200]
    assert [status(one) for one in refused] == [422] * len(refused)


def test_what_was_answered_is_written_when_the_service_is_stopped(
    wine_settings: Settings, engine: sa.Engine, model: Pipeline
) -> None:
    from fastapi.testclient import TestClient

    keys.ensure(engine, "tester", "the-key")
    promote(wine_settings, model)
    slow = wine_settings.model_copy(update={"prediction_flush_seconds": 60.0})
    with TestClient(service.create_app(slow), headers=HEADERS) as client:
        wait_until(lambda: client.get("/health/ready").status_code == 200)
        ids = [client.post("/predict", json={"samples": [RED]}).json()["predictions"][0] for _ in range(20)]
    with engine.connect() as connection:
        written = set(connection.execute(sa.select(predictions.c.prediction_id)).scalars())

    assert {uuid.UUID(one["prediction_id"]) for one in ids} == written


def test_a_killed_service_has_written_every_prediction_whose_answer_waited_for_its_row(
    wine_settings: Settings, engine: sa.Engine, model: Pipeline, tmp_path: Path
) -> None:
    keys.ensure(engine, "tester", "the-key")
    promote(wine_settings, model)
    port, log = free_port(), tmp_path / "service.log"
    environment = {
        **os.environ,
        "CUVEE_HOME": str(wine_settings.home),
        "CUVEE_DATABASE_URL": wine_settings.resolved_database_url,
        "CUVEE_MLFLOW_URI": wine_settings.resolved_mlflow_uri,
        "CUVEE_PREDICTION_FLUSH_SECONDS": "0",
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "ml_service.api.app:create_app", "--port", str(port)]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, env=environment, stdout=sink, stderr=subprocess.STDOUT)
    answered: list[uuid.UUID] = []

    def predict_until_it_is_gone() -> None:
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, headers=HEADERS, timeout=30) as client, suppress(httpx.TransportError):
            while True:
                answer = client.post("/predict", json={"samples": [RED]}).json()
                answered.append(uuid.UUID(answer["predictions"][0]["prediction_id"]))

    try:
        wait_for(process, lambda: answers(f"http://127.0.0.1:{port}/health/ready"), log)
        clients = [threading.Thread(target=predict_until_it_is_gone) for _ in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: len(answered) >= 200)
    finally:
        process.kill()
        process.wait(timeout=30)
    for client in clients:
        client.join(timeout=30)

    with engine.connect() as connection:
        written = list(connection.execute(sa.select(predictions.c.prediction_id)).scalars())
    assert len(answered) >= 200
    assert set(answered) <= set(written)
    assert len(written) == len(set(written))
