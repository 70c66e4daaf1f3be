"""The feature table as arrays: what training, evaluation and serving all see, with a checksum of its content."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from cuvee.errors import DataQualityError, InvalidInputError, NotFoundError
from ml_service.wine import COLOURS, FEATURE_NAMES, FEATURES, INPUT_COLUMNS

Split = Literal["train", "test"]
Floats = npt.NDArray[np.float64]

_MOST_TOLD = 10
_LOWEST = np.array([*(feature.lowest for feature in FEATURES), 0.0])
_HIGHEST = np.array([*(feature.highest for feature in FEATURES), 1.0])
_BATCH_ROWS = 65_536
_BUFFER_BYTES = 1_048_576

_COLUMNS = [*FEATURE_NAMES, "colour", "quality", "copies", "observed_at", "group_id", "split"]


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
    observed_at: Floats | None = None
    """Unix seconds at which each quality was observed, NaN where unknown; None: unknown for all."""

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
    right = (inputs >= _LOWEST) & (inputs <= _HIGHEST)
    right[:, -1] &= (inputs[:, -1] == 0) | (inputs[:, -1] == 1)
    if right.all():
        return
    ranges = [*(feature.range_text for feature in FEATURES), "0 (red) or 1 (white)"]
    wrong = [
        f"row {row}, {INPUT_COLUMNS[column]}: {inputs[row, column]:g} is outside {ranges[column]}"
        for row, column in np.argwhere(~right)[:_MOST_TOLD].tolist()
    ]
    raise InvalidInputError("; ".join(wrong))


def load(folder: Path, most_rows: int | None = None) -> Dataset:
    """Read the Parquet files that `spark_jobs.wine_features` wrote, in memory for `most_rows` rows and one batch.

    Args:
        folder: its `features`.
        most_rows: of a larger table about as many are taken, always the same ones: the newest observed rows, up to
            half of them, for what is new would drown in a sample of all; then the groups whose SHA-256 is smallest, so
            that a group is taken or left as a whole and both sides of the split keep their shares.

    Raises:
        NotFoundError: the folder is not there.
        DataQualityError: a group of duplicates stands on both sides of the split, or a side is empty.
    """
    if not folder.is_dir():
        raise NotFoundError(f"There is no feature table in {folder}; clear the task prepare_features.")
    stored = ds.dataset(folder, format="parquet")
    rows = stored.count_rows()
    taken = None
    if most_rows is not None and rows > most_rows:
        taken = _taken(stored, rows, most_rows)
    batches = [batch for path in stored.files for batch in _batches(path, _COLUMNS, taken)]
    table = pa.Table.from_batches(batches, schema=pa.schema([stored.schema.field(name) for name in _COLUMNS]))
    return _dataset(table.to_pandas())


def _taken(stored: ds.Dataset, rows: int, most_rows: int) -> pc.Expression:
    """Which of so many rows are taken where only `most_rows` may be."""
    most, times = most_rows // 2, np.array([], np.int64)
    for path in stored.files:
        for batch in _batches(path, ["observed_at"]):
            found = batch["observed_at"].cast(pa.int64()).drop_null().to_numpy()
            # One more than may be taken: of the rows as old as that one, none is newer than the other.
            times = np.sort(np.concatenate([times, found]))[-most - 1 :]
    newest = times[times > times[0]] if len(times) > most else times
    share = (most_rows - len(newest)) / (rows - len(newest))
    taken = pc.field("group_id") < f"{int(share * 16**8):08x}"
    if len(newest):
        since = pa.scalar(int(newest[0]), pa.int64()).cast(stored.schema.field("observed_at").type)
        taken |= pc.field("observed_at") >= since
    return taken


def _batches(path: str, columns: list[str], taken: pc.Expression | None = None) -> Iterator[pa.RecordBatch]:
    """Batch by batch from a buffer: the scanner of a data set holds row groups of several files, two gigabytes."""
    for batch in pq.ParquetFile(path, buffer_size=_BUFFER_BYTES).iter_batches(_BATCH_ROWS, columns=columns):
        chosen = batch.select(columns)
        yield chosen if taken is None else chosen.filter(taken)


def _dataset(table: pd.DataFrame) -> Dataset:
    table = table.sort_values(["group_id", "quality", *FEATURE_NAMES], ignore_index=True)
    table["observed_at"] = pd.to_datetime(table["observed_at"], utc=True).astype("datetime64[us, UTC]")
    observed = table["observed_at"]
    seconds = observed.astype("int64").to_numpy() / 1e6
    found = Dataset(
        inputs=np.column_stack([table[list(FEATURE_NAMES)].to_numpy(np.float64), table["colour"] == "white"]),
        quality=table["quality"].to_numpy(np.float64),
        copies=table["copies"].to_numpy(np.int64),
        split=table["split"].to_numpy(np.str_),
        group_ids=table["group_id"].to_numpy(np.str_),
        checksum=_checksum(table),
        observed_at=np.where(observed.isna(), np.nan, seconds) if observed.notna().any() else None,
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
