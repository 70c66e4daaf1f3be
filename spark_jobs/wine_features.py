"""Wine tables -> one checked, de-duplicated feature table, split so that no duplicate stands on both sides.

Input: the text rows of `spark_jobs.wine_files`, any number of CSV and Parquet files.
Output: two Parquet folders, `features` (`FEATURES_SCHEMA`, one row per distinct wine and quality) and `rejected`
(`REJECTED_SCHEMA`, one row per refused line). Partitioning: none; the order of rows and files carries no meaning.
Run: `python -m spark_jobs.wine_features <folder of the tables> <output folder>`, with `CUVEE_*` settings as elsewhere.
"""

import logging
import shutil
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from ml_service.wine import COLOURS, FEATURE_NAMES, QUALITY, Feature
from spark_jobs.wine_files import BROKEN, MEASURED, NUMBER, TEXT_COLUMNS, number_of, read

log = logging.getLogger(__name__)

TEST_PERCENT = 20

REJECTED_SCHEMA = StructType(
    [StructField(name, StringType()) for name in (*TEXT_COLUMNS, "reason")]
    + [StructField("kinds", ArrayType(StringType())), StructField("observed", BooleanType())]
)
FEATURES_SCHEMA = StructType(
    [StructField(name, DoubleType()) for name in FEATURE_NAMES]
    + [StructField("colour", StringType()), StructField("quality", IntegerType()), StructField("copies", LongType())]
    + [StructField("observed_copies", LongType())]
    + [StructField("observed_at", TimestampType())]
    + [StructField("group_id", StringType()), StructField("split", StringType())]
)


@dataclass(frozen=True)
class Wines:
    """What became of the rows: `features` by `FEATURES_SCHEMA`, `rejected` by `REJECTED_SCHEMA`."""

    features: DataFrame
    rejected: DataFrame


def transform(rows: DataFrame) -> Wines:
    """Check, de-duplicate and split; a wine observed several times with one quality has its latest `observed_at`.

    Args:
        rows: as `wine_files.read` gives them, and `observed`: whether the row is of the record and not of a file.
    """
    # Reasons, which need every value as text several times, are only made for the rows that have one.
    kinds = F.array_compact(F.array(_line_kind(), *[_kind(feature) for feature in MEASURED], *_other_kinds()))
    reason = F.concat_ws("; ", _line_kind(), *[_reason(feature) for feature in MEASURED], *_other_kinds())
    rejected = rows.where(~_right()).withColumns({"reason": reason, "kinds": kinds}).select(*REJECTED_SCHEMA.names)
    valid = rows.where(_right()).select(
        *[_number(name).alias(name) for name in FEATURE_NAMES],
        "colour",
        _number("quality").cast("int").alias("quality"),
        _moment().alias("observed_at"),
        "observed",
    )
    distinct = valid.groupBy(*FEATURE_NAMES, "colour", "quality").agg(
        F.count(F.lit(1)).alias("copies"),
        F.count_if("observed").alias("observed_copies"),
        F.max("observed_at").alias("observed_at"),
    )
    features = distinct.withColumn("group_id", _group_id()).withColumn("split", _split())
    return Wines(features.select(*FEATURES_SCHEMA.names), rejected)


def _text(name: str) -> Column:
    return F.trim(F.col(name))


def _number(name: str) -> Column:
    return F.col(number_of(name))


def _right() -> Column:
    """Whether a row has no fault: the same as that it has no kind of fault, without a text where there is a number."""
    numbers = [_number(feature.name).between(feature.lowest, feature.highest) for feature in MEASURED]
    whole = _number(QUALITY.name) == F.floor(_number(QUALITY.name))
    colour, timed = F.col("colour").isin(*COLOURS), ~F.coalesce(_no_time(), F.lit(False))
    conditions = [F.col(BROKEN).isNull(), *numbers, whole, colour, timed]
    return reduce(Column.__and__, [F.coalesce(condition, F.lit(False)) for condition in conditions])


def _no_time() -> Column:
    return (_text("observed_at") != "") & _moment().isNull()


def _moment() -> Column:
    """`observed_at`, in UTC where its text names no zone; null where it is no time."""
    text = _text("observed_at")
    whole = F.when(text.rlike(r"^\d{4}-\d{2}-\d{2}$"), F.concat(text, F.lit("T00:00:00Z")))
    whole = whole.when(text.rlike(r"(Z|[+-]\d{2}:?\d{2})$"), text).otherwise(F.concat(text, F.lit("Z")))
    return whole.try_cast("timestamp")


def _line_kind() -> Column:
    return F.when(F.col(BROKEN).isNotNull(), F.lit("row: its fields are too few or too many"))


def _other_kinds() -> list[Column]:
    """Kinds, and reasons alike, of what is not measured."""
    missing = F.col("colour").isNull()
    colour = F.lit(f"colour: neither {' nor '.join(COLOURS)}")
    return [
        _first([(missing | ~F.col("colour").isin(*COLOURS), colour)]),
        _first([(_no_time(), F.lit("observed_at: not a time"))]),
    ]


def _faults(feature: Feature) -> list[tuple[Column, str, str]]:
    """In order of precedence: condition, what is said of it, what is said of the value."""
    text, number = _text(feature.name), _number(feature.name)
    outside = f"outside {feature.range_text}"
    faults = [
        (text.isNull() | (text == ""), "missing", ""),
        (~text.rlike(NUMBER), "not a number", ""),
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
    return F.when(F.col(BROKEN).isNull(), whole)


def _group_id() -> Column:
    """SHA-256 of colour and features at six decimals: one text per value on every JVM, unlike a double's own."""
    canonical = [F.col(name).cast("decimal(18,6)").cast("string") for name in FEATURE_NAMES]
    return F.sha2(F.concat_ws("|", F.col("colour"), *canonical), 256)


def _split() -> Column:
    """By the group's own hash: a wine keeps its side for ever, whatever other wines come."""
    bucket = F.conv(F.substring("group_id", 1, 8), 16, 10).cast("long") % 100
    return F.when(bucket < TEST_PERCENT, F.lit("test")).otherwise(F.lit("train"))


def write(session: SparkSession, folders: Sequence[Path], target: Path, observed: Path | None = None) -> None:
    """Make `target/features` and `target/rejected` of the tables in `folders`; both appear together, complete.

    The Spark server writes into a folder beside `target`, which this process sees and renames.

    Args:
        session: of the Spark server.
        folders: of the tables.
        target: where both are made.
        observed: a folder of the wines whose quality was observed since; they are added, and marked as such.

    Raises:
        DataQualityError: there is no file, or one breaks the contract.
    """
    rows = read(session, folders).withColumn("observed", F.lit(False))
    if observed is not None:
        rows = rows.unionAll(read(session, [observed]).withColumn("observed", F.lit(True)))
    wines = transform(rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    for kind in ("aside", "replaced"):
        for left in target.parent.glob(f"{target.name}.{kind}-*"):
            shutil.rmtree(left)
    aside = target.with_name(f"{target.name}.aside-{uuid.uuid4().hex}")
    log.info("Spark checks, de-duplicates and splits the tables in %s", ", ".join(map(str, folders)))
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
        write(session, [folder], target)


if __name__ == "__main__":
    main()
