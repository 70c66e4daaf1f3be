"""What clients may send: refused with a reason, whatever it is."""

import json
import struct
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock
from uuid import UUID

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.testclient import TestClient

from cuvee.errors import InvalidInputError
from cuvee.keys import Caller
from cuvee.service import error_response, told
from ml_service import store
from ml_service.api import tables, tensors
from ml_service.api.routes import observations, open_inference, predict
from ml_service.wine import EXAMPLE, INPUT_COLUMNS

COLUMN = dict.fromkeys(INPUT_COLUMNS, 1.0)
WINE = [7, 0.5, 0.3, 2, 0.1, 15, 40, 0.99, 3.3, 0.6, 12, 0]
MATRIX = [{"name": "x", "datatype": "FP64", "shape": [1, len(INPUT_COLUMNS)], "data": WINE}]


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 30_000,
        b'{"inputs": ' + b"[" * 30_000,
        b"\xff",
        b"null",
        b"{}",
        b'{"inputs": 7}',
        b'{"dataframe_split": 5}',
        b'{"dataframe_split": {"columns": null, "data": [[1]]}}',
        b'{"dataframe_split": {"columns": 5, "data": [[1]]}}',
        b'{"dataframe_split": {"columns": [[1], 5], "data": [[1, 2]]}}',
        b'{"dataframe_records": [{"\\ud800": 1}]}',
    ],
    ids=[
        "only brackets",
        "nested",
        "no text",
        "null",
        "empty",
        "a number",
        "no split",
        "null as columns",
        "a number as columns",
        "lists as columns",
        "half a character",
    ],
)
def test_an_invocation_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInputError) as refused:
        tables.from_invocation(body)
    _, _, message = told(refused.value)
    error_response(422, "invalid_input", message)


@pytest.mark.parametrize(
    "value",
    [10**400, -(10**400), "1", None, [1.0], {}, True, float("nan"), float("inf")],
    ids=lambda value: f"{value!r:.9}",
)
def test_what_is_no_measurement_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match="ph"):
        tables.from_columns({name: [one] for name, one in (COLUMN | {"ph": value}).items()})


@pytest.mark.parametrize(
    "wrong",
    [
        {"inputs": "x"},
        {"inputs": [{"name": "ph"}]},
        {"inputs": MATRIX * 2},
        {"inputs": [*MATRIX, {"name": "ph", "datatype": "FP64", "shape": [1, 1], "data": [3]}]},
        {"outputs": "quality"},
        {"outputs": [{"name": "grade"}]},
        {"outputs": [{"name": "quality"}, {"name": "low"}, {"name": "quality"}]},
        {"outputs": [{"name": "quality", "parameters": "binary"}]},
        {"parameters": "binary"},
        {"id": 7},
        {"id": "\ud800"},
    ],
    ids=lambda wrong: json.dumps(wrong)[:40],
)
def test_an_inference_request_that_is_none_is_refused_before_anything_is_predicted(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        tensors.Request(None).parse(json.dumps({"inputs": MATRIX} | wrong).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        *({"shape": shape} for shape in ([2, 12], [12], [12, 1], [1, 12, 1], [-1, 12], [True, 12], 12, [10**400, 12])),
        *({"datatype": kind} for kind in ("FP16", "number", None, ["FP64"], "INT64", "BYTES")),
        *({"data": data} for data in ("x" * 12, None, [WINE, WINE], [WINE, 7], [WINE[:6], WINE[6:]])),
        *({"data": [*WINE[:-1], value]} for value in (True, "0", None, 10**400)),
        {"data": [str(value) for value in WINE], "datatype": "BYTES"},
        *({"parameters": {"binary_data_size": size}} for size in (float("inf"), float("nan"), -8, "96", 96.0, True)),
    ],
    ids=lambda wrong: json.dumps(wrong)[:40],
)
def test_a_matrix_that_is_not_as_it_says_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        tensors.Request(None).parse(json.dumps({"inputs": [MATRIX[0] | wrong]}).encode())


@pytest.mark.parametrize(
    "right",
    [
        {},
        {"data": [WINE]},
        {"data": [[7, 0, 0, 2, 0, 15, 40, 1, 3, 1, 12, 0]], "datatype": "INT32"},
        {"shape": [2, 12], "data": [WINE, WINE]},
        {"shape": [2, 12], "data": WINE + WINE},
    ],
    ids=json.dumps,
)
def test_a_matrix_comes_flat_or_nested(right: dict[str, Any]) -> None:
    sent = MATRIX[0] | right
    found = tensors.Request(None).parse(json.dumps({"id": "one", "inputs": [sent]}).encode())

    assert found.ravel().tolist() == np.ravel(sent["data"]).tolist()
    assert list(found.shape) == sent["shape"]


@pytest.mark.parametrize(
    "wrong",
    [{"shape": [3, 1]}, {"shape": [2, 2]}, {"data": [3.1]}, {"data": [[3.1, 3.2]]}, {"data": ["3", "3"]}],
    ids=str,
)
def test_columns_that_are_not_as_they_say_are_refused(wrong: dict[str, Any]) -> None:
    columns: list[dict[str, Any]] = [
        {"name": name, "datatype": "FP64", "shape": [2, 1], "data": [value, value]}
        for name, value in zip(INPUT_COLUMNS, WINE, strict=True)
    ]
    whole = {"name": "colour", "datatype": "BYTES", "shape": [2], "data": ["red", "white"]}
    right = tensors.Request(None).parse(json.dumps({"inputs": [*columns[:-1], whole]}).encode())
    assert right[:, -1].tolist() == [0, 1]

    sent = [column | wrong if column["name"] == "ph" else column for column in columns]
    with pytest.raises(InvalidInputError):
        tensors.Request(None).parse(json.dumps({"inputs": sent}).encode())


@pytest.mark.parametrize("count", [1, 10_000])
def test_of_many_wrong_samples_the_first_is_told_whole_and_no_other(count: int) -> None:
    body = json.dumps({"samples": [dict(EXAMPLE)] + [{}] * count}).encode()
    with pytest.raises(RequestValidationError) as refused:
        predict.parse(body)

    assert [one["loc"] for one in refused.value.errors()] == [("samples", 1, name) for name in EXAMPLE]


class Counted(bytes):
    """Counts what is copied out of it, and out of that."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if not isinstance(found, bytes):
            return found
        Counted.copied += len(found)
        return Counted(found)


def binary(*sent: tuple[str, str, list[int], bytes]) -> tuple[tensors.Request, bytes]:
    """A request with these tensors, by name, datatype, shape and bytes."""
    described = [
        {"name": name, "datatype": kind, "shape": shape, "parameters": {"binary_data_size": len(data)}}
        for name, kind, shape, data in sent
    ]
    told = json.dumps({"inputs": described}).encode()
    return tensors.Request(len(told)), told + b"".join(data for *_, data in sent)


def strings(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text.encode() for text in texts)


def test_strings_are_read_without_copying_what_is_left_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "copied", 0)
    request, body = binary(("colour", "BYTES", [3000, 1], strings(*["red"] * 3000)))
    with pytest.raises(InvalidInputError, match="missing: fixed_acidity"):
        request.parse(Counted(body))

    assert Counted.copied < 5 * len(body)


def test_more_strings_than_a_request_may_have_samples_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(struct, "unpack_from", lambda *told: read.append(told) or (0,))
    request, body = binary(("colour", "BYTES", [50_000, 1], bytes(200_000)))
    with pytest.raises(InvalidInputError, match="at most 10000 samples"):
        request.parse(body)

    assert len(read) <= 10_000


@pytest.mark.parametrize("data", [strings("red", "white")[:-1], strings("red") + b"\x01", strings("red"), b""])
def test_strings_that_are_cut_short_are_refused(data: bytes) -> None:
    request, body = binary(("colour", "BYTES", [2, 1], data))
    with pytest.raises(InvalidInputError, match="This is no inference request"):
        request.parse(body)


def test_an_inference_request_nested_without_end_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        tensors.Request(None).parse(b'{"inputs": ' + b"[" * 30_000)


@pytest.mark.parametrize(("told", "length"), [("12", 12), ("²", None), ("-1", None)])
def test_a_length_in_the_header_is_taken_if_it_is_one(told: str, length: int | None) -> None:
    assert open_inference._json_bytes({"inference-header-content-length": told}) == length


def test_an_observation_comes_alone_or_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    app = FastAPI()
    app.include_router(observations.router)
    app.state.engine, app.state.recorder = None, SimpleNamespace(flush=AsyncMock())
    app.state.keys = SimpleNamespace(remembered=lambda *_: Caller(7, "tester", frozenset({"ml"})))
    monkeypatch.setattr(store, "observe", lambda _, key_id, found: ["recorded"] * len(found))
    client, one = TestClient(app), {"prediction_id": str(UUID(int=5)), "quality": 6}
    outcome = {"prediction_id": one["prediction_id"], "outcome": "recorded"}

    assert client.post("/observations", json=one).json() == {"observations": [outcome]}
    assert client.post("/observations", json={"observations": [one, one]}).json() == {"observations": [outcome] * 2}
    for body, where in (
        ({**one, "quality": 11}, [0, "quality"]),
        ({"observations": [one, {**one, "quality": 11}]}, [1, "quality"]),
        ({**one, "observations": []}, [0, "observations"]),
        ({}, []),
    ):
        refused = client.post("/observations", json=body)
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "observations", *where])
