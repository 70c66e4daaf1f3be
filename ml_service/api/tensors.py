"""Requests and answers of the Open Inference Protocol, in JSON and with its binary tensors."""

import json
import struct
from typing import Any

import numpy as np
from pydantic_core import to_json

from cuvee.errors import InvalidInputError
from ml_service.api import tables
from ml_service.dataset import Floats
from ml_service.recording import Answered
from ml_service.wine import FEATURE_NAMES, INPUT_COLUMNS

_TYPES = {"FP64": "<f8", "FP32": "<f4", "INT64": "<i8", "INT32": "<i4"}

INPUTS = [
    *({"name": name, "datatype": "FP64", "shape": [-1, 1]} for name in FEATURE_NAMES),
    {"name": "colour", "datatype": "BYTES", "shape": [-1, 1]},
]
"""Or one tensor of any name and of the shape [-1, 12], whose last column is is_white (0 or 1)."""
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
            sent, rest = found["inputs"], body[end:]
            columns = {}
            for tensor in sent:
                size = (tensor.get("parameters") or {}).get("binary_data_size")
                data = tensor["data"] if size is None else rest[: int(size)]
                rest = rest if size is None else rest[int(size) :]
                columns[str(tensor["name"])] = _values(tensor, data)
            if len(sent) == 1 and list(sent[0]["shape"])[1:] == [len(INPUT_COLUMNS)]:
                (flat,) = columns.values()
                whole = np.array(flat, dtype=np.float64).reshape(-1, len(INPUT_COLUMNS))
                columns = {name: whole[:, place].tolist() for place, name in enumerate(INPUT_COLUMNS)}
            # Before anything is predicted and recorded.
            self._wanted, self._id = _wanted(found), {"id": found["id"]} if "id" in found else {}
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
    return [(one["name"], bool((one.get("parameters") or {}).get("binary_data", everything))) for one in asked]


def _values(tensor: dict[str, Any], data: Any) -> list[Any]:
    """The tensor's values in one row-major list."""
    kind = tensor["datatype"]
    if isinstance(data, bytes):
        if kind != "BYTES":
            found: list[Any] = np.frombuffer(data, _TYPES[kind]).tolist()
            return found
        texts = []
        while data:
            (length,) = struct.unpack_from("<I", data)
            texts.append(data[4 : 4 + length].decode())
            data = data[4 + length :]
        return texts
    flat = data
    while flat and isinstance(flat[0], list):
        flat = [value for row in flat for value in row]
    return list(flat)


def _texts(values: list[str]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value.encode() for value in values)
