"""The feature table as arrays: what training, evaluation and serving all see, with a checksum of its content."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cuvee.errors import DataQualityError, InvalidInputError, NotFoundError
from ml_service.wine import COLOURS, FEATURE_NAMES, FEATURES, INPUT_COLUMNS

Split = Literal["train", "test"]
Floats = npt.NDArray[np.float64]

_MOST_TOLD = 10
_COLUMNS = [*FEATURE_NAMES, "colour", "quality", "copies", "group_id", "split"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Distinct wines in canonical order (by group id, then quality).

    `inputs` has shape (rows, 12) with the columns of `INPUT_COLUMNS`; all others have shape (rows,).
    """

    inputs: Floats
    quality: Floats
    copies: npt.NDArray[np.int64]
    split: npt.NDArray[np.str_]
    group_ids: npt.NDArray[np.str_]
    checksum: str
    """SHA-256 of the sorted content; the same however the rows lie in files."""

    def part(self, split: Split) -> tuple[pd.DataFrame, Floats]:
        """Inputs and qualities of one side of the split."""
        chosen = self.split == split
        return as_frame(self.inputs[chosen]), self.quality[chosen]

    def colours(self, split: Split) -> npt.NDArray[np.str_]:
        """Colour of every row of one side of the split, in the order of `part`."""
        is_white = self.inputs[self.split == split, -1].astype(int)
        names: npt.NDArray[np.str_] = np.asarray(COLOURS)[is_white]
        return names


def as_frame(inputs: Floats) -> pd.DataFrame:
    """Shape (rows, 12) with its column names, by which a model refuses columns in the wrong order."""
    return pd.DataFrame(inputs, columns=list(INPUT_COLUMNS))


def encode(samples: Sequence[Mapping[str, Any]]) -> Floats:
    """Samples, each with the eleven features and `colour`, as inputs of shape (samples, 12)."""
    return np.array(
        [[*(float(s[name]) for name in FEATURE_NAMES), float(s["colour"] == "white")] for s in samples],
        dtype=np.float64,
    ).reshape(len(samples), len(INPUT_COLUMNS))


def check(inputs: Floats) -> None:
    """See that samples that came as numbers are wines.

    Raises:
        InvalidInputError: naming the first few values out of their ranges, with row, column, bound and what came.
    """
    low = np.array([feature.lowest for feature in FEATURES] + [0.0])
    high = np.array([feature.highest for feature in FEATURES] + [1.0])
    right = (inputs >= low) & (inputs <= high)
    right[:, -1] &= np.isin(inputs[:, -1], (0, 1))
    ranges = [*(feature.range_text for feature in FEATURES), "0 (red) or 1 (white)"]
    wrong = [
        f"row {row}, {INPUT_COLUMNS[column]}: {inputs[row, column]:g} is outside {ranges[column]}"
        for row, column in np.argwhere(~right)[:_MOST_TOLD].tolist()
    ]
    if wrong:
        raise InvalidInputError("; ".join(wrong))


def load(folder: Path) -> Dataset:
    """Read the Parquet files that `spark_jobs.wine_features` wrote.

    Raises:
        NotFoundError: the folder is not there.
        DataQualityError: a group of duplicates stands on both sides of the split, or a side is empty.
    """
    if not folder.is_dir():
        raise NotFoundError(f"There is no feature table in {folder}; clear the task prepare_features.")
    table = pd.read_parquet(folder, columns=_COLUMNS, partitioning=None)
    table = table.sort_values(["group_id", "quality", *FEATURE_NAMES], ignore_index=True)
    found = Dataset(
        inputs=np.column_stack([table[list(FEATURE_NAMES)].to_numpy(np.float64), table["colour"] == "white"]),
        quality=table["quality"].to_numpy(np.float64),
        copies=table["copies"].to_numpy(np.int64),
        split=table["split"].to_numpy(np.str_),
        group_ids=table["group_id"].to_numpy(np.str_),
        checksum=_checksum(table),
    )
    check_split(found.group_ids, found.split)
    return found


def check_split(group_ids: npt.NDArray[np.str_], split: npt.NDArray[np.str_]) -> None:
    """See that the test side says something about wines that were not trained on.

    Raises:
        DataQualityError: a group stands on both sides, or a side is empty.
    """
    sides = {name: set(group_ids[split == name]) for name in ("train", "test")}
    for name, groups in sides.items():
        if not groups:
            raise DataQualityError(f"No wine is on the {name} side of the split; the table is too small.")
    leaking = sides["train"] & sides["test"]
    if leaking:
        raise DataQualityError(
            f"{len(leaking)} groups of duplicates stand on both sides of the split, the first is {min(leaking)}; "
            "errors on the test side would be too small. Build the feature table again."
        )


def row_count(folder: Path) -> int:
    """Number of rows that the feature table was made from: every distinct wine as often as it came."""
    return int(pd.read_parquet(folder, columns=["copies"], partitioning=None)["copies"].sum())


def rejected_by_kind(folder: Path) -> tuple[int, dict[str, int]]:
    """Number of rejected rows, and how many have each kind of fault (a row can have several), most frequent first."""
    kinds = pd.read_parquet(folder, columns=["kinds"], partitioning=None)["kinds"]
    counted = Counter(kind for row in kinds for kind in row)
    return len(kinds), dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def rejected_examples(folder: Path, most: int) -> list[str]:
    """Up to `most` rejected rows for people: colour, the line's values, what is wrong."""
    rows = pd.read_parquet(folder, partitioning=None)[:most].fillna("")
    values = [";".join(row[name] for name in (*FEATURE_NAMES, "quality")) for row in rows.to_dict("records")]
    lines = [broken or text for broken, text in zip(rows["broken_line"], values, strict=True)]
    told = zip(rows["colour"], lines, rows["reason"], strict=True)
    return [f"{colour} {line}: {reason}" for colour, line, reason in told]


def _checksum(table: pd.DataFrame) -> str:
    digest = hashlib.sha256()
    for name in _COLUMNS:
        values = table[name]
        digest.update(name.encode() + b"\n")
        if name in FEATURE_NAMES:
            digest.update(values.to_numpy("<f8").tobytes())
        else:
            digest.update("\n".join(values.astype(str)).encode())
    return digest.hexdigest()
