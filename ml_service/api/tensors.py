"""Requests and answers of the Open Inference Protocol, in JSON and with its binary tensors."""

import json
import math
import struct
from typing import Any

import numpy as np
from pydantic_core import to_json

from cuvee.errors import InvalidInputError, TooLargeError
from ml_service.api import tables
from ml_service.api.schemas import MOST_SAMPLES
from ml_service.dataset import Floats
from ml_service.recording import Answered
from ml_service.wine import FEATURE_NAMES, INPUT_COLUMNS

_TYPES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}
_DATATYPES = (*_TYPES, "BYTES")

INPUTS = [
    *({"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in FEATURE_NAMES),
    {"name": "colour", "datatype": "BYTES", "shape": [-1, 1]},
]
"""Or of the shape [-1]; or one tensor of any name and of the shape [-1, 12], whose last column is is_white (0 or 1)."""
OUTPUTS: list[dict[str, Any]] = [
    *({"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in ("quality", "low", "high")),
    {"name": "prediction_id", "datatype": "BYTES", "shape": [-1, 1]},
]
_OUTPUT_NAMES = [str(output["name"]) for output in OUTPUTS]


class Request:
    """One request: `parse` it, then `answer` in the way that it asked for."""

    def __init__(self, json_bytes: int | None) -> None:
        """`json_bytes`: how many bytes of the body are JSON where binary tensors follow it; None: all."""
        self._json_bytes = json_bytes
        self._id: dict[str, Any] = {}
        self._wanted: list[tuple[str, bool]] = []

    def parse(self, body: bytes) -> Floats:
        """Inputs, shape (rows, 12). Raises InvalidInputError."""
        end = len(body) if self._json_bytes is None else self._json_bytes
        try:
            found = json.loads(body[:end])
            columns = _inputs(found["inputs"], body, end)
            # Before anything is predicted and recorded.
            self._wanted, self._id = _wanted(found), _id(found)
            unknown = [name for name, _ in self._wanted if name not in _OUTPUT_NAMES]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error) as error:
            raise InvalidInputError(f"This is no inference request of the protocol: {error!r}.") from error
        if unknown:
            raise InvalidInputError(f"There is no output {unknown[0]!r}; there are {', '.join(_OUTPUT_NAMES)}.")
        return tables.from_columns(columns)

    def answer(self, name: str, answered: Answered) -> tuple[bytes, dict[str, str]]:
        """Body and headers; binary where the request asks for it."""
        found = answered.found
        values: dict[str, Any] = {"quality": found.quality, "low": found.low, "high": found.high}
        ids = [str(one) for one in answered.ids]
        outputs: list[dict[str, Any]] = []
        blobs: list[bytes] = []
        for wanted, binary in self._wanted:
            is_id = wanted == "prediction_id"
            output: dict[str, Any] = {"name": wanted, "datatype": "BYTES" if is_id else "FP64", "shape": [len(ids), 1]}
            if binary:
                blobs.append(_texts(ids) if is_id else values[wanted].astype("<f8").tobytes())
                output["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                output["data"] = ids if is_id else values[wanted].tolist()
            outputs.append(output)
        body = {"model_name": name, "model_version": str(answered.route.model.version), "outputs": outputs}
        told = to_json(body | self._id)
        if not blobs:
            return told, {"Content-Type": "application/json"}
        headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(told))}
        return told + b"".join(blobs), headers


def _wanted(body: dict[str, Any]) -> list[tuple[str, bool]]:
    """Names of the outputs that are asked for, and whether each is to be binary."""
    everything = bool((body.get("parameters") or {}).get("binary_data_output"))
    asked = body.get("outputs") or [{"name": name} for name in _OUTPUT_NAMES]
    if len({one["name"] for one in asked}) < len(asked):
        raise ValueError("an output that is asked for twice")
    return [(one["name"], bool((one.get("parameters") or {}).get("binary_data", everything))) for one in asked]


def _id(body: dict[str, Any]) -> dict[str, str]:
    found = body.get("id")
    if found is None:
        return {}
    # A lone surrogate, which JSON may hold, could not be sent back: it has no UTF-8.
    found.encode()
    return {"id": found}


def _inputs(sent: list[dict[str, Any]], body: bytes, start: int) -> dict[str, list[Any]]:
    """All columns that were sent; binary ones stand in `body` one after the other, from `start` on."""
    columns: dict[str, list[Any]] = {}
    for tensor in sent:
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        data = tensor["data"] if size is None else body[start : start + _length(size)]
        start += size or 0
        given = _columns(tensor, data)
        if given.keys() & columns.keys():
            raise ValueError("an input that comes twice")
        columns |= given
    return columns


def _length(size: Any) -> int:
    if type(size) is not int or size < 0:
        raise ValueError("a binary_data_size that is no number of bytes")
    return size


def _columns(tensor: dict[str, Any], data: Any) -> dict[str, list[Any]]:
    """The tensor's values by column: its own, or all inputs if it is a matrix of them."""
    kind, shape, width = tensor["datatype"], tensor["shape"], len(INPUT_COLUMNS)
    if kind not in _DATATYPES:
        raise ValueError(f"a datatype that is not taken; those that are: {', '.join(_DATATYPES)}")
    if not isinstance(shape, list) or len(shape) not in (1, 2) or any(type(one) is not int or one < 0 for one in shape):
        raise ValueError("a shape that is none")
    if shape[1:] not in ([], [1], [width]):
        raise ValueError(f"a shape that is not taken: {shape}; those that are: [n], [n, 1], [n, {width}]")
    if shape[0] > MOST_SAMPLES:
        raise TooLargeError(f"A request may have at most {MOST_SAMPLES} samples.")
    values = _values(kind, shape, data)
    if shape[1:] != [width]:
        return {str(tensor["name"]): values}
    return {name: values[place::width] for place, name in enumerate(INPUT_COLUMNS)}


def _values(kind: str, shape: list[int], data: Any) -> list[Any]:
    """The tensor's values in one row-major list, as many as its shape says and of its datatype."""
    count = math.prod(shape)
    if isinstance(data, bytes):
        found = _strings(data, count) if kind == "BYTES" else np.frombuffer(data, _TYPES[kind]).tolist()
    else:
        found = _flat(data, shape)
        allowed = {str} if kind == "BYTES" else {int} if kind.startswith("INT") else {int, float}
        if not allowed.issuperset(map(type, found)):
            raise ValueError(f"data that is not {kind}")
    if len(found) != count:
        raise ValueError(f"{len(found)} values of the shape {shape}")
    return found


def _flat(data: Any, shape: list[int]) -> list[Any]:
    """JSON data, which is either flat already or nested as the shape says."""
    if not isinstance(data, list):
        raise TypeError("data that is no list")
    if len(shape) < 2 or not data or not isinstance(data[0], list):
        return data
    if any(not isinstance(row, list) or len(row) != shape[1] for row in data):
        raise ValueError(f"data that is not nested as the shape {shape} says")
    return [value for row in data for value in row]


def _strings(data: bytes, count: int) -> list[str]:
    """So many strings, each after its length: what `_texts` writes."""
    found, start = [], 0
    for _ in range(count):
        (length,) = struct.unpack_from("<I", data, start)
        start += 4 + length
        if start > len(data):
            raise ValueError("a string that is cut short")
        found.append(data[start - length : start].decode())
    if start != len(data):
        raise ValueError(f"{len(data) - start} bytes after the last string")
    return found


def _texts(values: list[str]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value.encode() for value in values)
