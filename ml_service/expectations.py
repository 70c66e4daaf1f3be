"""What a wine table is expected to be as a whole: few bad rows, few copies, both colours, more than one quality.

Counts are taken batch by batch from the Parquet files of `spark_jobs.wine_features`, so a table of any size is counted
in the memory of one batch. What a single row must be stands in `ml_service.wine` and is checked by Spark.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from cuvee.settings import Settings
from ml_service.wine import COLOURS, FEATURE_NAMES

_BATCH_ROWS = 65_536


@dataclass(frozen=True)
class ObservedCounts:
    """Of a table's rows those that are of the record: nobody can mend them in a file, so they count towards no limit
    of the files."""

    rows: int = 0
    rejected: int = 0
    distinct: int = 0
    """Wines that no file has."""
    rejected_by_reason: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class TableCounts:
    """How many rows of which sort a table had."""

    rows: int
    rejected: int
    distinct: int
    rejected_by_reason: dict[str, int]
    """Of the files' rows; a row can have several faults; most frequent first."""
    by_colour: dict[str, int]
    """Distinct wines."""
    by_quality: dict[str, int]
    """Distinct wines, by quality in points."""
    observed: ObservedCounts = ObservedCounts()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def count(target: Path) -> TableCounts:
    """Of the folder that holds `features` and `rejected`."""
    parts = [
        batch.append_column("unfiled", pc.equal(batch["copies"], batch["observed_copies"]).cast(pa.int64()))
        .group_by(["colour", "quality"])
        .aggregate([("copies", "sum"), ("copies", "count"), ("observed_copies", "sum"), ("unfiled", "sum")])
        for batch in _batches(target / "features", ["colour", "quality", "copies", "observed_copies"])
    ]
    sums: list[dict[str, Any]] = []
    if parts:
        whole = pa.concat_tables(parts).group_by(["colour", "quality"])
        sums = whole.aggregate([(name, "sum") for name in parts[0].column_names[2:]]).to_pylist()
    rejected, by_reason = _rejected_by_reason(target / "rejected", observed=False)
    observed_rejected, observed_by_reason = _rejected_by_reason(target / "rejected", observed=True)
    by_colour = dict.fromkeys(COLOURS, 0)
    by_quality: dict[str, int] = {}
    for one in sorted(sums, key=lambda one: int(one["quality"])):
        by_colour[one["colour"]] += one["copies_count_sum"]
        quality = str(one["quality"])
        by_quality[quality] = by_quality.get(quality, 0) + one["copies_count_sum"]
    valid, observed_valid, unfiled = (
        sum(one[f"{name}_sum_sum"] for one in sums) for name in ("copies", "observed_copies", "unfiled")
    )
    return TableCounts(
        valid + rejected + observed_rejected,
        rejected + observed_rejected,
        sum(by_colour.values()),
        by_reason,
        by_colour=by_colour,
        by_quality=by_quality,
        observed=ObservedCounts(
            observed_valid + observed_rejected, observed_rejected, unfiled, rejected_by_reason=observed_by_reason
        ),
    )


def _rejected_by_reason(folder: Path, *, observed: bool) -> tuple[int, dict[str, int]]:
    rows, counted = 0, dict[str, int]()
    for whole in _batches(folder, ["kinds", "observed"]):
        batch = whole.filter(pc.field("observed") == observed)
        rows += batch.num_rows
        for found in pc.value_counts(pc.list_flatten(batch["kinds"].combine_chunks())).to_pylist():
            counted[found["values"]] = counted.get(found["values"], 0) + found["counts"]
    return rows, dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _batches(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    stored = ds.dataset(folder, format="parquet")
    for batch in stored.to_batches(columns=columns, batch_size=_BATCH_ROWS, batch_readahead=1):
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


def rejected_examples(target: Path, most: int) -> list[str]:
    """Up to `most` rejected rows for people: colour, the line's values, what is wrong."""
    rows = ds.dataset(target / "rejected", format="parquet").head(most).to_pylist()
    values = [";".join(row[name] or "" for name in (*FEATURE_NAMES, "quality")) for row in rows]
    lines = [row["broken_line"] or text for row, text in zip(rows, values, strict=True)]
    return [f"{row['colour']} {line}: {row['reason']}" for row, line in zip(rows, lines, strict=True)]


def unmet(counts: TableCounts, settings: Settings) -> list[str]:
    """What the table is not as it should be, in words that say what to do; empty where all is well."""
    rows, rejected = counts.rows - counts.observed.rows, counts.rejected - counts.observed.rejected
    if rows == 0:
        return ["the files hold no rows"]
    if rejected / rows > settings.max_bad_row_share:
        reasons = ", ".join(f"{reason} ({found})" for reason, found in counts.rejected_by_reason.items())
        return [
            f"{rejected} of {rows} rows ({rejected / rows:.1%}) were rejected, more than the "
            f"{settings.max_bad_row_share:.1%} that CUVEE_MAX_BAD_ROW_SHARE allows: {reasons}"
        ]
    copies = 1 - (counts.distinct - counts.observed.distinct) / (rows - rejected)
    return [*_too_many_copies(copies, settings), *_out_of_balance(counts, settings)]


def _too_many_copies(copies: float, settings: Settings) -> list[str]:
    if copies <= settings.max_duplicate_share:
        return []
    return [
        f"{copies:.1%} of the rows are copies of others, more than the {settings.max_duplicate_share:.1%} that "
        "CUVEE_MAX_DUPLICATE_SHARE allows; is a file there twice?"
    ]


def _out_of_balance(counts: TableCounts, settings: Settings) -> list[str]:
    found = [f"no wine is {colour}" for colour in COLOURS if not counts.by_colour[colour]]
    quality, most = max(counts.by_quality.items(), key=lambda item: item[1])
    if most / counts.distinct > settings.max_quality_share:
        found.append(
            f"{most / counts.distinct:.1%} of the wines have quality {quality}, more than the "
            f"{settings.max_quality_share:.1%} that CUVEE_MAX_QUALITY_SHARE allows; such a table teaches one number"
        )
    return found
