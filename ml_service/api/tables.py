"""Samples that come as tables of named columns, as MLflow's clients and the Open Inference Protocol send them."""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cuvee.errors import InvalidInputError, TooLargeError
from ml_service import dataset
from ml_service.api.schemas import MOST_SAMPLES
from ml_service.dataset import Floats
from ml_service.wine import COLOURS, FEATURE_NAMES, INPUT_COLUMNS

_LARGEST = sys.float_info.max
_FORMS = "dataframe_split, dataframe_records, instances, inputs"


def from_csv(body: bytes) -> Floats:
    """A header line and one line per sample, comma-separated. Raises InvalidInputError."""
    try:
        table = pd.read_csv(io.BytesIO(body))
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise InvalidInputError(f"This is no CSV: {error}.") from error
    return from_columns({str(name): table[name].tolist() for name in table.columns})


def from_invocation(body: bytes) -> Floats:
    """One of MLflow's four JSON forms. Raises InvalidInputError, TooLargeError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"This is no JSON: {error}.") from error
    forms = [form for form in _FORMS.split(", ") if isinstance(found, dict) and form in found]
    if len(forms) != 1:
        raise InvalidInputError(f"The body must be an object with exactly one of {_FORMS}.")
    form, sent = forms[0], found[forms[0]]
    if form == "dataframe_split":
        columns = sent.get("columns", [*INPUT_COLUMNS]) if isinstance(sent, dict) else None
        if not isinstance(columns, list) or not isinstance(sent.get("data"), list):
            raise InvalidInputError("dataframe_split must have the lists columns and data.")
        return _from_rows(sent["data"], columns)
    if isinstance(sent, dict):
        return from_columns(sent)
    if not isinstance(sent, list):
        raise InvalidInputError(f"{form} must be a list of samples, or columns by name.")
    if sent and all(isinstance(one, dict) for one in sent):
        names = list(sent[0])
        if any(set(one) != set(names) for one in sent):
            raise InvalidInputError("The samples must all have the same columns.")
        return from_columns({name: [one[name] for one in sent] for name in names})
    return _from_rows(sent, INPUT_COLUMNS)


def _from_rows(rows: list[Any], columns: Sequence[Any]) -> Floats:
    names = [str(name) for name in columns]
    if len(set(names)) != len(names):
        raise InvalidInputError("A column is named twice.")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidInputError(f"row {number}: a list of {len(names)} values was expected: {', '.join(names)}.")
    return from_columns({name: [row[place] for row in rows] for place, name in enumerate(names)})


def from_columns(columns: Mapping[str, Any]) -> Floats:
    """The eleven features and either `is_white` (0 or 1) or `colour`, in any order, as inputs of shape (rows, 12).

    Raises:
        InvalidInputError: a column is missing, unknown or of another length, or a value is wrong.
        TooLargeError: there are too many rows.
    """
    given = {name: values if isinstance(values, list) else [values] for name, values in columns.items()}
    if "colour" in given and "is_white" not in given:
        given["is_white"] = [_is_white(number, value) for number, value in enumerate(given.pop("colour"))]
    missing = [name for name in INPUT_COLUMNS if name not in given]
    unknown = [name for name in given if name not in INPUT_COLUMNS]
    if missing or unknown:
        told = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        raise InvalidInputError(
            f"Columns {'; '.join(told)}. Wanted are {', '.join(FEATURE_NAMES)} and is_white or colour."
        )
    lengths = {len(values) for values in given.values()}
    if len(lengths) > 1 or lengths == {0}:
        raise InvalidInputError("All columns must have the same number of values, at least one.")
    if lengths.pop() > MOST_SAMPLES:
        raise TooLargeError(f"A request may have at most {MOST_SAMPLES} samples.")
    for name in INPUT_COLUMNS:
        _check_numbers(name, given[name])
    try:
        inputs = np.array([given[name] for name in INPUT_COLUMNS], dtype=np.float64).T.copy()
    except OverflowError as error:
        wrong = next(name for name in INPUT_COLUMNS if any(abs(value) > _LARGEST for value in given[name]))
        raise InvalidInputError(f"{wrong}: a number is too large for any measurement.") from error
    dataset.check(inputs)
    return inputs


def _is_white(number: int, value: Any) -> float:
    if value not in COLOURS:
        raise InvalidInputError(f"row {number}, colour: {value!r} is neither {' nor '.join(COLOURS)}")
    return float(value == "white")


def _check_numbers(name: str, values: list[Any]) -> None:
    allowed = {int, float, bool} if name == "is_white" else {int, float}
    if not allowed.issuperset(map(type, values)):
        number, value = next((n, v) for n, v in enumerate(values) if type(v) not in allowed)
        raise InvalidInputError(f"row {number}, {name}: {value!r} is no number")
