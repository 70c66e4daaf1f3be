"""Counts of a table, and what is said of one that is not as expected."""

from pathlib import Path

import pandas as pd
import pytest

from cuvee.settings import Settings
from ml_service import expectations
from ml_service.expectations import ObservedCounts, TableCounts


def counts(**changed: object) -> TableCounts:
    good = {"rows": 110, "rejected": 2, "distinct": 100, "rejected_by_reason": {"ph: missing": 2}}
    balance = {"by_colour": {"red": 30, "white": 70}, "by_quality": {"5": 40, "6": 60}}
    return TableCounts(**{**good, **balance, **changed})  # type: ignore[arg-type]


def test_rows_are_counted_over_all_files_by_reason_colour_and_quality(tmp_path: Path) -> None:
    for name in ("features", "rejected"):
        (tmp_path / name).mkdir()
    one = pd.DataFrame({"colour": ["red", "white"], "quality": [5, 6], "copies": [3, 1], "observed_copies": [2, 1]})
    one.to_parquet(tmp_path / "features" / "a.parquet")
    one.assign(quality=[6, 6]).to_parquet(tmp_path / "features" / "b.parquet")
    kinds = [["ph: missing"], ["ph: missing", "alcohol: missing"], ["ph: missing"], ["quality: missing"]]
    pd.DataFrame({"kinds": kinds, "observed": [False, False, False, True]}).to_parquet(
        tmp_path / "rejected" / "a.parquet"
    )

    found = expectations.count(tmp_path)

    assert (found.rows, found.rejected, found.distinct) == (12, 4, 4)
    assert list(found.rejected_by_reason.items()) == [("ph: missing", 3), ("alcohol: missing", 1)]
    assert found.by_colour == {"red": 2, "white": 2}
    assert found.by_quality == {"5": 1, "6": 3}
    assert found.observed == ObservedCounts(7, 1, 2, {"quality: missing": 1})


def test_a_table_as_expected_has_nothing_said_of_it() -> None:
    assert expectations.unmet(counts(), Settings()) == []


def test_what_was_observed_counts_towards_no_limit_of_the_files() -> None:
    seen = ObservedCounts(rows=10_000, rejected=5_000, distinct=0)
    assert expectations.unmet(counts(rows=10_110, rejected=5_002, observed=seen), Settings()) == []

    (found,) = expectations.unmet(counts(rows=10_110, rejected=5_020, observed=seen), Settings())

    assert "20 of 110 rows (18.2%) were rejected" in found


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"rows": 0}, "the files hold no rows"),
        ({"rejected": 20}, r"20 of 110 rows \(18.2%\) were rejected, more than the 5.0% .*: ph: missing \(2\)"),
        ({"distinct": 40, "by_quality": {"5": 20, "6": 20}}, "63.0% of the rows are copies .* is a file there twice"),
        ({"by_colour": {"red": 100, "white": 0}}, "no wine is white"),
        ({"by_quality": {"5": 5, "6": 95}}, "95.0% of the wines have quality 6, more than the 90.0%"),
    ],
)
def test_what_is_not_as_expected_is_said_with_its_limit(changed: dict[str, object], told: str) -> None:
    (found,) = expectations.unmet(counts(**changed), Settings())

    assert pd.Series([found]).str.contains(told).all(), found
