"""The feature table as arrays: order, checksum, and a split that may not leak."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cuvee.errors import DataQualityError, NotFoundError
from ml_service import dataset
from ml_service.wine import FEATURE_NAMES, INPUT_COLUMNS


def table() -> pd.DataFrame:
    """Four wines; the two of group b differ in quality alone."""
    frame = pd.DataFrame({name: [1.0 + i, 2.0 + i, 2.0 + i, 4.0 + i] for i, name in enumerate(FEATURE_NAMES)})
    return frame.assign(
        colour=["red", "white", "white", "red"],
        quality=np.array([5, 7, 6, 4], dtype=np.int32),
        copies=[1, 2, 1, 3],
        group_id=["c", "b", "b", "a"],
        split=["test", "train", "train", "train"],
        observed_at=pd.Series([pd.NaT] * 4, dtype="datetime64[us, UTC]"),
    )


def write(folder: Path, *parts: pd.DataFrame) -> Path:
    folder.mkdir(parents=True)
    for number, part in enumerate(parts):
        part.to_parquet(folder / f"part-{number}.parquet")
    return folder


def test_rows_come_in_canonical_order_with_the_colour_as_last_column(tmp_path: Path) -> None:
    loaded = dataset.load(write(tmp_path / "table", table()))

    assert loaded.inputs.shape == (4, 12)
    assert loaded.group_ids.tolist() == ["a", "b", "b", "c"]
    assert loaded.quality.tolist() == [4.0, 6.0, 7.0, 5.0]
    assert loaded.copies.tolist() == [3, 1, 2, 1]
    assert loaded.inputs[0].tolist() == [*(4.0 + i for i in range(11)), 0.0]
    assert loaded.inputs[1].tolist() == [*(2.0 + i for i in range(11)), 1.0]


def test_a_part_is_one_side_of_the_split_with_named_columns(tmp_path: Path) -> None:
    loaded = dataset.load(write(tmp_path / "table", table()))

    inputs, quality = loaded.part("train")
    assert tuple(inputs.columns) == INPUT_COLUMNS
    assert (quality.tolist(), loaded.colours("train").tolist()) == ([4.0, 6.0, 7.0], ["red", "white", "white"])
    assert loaded.part("test")[1].tolist() == [5.0]


def test_the_checksum_is_of_the_content_and_not_of_the_files(tmp_path: Path) -> None:
    whole = dataset.load(write(tmp_path / "whole", table())).checksum

    assert dataset.load(write(tmp_path / "parts", table()[2:], table()[:2])).checksum == whole
    assert len(whole) == 64


@pytest.mark.parametrize(
    ("column", "value"),
    [("density", 7.0000001), ("quality", 9), ("colour", "white"), ("copies", 9), ("split", "train"), ("group_id", "d")],
)
def test_the_checksum_changes_with_any_value(tmp_path: Path, column: str, value: object) -> None:
    changed = pd.concat([table(), table().assign(group_id="e", split="test")[:1]], ignore_index=True)
    before = dataset.load(write(tmp_path / "before", changed)).checksum
    changed.loc[0, column] = value

    assert dataset.load(write(tmp_path / "after", changed)).checksum != before


def test_a_group_on_both_sides_of_the_split_is_refused(tmp_path: Path) -> None:
    leaking = table().assign(split=["test", "test", "train", "train"])

    with pytest.raises(
        DataQualityError, match="1 groups of duplicates stand on both sides of the split, the first is b"
    ):
        dataset.load(write(tmp_path / "table", leaking))


@pytest.mark.parametrize(("side", "empty"), [("train", "test"), ("test", "train")])
def test_a_table_with_an_empty_side_is_refused(tmp_path: Path, side: str, empty: str) -> None:
    with pytest.raises(DataQualityError, match=f"No wine is on the {empty} side"):
        dataset.load(write(tmp_path / "table", table().assign(split=side)))


def test_a_table_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="clear the task prepare_features"):
        dataset.load(tmp_path / "nowhere")


def test_a_sample_is_encoded_as_a_row_of_the_table_is(tmp_path: Path) -> None:
    loaded = dataset.load(write(tmp_path / "table", table()))
    samples = [{name: 2.0 + i for i, name in enumerate(FEATURE_NAMES)} | {"colour": "white"}]

    np.testing.assert_array_equal(dataset.encode(samples), loaded.inputs[1:2])
    assert dataset.encode([]).shape == (0, 12)


def test_of_a_large_table_whole_groups_are_taken_and_always_the_same_ones(tmp_path: Path) -> None:
    ids = [hashlib.sha256(str(i // 2).encode()).hexdigest() for i in range(2000)]
    split = ["test" if int(one[:8], 16) % 5 == 0 else "train" for one in ids]
    big = pd.concat([table()] * 500, ignore_index=True).assign(group_id=ids, split=split, quality=[5, 6] * 1000)
    folder = write(tmp_path / "table", big[:1200], big[1200:])

    taken = dataset.load(folder, most_rows=500)

    assert 400 < len(taken.quality) < 600
    assert set(taken.group_ids) == {one for one in ids if one <= max(taken.group_ids)}
    assert all(np.unique(taken.group_ids, return_counts=True)[1] == 2)
    assert 0.12 < (taken.split == "test").mean() < 0.28
    assert dataset.load(folder, most_rows=2000).checksum == dataset.load(folder).checksum


def large(folder: Path, dated: list[str], undated: int) -> tuple[Path, pd.DataFrame]:
    """Distinct wines in two files, the dated ones spread over both; and the table as it was written."""
    rows = len(dated) + undated
    ids = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(rows)]
    whole = pd.concat([table()[:1]] * rows, ignore_index=True).assign(
        group_id=ids,
        split=["test" if int(one[:8], 16) % 5 == 0 else "train" for one in ids],
        observed_at=pd.to_datetime([*dated, *[None] * undated], utc=True),
    )
    return write(folder, whole[::2], whole[1::2]), whole


def test_of_a_large_table_all_that_was_observed_is_taken_and_the_rest_filled_up(tmp_path: Path) -> None:
    days = pd.date_range("2026-01-01", periods=200, freq="D").astype(str).tolist()
    folder, whole = large(tmp_path / "table", days, 5_000)

    taken = dataset.load(folder, most_rows=1_000)

    assert taken.observed_at is not None
    dated = ~np.isnan(taken.observed_at)
    assert set(taken.group_ids[dated]) == set(whole.group_id[whole.observed_at.notna()])
    assert 920 < len(taken.quality) < 1_080
    assert set(taken.group_ids[~dated]) == {
        one for one in whole.group_id[whole.observed_at.isna()] if one <= max(taken.group_ids[~dated])
    }
    sides = dict(zip(whole.group_id, whole.split, strict=True))
    assert taken.split.tolist() == [sides[one] for one in taken.group_ids]
    assert dataset.load(folder, most_rows=1_000).checksum == taken.checksum


def test_of_more_observed_wines_than_half_the_newest_are_taken(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=1_500, freq="D").astype(str).tolist()
    folder, whole = large(tmp_path / "table", days, 1_500)

    taken = dataset.load(folder, most_rows=1_000)

    assert set(whole.group_id[1_000:1_500]) < set(taken.group_ids)
    assert 920 < len(taken.quality) < 1_080


def test_of_observed_wines_with_one_and_the_same_date_none_is_preferred(tmp_path: Path) -> None:
    folder, _ = large(tmp_path / "table", ["2026-01-01"] * 1_500, 1_500)

    taken = dataset.load(folder, most_rows=1_000)

    assert taken.observed_at is not None
    assert 920 < len(taken.quality) < 1_080
    assert 0.4 < np.isnan(taken.observed_at).mean() < 0.6


def test_when_a_quality_was_observed_is_known_in_seconds(tmp_path: Path) -> None:
    times = pd.to_datetime(["2026-01-01T00:00:00Z", None, None, None])

    dated = dataset.load(write(tmp_path / "dated", table().assign(observed_at=times)))

    assert dated.observed_at is not None
    assert dated.observed_at[dated.group_ids == "c"] == [1767225600.0]
    assert np.isnan(dated.observed_at[dated.group_ids != "c"]).all()
    assert dataset.load(write(tmp_path / "undated", table())).observed_at is None
