"""What other protocols' clients may send: refused with a reason, whatever it is."""

import json

import pytest
from fastapi.exceptions import RequestValidationError

from cuvee.errors import InvalidInputError
from ml_service.api import tables, tensors
from ml_service.api.routes import predict
from ml_service.wine import EXAMPLE, INPUT_COLUMNS

COLUMN = dict.fromkeys(INPUT_COLUMNS, 1.0)


@pytest.mark.parametrize(
    "body",
    [b"[" * 30_000, b'{"inputs": ' + b"[" * 30_000, b"\xff", b"null", b"{}", b'{"inputs": 7}'],
    ids=["only brackets", "nested", "no text", "null", "empty", "a number"],
)
def test_an_invocation_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInputError):
        tables.from_invocation(body)


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
        {"outputs": "quality"},
        {"outputs": [{"name": "grade"}]},
        {"outputs": [{"name": "quality", "parameters": "binary"}]},
        {"parameters": "binary"},
    ],
    ids=lambda wrong: json.dumps(wrong)[:40],
)
def test_an_inference_request_that_is_none_is_refused_before_anything_is_predicted(wrong: dict[str, object]) -> None:
    inputs = [{"name": "x", "datatype": "FP64", "shape": [1, len(INPUT_COLUMNS)], "data": [7, 0.5, 0.3, 2, 0.1, 15, 40,
               0.99, 3.3, 0.6, 12, 0]}]  # fmt: skip
    assert tensors.Request(None).parse(json.dumps({"inputs": inputs}).encode()).shape == (1, len(INPUT_COLUMNS))

    with pytest.raises(InvalidInputError):
        tensors.Request(None).parse(json.dumps({"inputs": inputs} | wrong).encode())


@pytest.mark.parametrize("count", [1, 10_000])
def test_of_many_wrong_samples_the_first_is_told_whole_and_no_other(count: int) -> None:
    body = json.dumps({"samples": [dict(EXAMPLE)] + [{}] * count}).encode()
    with pytest.raises(RequestValidationError) as refused:
        predict.parse(body)

    assert [one["loc"] for one in refused.value.errors()] == [("samples", 1, name) for name in EXAMPLE]


def test_an_inference_request_nested_without_end_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        tensors.Request(None).parse(b'{"inputs": ' + b"[" * 30_000)
