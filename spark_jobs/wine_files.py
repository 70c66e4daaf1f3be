"""Any number of CSV and Parquet files of the wine table -> one DataFrame of text rows.

Every `*.csv` (`;`-separated) and `*.parquet`, also in capitals, under the given folders is read. A file has the eleven
measurements and `quality`, in any order, under the names of the original table or ours, and may have `colour` and
`observed_at` (when the quality was observed; without a zone, UTC). Without `colour` its name says `red` or `white`. All
becomes text, so that a word in a number is a reason and not an error; what the text says as a number stands beside it.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import StringType, StructField, StructType

from cuvee.errors import DataQualityError
from ml_service.wine import COLOURS, FEATURES, QUALITY

MEASURED = (*FEATURES, QUALITY)
MEASURED_NAMES = tuple(feature.name for feature in MEASURED)
OPTIONAL = ("colour", "observed_at")
BROKEN = "broken_line"
TEXT_COLUMNS = (*MEASURED_NAMES, *OPTIONAL, BROKEN)

# Java's own parser also takes "7d", "NaN" and "Infinity".
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_EXACT_AS_DOUBLE = {"double", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"}
"""Types of Parquet that need not become text first to be the number that their text says; a million rows of texts take
a minute."""

_OUR_NAMES = {feature.csv_name: feature.name for feature in MEASURED} | {
    name: name for name in (*MEASURED_NAMES, *OPTIONAL)
}


@dataclass(frozen=True, order=True)
class TableFile:
    """One file whose header keeps the contract; files alike but for their path are read together."""

    kind: str
    columns: tuple[str, ...]
    """Under our names, in the file's order."""
    types: tuple[str, ...]
    """Of a Parquet file's columns; empty for CSV."""
    colour: str
    """What the file's name says; empty where a column says it."""
    path: Path


def find(folders: Iterable[Path]) -> list[TableFile]:
    """The tables under these folders; files whose name begins with '.' or '_' are none.

    Raises:
        DataQualityError: there is none, or one breaks the contract.
    """
    folders = list(folders)
    paths = sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix.lower() in (".csv", ".parquet") and not path.name.startswith((".", "_")) and path.is_file()
    )
    if not paths:
        raise DataQualityError(
            f"There is no CSV or Parquet file in {', '.join(map(str, folders))}; put the wine table there."
        )
    return sorted(check_header(path) for path in paths)


def check_header(path: Path) -> TableFile:
    """What the file's header says.

    Raises:
        DataQualityError: it cannot be read, a column is missing, unknown, of no plain type or there twice, or nothing
            says the colour.
    """
    kind = path.suffix.lower()
    names, types = _csv_header(path) if kind == ".csv" else _parquet_header(path)
    columns = [_OUR_NAMES.get(name, name) for name in names]
    csv_names = {feature.name: feature.csv_name for feature in MEASURED}
    wrong = [f"the column '{csv_names[name]}' is missing" for name in MEASURED_NAMES if name not in columns]
    wrong += [f"the column '{name}' is unknown" for name in names if name not in _OUR_NAMES]
    wrong += [
        f"the column '{csv_names.get(name, name)}' is there {columns.count(name)} times"
        for name in (*MEASURED_NAMES, *OPTIONAL)
        if columns.count(name) > 1
    ]
    words = re.split(r"[^a-z]+", path.stem.lower())
    colours = [colour for colour in COLOURS if colour in words]
    if "colour" not in columns and len(colours) != 1:
        wrong.append(f"there is no column 'colour', and the file's name does not say {' or '.join(COLOURS)}")
    if wrong:
        form = ", separated by ';'" if kind == ".csv" else ""
        raise DataQualityError(
            f"{path.name}: {'; '.join(wrong)}. The columns must be{form}: {', '.join(csv_names.values())}; "
            f"and may be: {', '.join(OPTIONAL)}."
        )
    return TableFile(kind, tuple(columns), types, "" if "colour" in columns else colours[0], path)


def _csv_header(path: Path) -> tuple[list[str], tuple[str, ...]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return [name.strip() for name in next(csv.reader(lines, delimiter=";"), [])], ()
    except UnicodeDecodeError as error:
        raise DataQualityError(f"{path} is not UTF-8 text: {error}.") from error
    except csv.Error as error:
        raise DataQualityError(f"{path} has no header that can be read: {error}.") from error


def _parquet_header(path: Path) -> tuple[list[str], tuple[str, ...]]:
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataQualityError(f"{path} is no Parquet file: {error}.") from error
    nested = [field.name for field in schema if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)]
    if nested:
        raise DataQualityError(f"{path.name}: the column '{nested[0]}' holds neither numbers nor text nor times.")
    return list(schema.names), tuple(str(field.type) for field in schema)


def number_of(name: str) -> str:
    """The column that holds the number which the text in column `name` is; null where it is none."""
    return f"{name}_number"


def read(session: SparkSession, folders: Iterable[Path]) -> DataFrame:
    """All files as text, with the columns `TEXT_COLUMNS` and a `number_of` each of `MEASURED_NAMES`.

    `broken_line` is the line where its fields do not fit.

    Raises:
        DataQualityError: there is no file, or one breaks the contract.
    """
    files = find(folders)
    alike = groupby(files, key=lambda file: (file.kind, file.columns, file.types, file.colour))
    return reduce(DataFrame.unionAll, [_read_alike(session, list(group)) for _, group in alike])


def _read_alike(session: SparkSession, files: list[TableFile]) -> DataFrame:
    first, paths = files[0], [str(file.path.resolve()) for file in files]
    if first.kind == ".csv":
        rows = session.read.csv(
            paths,
            schema=StructType([StructField(name, StringType()) for name in (*first.columns, BROKEN)]),
            sep=";",
            header=True,
            enforceSchema=True,
            mode="PERMISSIVE",
            columnNameOfCorruptRecord=BROKEN,
        )
    else:
        # Spark has no nanoseconds, which pandas writes; as whole numbers it reads them.
        session.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
        found = session.read.parquet(*paths)
        texts = [
            _as_text(found, their, kind).alias(our)
            for their, our, kind in zip(found.columns, first.columns, first.types, strict=True)
        ]
        exact = [
            F.col(f"`{their}`").cast("double").alias(number_of(our))
            for their, our, kind in zip(found.columns, first.columns, first.types, strict=True)
            if our in MEASURED_NAMES and kind in _EXACT_AS_DOUBLE
        ]
        rows = found.select(*texts, *exact, F.lit(None).cast("string").alias(BROKEN))
    given = {name: F.lit(None).cast("string") for name in OPTIONAL if name not in first.columns}
    if first.colour:
        given["colour"] = F.lit(first.colour)
    known = dict(zip(first.columns, first.types, strict=False))
    added = given | {
        number_of(name): F.when(F.trim(name).rlike(NUMBER), F.trim(name).try_cast("double"))
        for name in MEASURED_NAMES
        if known.get(name) not in _EXACT_AS_DOUBLE
    }
    # Spark Connect takes no empty set of columns.
    return (rows.withColumns(added) if added else rows).select(*TEXT_COLUMNS, *map(number_of, MEASURED_NAMES))


def _as_text(found: DataFrame, name: str, kind: str) -> Column:
    column = F.col(f"`{name}`")
    if kind.startswith("timestamp[ns"):
        column = F.timestamp_micros(F.floor(column / 1000))
    elif dict(found.dtypes)[name] != "timestamp":
        return column.cast("string")
    # With its offset: the session's own zone has hours that come twice.
    return F.date_format(column, "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX")
