"""Wine CSVs -> a checked, de-duplicated feature table, split so that no duplicate stands on both sides.

Input: one `;`-separated CSV per colour (`FILES`): eleven measurements and `quality`, columns in any order. All is read
as text, so that a word in a number is a reason and not an error.
Output: two Parquet folders, `features` (`FEATURES_SCHEMA`, one row per distinct wine) and `rejected`
(`REJECTED_SCHEMA`, one row per refused line). Partitioning: none; the order of rows and files carries no meaning.
Run: `python -m spark_jobs.wine_features <folder of the CSVs> <output folder>`, with `CUVEE_*` settings as elsewhere.
"""

import csv
import logging
import shutil
import sys
import uuid
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import ArrayType, DoubleType, IntegerType, LongType, StringType, StructField, StructType

from cuvee.errors import DataQualityError
from ml_service.wine import FEATURE_NAMES, FEATURES, QUALITY, Feature

log = logging.getLogger(__name__)

FILES = {"red": "winequality-red.csv", "white": "winequality-white.csv"}
TEST_PERCENT = 20

_MEASURED = (*FEATURES, QUALITY)
_MEASURED_NAMES = tuple(feature.name for feature in _MEASURED)
_BROKEN = "broken_line"
# Java's own parser also takes "7d", "NaN" and "Infinity".
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"

REJECTED_SCHEMA = StructType(
    [StructField(name, StringType()) for name in (*_MEASURED_NAMES, "colour", _BROKEN, "reason")]
    + [StructField("kinds", ArrayType(StringType()))]
)
FEATURES_SCHEMA = StructType(
    [StructField(name, DoubleType()) for name in FEATURE_NAMES]
    + [StructField("colour", StringType()), StructField("quality", IntegerType()), StructField("copies", LongType())]
    + [StructField("group_id", StringType()), StructField("split", StringType())]
)


@dataclass(frozen=True)
class Wines:
    """What became of the rows: `features` by `FEATURES_SCHEMA`, `rejected` by `REJECTED_SCHEMA`."""

    features: DataFrame
    rejected: DataFrame


def transform(rows: DataFrame) -> Wines:
    """Check, de-duplicate and split.

    Args:
        rows: as text, every measurement, `colour` and `broken_line` (the line if its number of fields is wrong).
    """
    kinds = F.array_compact(F.array(_line_kind(), *[_kind(feature) for feature in _MEASURED]))
    reason = F.concat_ws("; ", _line_kind(), *[_reason(feature) for feature in _MEASURED])
    checked = rows.withColumns({"reason": reason, "kinds": kinds})
    rejected = checked.where(F.size("kinds") > 0).select(*REJECTED_SCHEMA.names)
    valid = checked.where(F.size("kinds") == 0).select(
        *[_number(name).alias(name) for name in FEATURE_NAMES],
        "colour",
        _number("quality").cast("int").alias("quality"),
    )
    distinct = valid.groupBy(*FEATURE_NAMES, "colour", "quality").agg(F.count(F.lit(1)).alias("copies"))
    features = distinct.withColumn("group_id", _group_id()).withColumn("split", _split())
    return Wines(features.select(*FEATURES_SCHEMA.names), rejected)


def _text(name: str) -> Column:
    return F.trim(F.col(name))


def _number(name: str) -> Column:
    return _text(name).try_cast("double")


def _line_kind() -> Column:
    return F.when(F.col(_BROKEN).isNotNull(), F.lit(f"row: not {len(_MEASURED)} fields"))


def _faults(feature: Feature) -> list[tuple[Column, str, str]]:
    """In order of precedence: condition, what is said of it, what is said of the value."""
    text, number = _text(feature.name), _number(feature.name)
    outside = f"outside {feature.range_text}"
    faults = [
        (text.isNull() | (text == ""), "missing", ""),
        (~text.rlike(_NUMBER), "not a number", ""),
        (~number.between(feature.lowest, feature.highest), outside, f"is {outside}"),
    ]
    if feature is QUALITY:
        faults.append((number != F.floor(number), "not a whole number", "is not a whole number"))
    return faults


def _kind(feature: Feature) -> Column:
    """What rows are counted by, null where the value is right: `ph: outside 2.5..4.5`."""
    return _first([(found, F.lit(f"{feature.name}: {kind}")) for found, kind, _ in _faults(feature)])


def _reason(feature: Feature) -> Column:
    """What the table's owner reads, null where the value is right: `ph: 42.0 is outside 2.5..4.5`."""
    value = F.substring(_text(feature.name), 1, 30)
    return _first(
        [
            (
                found,
                F.concat(F.lit(f"{feature.name}: "), value, F.lit(f" {told}"))
                if told
                else F.lit(f"{feature.name}: {kind}"),
            )
            for found, kind, told in _faults(feature)
        ]
    )


def _first(cases: list[tuple[Column, Column]]) -> Column:
    (condition, value), *others = cases
    whole = reduce(lambda chain, case: chain.when(*case), others, F.when(condition, value))
    # A broken line has one reason; what its fields hold is anybody's guess.
    return F.when(F.col(_BROKEN).isNull(), whole)


def _group_id() -> Column:
    """SHA-256 of colour and features at six decimals: one text per value on every JVM, unlike a double's own."""
    canonical = [F.col(name).cast("decimal(18,6)").cast("string") for name in FEATURE_NAMES]
    return F.sha2(F.concat_ws("|", F.col("colour"), *canonical), 256)


def _split() -> Column:
    """By the group's own hash: a wine keeps its side for ever, whatever other wines come."""
    bucket = F.conv(F.substring("group_id", 1, 8), 16, 10).cast("long") % 100
    return F.when(bucket < TEST_PERCENT, F.lit("test")).otherwise(F.lit("train"))


def read(session: SparkSession, folder: Path) -> DataFrame:
    """All files as text, with the colour that their names say.

    Raises:
        DataQualityError: a file is missing, or its header is not the contract's.
    """
    headers = {colour: check_header(folder / name) for colour, name in FILES.items()}
    parts = [
        session.read.csv(
            str((folder / FILES[colour]).resolve()),
            schema=StructType([StructField(name, StringType()) for name in (*header, _BROKEN)]),
            sep=";",
            header=True,
            enforceSchema=True,
            mode="PERMISSIVE",
            columnNameOfCorruptRecord=_BROKEN,
        )
        .withColumn("colour", F.lit(colour))
        .select(*_MEASURED_NAMES, "colour", _BROKEN)
        for colour, header in headers.items()
    ]
    return reduce(DataFrame.unionAll, parts)


def check_header(path: Path) -> list[str]:
    """The file's columns under our names, in the file's order.

    Raises:
        DataQualityError: the file is missing or not UTF-8 text, or a column is missing, unknown or there twice.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            found = [name.strip() for name in next(csv.reader(lines, delimiter=";"), [])]
    except FileNotFoundError as error:
        raise DataQualityError(f"{path} is missing; put the wine table there.") from error
    except UnicodeDecodeError as error:
        raise DataQualityError(f"{path} is not UTF-8 text: {error}.") from error
    known = {feature.csv_name: feature.name for feature in _MEASURED}
    wrong = [f"the column '{name}' is missing" for name in known if name not in found]
    wrong += [f"the column '{name}' is unknown" for name in found if name not in known]
    wrong += [f"the column '{name}' is there {found.count(name)} times" for name in known if found.count(name) > 1]
    if wrong:
        raise DataQualityError(
            f"{path.name}: {'; '.join(wrong)}. The header must name, separated by ';': {', '.join(known)}."
        )
    return [known[name] for name in found]


def write(session: SparkSession, folder: Path, target: Path) -> None:
    """Make `target/features` and `target/rejected` from the CSVs in `folder`; both appear together, complete.

    The Spark server writes into a folder beside `target`, which this process sees and renames.

    Raises:
        DataQualityError: a file is missing, or its header is not the contract's.
    """
    wines = transform(read(session, folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    for kind in ("aside", "replaced"):
        for left in target.parent.glob(f"{target.name}.{kind}-*"):
            shutil.rmtree(left)
    aside = target.with_name(f"{target.name}.aside-{uuid.uuid4().hex}")
    log.info("Spark checks, de-duplicates and splits %s", ", ".join(FILES.values()))
    wines.features.write.parquet(str(aside / "features"))
    wines.rejected.write.parquet(str(aside / "rejected"))
    replaced = target.with_name(f"{target.name}.replaced-{uuid.uuid4().hex}")
    if target.exists():
        target.rename(replaced)
    aside.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


def main() -> None:
    from cuvee.settings import Settings
    from cuvee.telemetry import configure_logging
    from spark_jobs.session import attached

    configure_logging()
    folder, target = (Path(argument).resolve() for argument in sys.argv[1:])
    with attached(Settings.load().resolved_spark_url) as session:
        write(session, folder, target)


if __name__ == "__main__":
    main()
