"""The wine table through a real Spark: golden rows, brute-force duplicates, every kind of bad row."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cuvee.errors import DataQualityError
from cuvee.settings import PROJECT_DIR, Settings
from ml_service import expectations, pipeline
from ml_service.wine import FEATURE_NAMES, FEATURES
from spark_jobs import wine_features, wine_files
from spark_jobs.session import attached

pytestmark = pytest.mark.integration

HEADER = ";".join(f'"{feature.csv_name}"' for feature in FEATURES) + ';"quality"'
GOOD = "7.4;0.7;0;1.9;0.076;11;34;0.9978;3.51;0.56;9.4;5"
WHITE = "7;0.27;0.36;20.7;0.045;45;170;1.001;3;0.45;8.8;6"
VALUES = [7.4, 0.7, 0.0, 1.9, 0.076, 11.0, 34.0, 0.9978, 3.51, 0.56, 9.4]


def many_wines(count: int) -> list[str]:
    """Valid, distinct rows."""
    return [f"{4 + i / 100:.2f};0.7;0;1.9;0.076;11;34;0.9978;3.51;0.56;9.4;{5 + i % 2}" for i in range(count)]


def put(folder: Path, red: list[str], white: list[str], header: str = HEADER) -> None:
    (folder / "winequality-red.csv").write_text("\n".join([header, *red]) + "\n")
    (folder / "winequality-white.csv").write_text("\n".join([HEADER, *white]) + "\n")


def prepare(spark_url: str, folder: Path, red: list[str], white: list[str], header: str = HEADER) -> Any:
    """Run the job on given rows; frames of the features and of the rejected rows."""
    put(folder, red, white, header)
    with attached(spark_url) as session:
        wine_features.write(session, [folder], folder / "run")
    return pd.read_parquet(folder / "run" / "features"), pd.read_parquet(folder / "run" / "rejected")


def group_id(colour: str, values: list[float]) -> str:
    """The definition, written a second time without Spark."""
    return hashlib.sha256("|".join([colour, *(f"{value:.6f}" for value in values)]).encode()).hexdigest()


def test_a_row_becomes_numbers_with_colour_copies_group_and_split(spark_url: str, tmp_path: Path) -> None:
    found, rejected = prepare(spark_url, tmp_path, [GOOD, GOOD, GOOD, GOOD[:-1] + "7"], [GOOD, WHITE])

    rows = {(row["group_id"], row["quality"]): row for row in found.to_dict("records")}
    red, white = rows[group_id("red", VALUES), 5], rows[group_id("white", VALUES), 5]
    assert (len(found), len(rejected)) == (4, 0)
    assert [red[name] for name in FEATURE_NAMES] == VALUES
    assert (red["colour"], red["copies"]) == ("red", 3)
    assert (white["colour"], white["copies"]) == ("white", 1)
    # The same wine with another quality is another row of the same group, on the same side.
    assert rows[group_id("red", VALUES), 7]["split"] == red["split"]


def test_from_the_command_line_columns_may_come_in_any_order_and_with_a_byte_order_mark(
    spark_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "\ufeff" + ";".join(reversed(HEADER.split(";")))
    put(tmp_path, [";".join(reversed(GOOD.split(";")))], [WHITE], header)
    monkeypatch.setenv("CUVEE_SPARK_URL", spark_url)
    monkeypatch.setattr("sys.argv", ["wine_features", str(tmp_path), str(tmp_path / "out")])

    wine_features.main()

    found = pd.read_parquet(tmp_path / "out" / "features")
    red = found[found["colour"] == "red"].iloc[0]
    assert ([red[name] for name in FEATURE_NAMES], red["quality"]) == (VALUES, 5)


BAD = {
    GOOD.replace("9.4;", ";"): ["alcohol: missing"],
    GOOD.replace("0.9978", "dense"): ["density: not a number"],
    GOOD.replace("0.9978", "0,9978"): ["density: not a number"],
    GOOD.replace("0.9978", "NaN"): ["density: not a number"],
    GOOD.replace("0.9978", "1d"): ["density: not a number"],
    GOOD.replace("0.9978", "1e999"): ["density: 1e999 is outside 0.97..1.1"],
    GOOD.replace("3.51", "42.0"): ["ph: 42.0 is outside 2.5..4.5"],
    GOOD[:-1] + "11": ["quality: 11 is outside 0..10"],
    GOOD[:-1] + "5.5": ["quality: 5.5 is not a whole number"],
    GOOD[:-1]: ["quality: missing"],
    GOOD[:-2]: ["row: its fields are too few or too many"],
    GOOD + ";1": ["row: its fields are too few or too many"],
    GOOD.replace("3.51", "x").replace("9.4", "99"): ["ph: not a number", "alcohol: 99 is outside 5..20"],
}


@pytest.fixture(scope="module")
def bad_rows(spark_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All of `BAD` in one table, told apart by their fixed acidity: 5.00, 5.01 ..."""
    marked = [f"{5 + i / 100:.2f}" + row.removeprefix("7.4") for i, row in enumerate(BAD)]
    return prepare(spark_url, tmp_path_factory.mktemp("bad"), [GOOD, *marked], [WHITE])  # type: ignore[no-any-return]


@pytest.mark.parametrize("number", range(len(BAD)), ids=["; ".join(reasons) for reasons in BAD.values()])
def test_a_bad_row_is_kept_as_it_came_with_its_reasons(
    bad_rows: tuple[pd.DataFrame, pd.DataFrame], number: int
) -> None:
    features, rejected = bad_rows
    reasons = list(BAD.values())[number]

    row = rejected[rejected["fixed_acidity"] == f"{5 + number / 100:.2f}"].iloc[0]
    assert (row["colour"], row["reason"]) == ("red", "; ".join(reasons))
    assert [kind.split(":")[0] for kind in row["kinds"]] == [reason.split(":")[0] for reason in reasons]
    assert not any(character in kind for kind in row["kinds"] for character in ("42", "99"))
    assert (len(features), len(rejected)) == (2, len(BAD))


def test_the_real_table_has_the_distinct_rows_that_brute_force_finds(features: dict[str, Any]) -> None:
    frames = []
    for colour in ("red", "white"):
        frame = pd.read_csv(PROJECT_DIR / "data" / "wine" / f"winequality-{colour}.csv", sep=";")
        frames.append(frame.assign(colour=colour))
    by_hand = pd.concat(frames).drop_duplicates()

    assert (features["rows"], features["rejected"], features["rejected_by_reason"]) == (6497, 0, {})
    assert features["distinct"] == len(by_hand) == 5320
    found = pd.read_parquet(features["path"])
    csv_names = {feature.name: feature.csv_name for feature in FEATURES}
    columns = [*csv_names.values(), "colour", "quality"]
    same = found.rename(columns=csv_names)[columns].sort_values(columns, ignore_index=True)
    pd.testing.assert_frame_equal(same, by_hand[columns].sort_values(columns, ignore_index=True), check_dtype=False)


def test_no_group_stands_on_both_sides_and_each_side_follows_from_the_group_alone(features: dict[str, Any]) -> None:
    found = pd.read_parquet(features["path"])

    sides = found.groupby("group_id")["split"].nunique()
    expected = ["test" if int(group[:8], 16) % 100 < 20 else "train" for group in found["group_id"]]
    assert sides.max() == 1
    assert found["split"].tolist() == expected
    assert 0.18 < (found["split"] == "test").mean() < 0.22


def test_preparing_twice_gives_the_same_checksum_and_replaces_what_was_there(
    features: dict[str, Any], spark_url: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, spark_url=spark_url)
    first = pipeline.prepare_features("run", settings)
    again = pipeline.prepare_features("run", settings)

    assert first == again
    assert again["checksum"] == features["checksum"]
    assert json.loads(json.dumps(again)) == again
    assert [path.name for path in Path(again["path"]).parent.parent.iterdir()] == [Path(again["path"]).parent.name]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (HEADER.replace(';"pH"', ""), "winequality-red.csv: the column 'pH' is missing"),
        (HEADER.replace('"pH"', '"acid"'), "the column 'pH' is missing; the column 'acid' is unknown"),
        (HEADER + ';"pH"', "the column 'pH' is there 2 times"),
        (HEADER.replace(";", ","), "separated by ';'"),
    ],
)
def test_a_header_that_breaks_the_contract_is_refused_before_spark_is_asked(
    wine_table: Path, header: str, told: str
) -> None:
    put(wine_table, [GOOD], [WHITE], header)

    with pytest.raises(DataQualityError) as refused:
        wine_files.find([wine_table])

    assert told in str(refused.value)


def test_an_empty_folder_is_refused(wine_table: Path) -> None:
    with pytest.raises(DataQualityError, match="There is no CSV or Parquet file in"):
        wine_files.find([wine_table])


def test_a_suffix_in_capitals_is_the_same_suffix(wine_table: Path) -> None:
    put(wine_table, [GOOD], [WHITE])
    (wine_table / "winequality-white.csv").rename(wine_table / "winequality-white.CSV")

    found = wine_files.find([wine_table])

    assert [(file.kind, file.path.name) for file in found] == [
        (".csv", "winequality-red.csv"),
        (".csv", "winequality-white.CSV"),
    ]


def test_a_first_line_that_is_too_long_for_a_header_is_refused(wine_table: Path) -> None:
    (wine_table / "winequality-red.csv").write_text("x" * 200_000)

    with pytest.raises(DataQualityError, match=r"winequality-red\.csv has no header that can be read: field larger"):
        wine_files.find([wine_table])


def test_a_file_that_says_no_colour_is_refused(wine_table: Path) -> None:
    (wine_table / "prepared.csv").write_text(f"{HEADER}\n{GOOD}\n")

    with pytest.raises(DataQualityError, match=r"prepared\.csv: there is no column 'colour', and the file's name"):
        wine_files.find([wine_table])


def test_any_number_of_csv_and_parquet_files_become_one_table_with_the_latest_observation(
    spark_url: str, tmp_path: Path
) -> None:
    put(tmp_path, [GOOD], [WHITE])
    measured = dict(zip(FEATURE_NAMES, VALUES, strict=True))
    times = pd.to_datetime(["2026-03-01T12:00:00Z", "2026-02-01T12:00:00Z", None])
    observed = pd.DataFrame([{**measured, "colour": "red", "quality": q} for q in (5.0, 5.0, 6.5)])
    (tmp_path / "more").mkdir()
    observed.assign(observed_at=times).to_parquet(tmp_path / "more" / "observed.parquet", index=False)
    dated = [f"{GOOD[:-1]}8;2026-05-01;red", f"{GOOD[:-1]}9;soon;red", f"{GOOD[:-1]}7;;pink"]
    (tmp_path / "more" / "dated.csv").write_text("\n".join([f"{HEADER};observed_at;colour", *dated]) + "\n")

    with attached(spark_url) as session:
        wine_features.write(session, [tmp_path], tmp_path / "run")

    found, rejected = (pd.read_parquet(tmp_path / "run" / name) for name in ("features", "rejected"))
    red = found[found["colour"] == "red"].sort_values("quality")
    seen = pd.to_datetime(red["observed_at"], utc=True).astype(str).tolist()
    assert list(zip(red["quality"], red["copies"], seen, strict=True)) == [
        (5, 3, "2026-03-01 12:00:00+00:00"),
        (8, 1, "2026-05-01 00:00:00+00:00"),
    ]
    assert red[list(FEATURE_NAMES)].to_numpy().tolist() == [VALUES, VALUES]
    assert sorted(rejected["reason"]) == [
        "colour: neither red nor white",
        "observed_at: not a time",
        "quality: 6.5 is not a whole number",
    ]


def test_numbers_of_a_parquet_file_are_judged_as_their_texts_are(spark_url: str, tmp_path: Path) -> None:
    measured = dict(zip(FEATURE_NAMES, VALUES, strict=True))
    rows = [{**measured, "ph": ph} for ph in (3.51, float("nan"), float("inf"), None, 42.0, -0.0)]
    table = pd.DataFrame(rows, dtype=object).assign(colour="red", quality=[5, 6, 5, 5, 5, 5])
    schema = pa.schema(
        [(name, pa.float64()) for name in FEATURE_NAMES] + [("colour", pa.string()), ("quality", pa.int64())]
    )
    pq.write_table(pa.Table.from_pylist(table.to_dict("records"), schema), tmp_path / "wine.parquet")

    with attached(spark_url) as session:
        wine_features.write(session, [tmp_path], tmp_path / "run")

    found, rejected = (pd.read_parquet(tmp_path / "run" / name) for name in ("features", "rejected"))
    assert found[list(FEATURE_NAMES)].to_numpy().tolist() == [VALUES]
    assert sorted(kind for kinds in rejected["kinds"] for kind in kinds) == [
        "ph: missing",
        "ph: not a number",
        "ph: not a number",
        "ph: outside 2.5..4.5",
        "ph: outside 2.5..4.5",
    ]


def test_up_to_the_limit_bad_rows_are_counted_by_reason_and_the_run_goes_on(
    settings: Settings, wine_table: Path, spark_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [GOOD.replace("3.51", "42"), GOOD.replace("3.51", "1"), GOOD.replace("0.9978", "dense")]
    caplog.set_level("INFO")
    put(wine_table, [*many_wines(57), *bad], many_wines(40))

    receipt = pipeline.prepare_features("run", settings.model_copy(update={"spark_url": spark_url}))

    assert (receipt["rows"], receipt["rejected"]) == (100, 3)
    assert receipt["rejected_by_reason"] == {"ph: outside 2.5..4.5": 2, "density: not a number": 1}
    assert expectations.count(Path(receipt["path"]).parent).rejected_by_reason == receipt["rejected_by_reason"]
    assert "rejected: ph: outside 2.5..4.5 (2 rows)" in caplog.messages
    assert f"for example: red {bad[0]}: ph: 42 is outside 2.5..4.5" in caplog.messages


def test_over_the_limit_the_run_fails_with_the_counts_and_says_where_the_rows_are(
    settings: Settings, wine_table: Path, spark_url: str
) -> None:
    bad = [GOOD.replace("3.51", "42"), GOOD.replace("9.4;", ";")] * 3
    put(wine_table, [*many_wines(54), *bad], many_wines(40))

    with pytest.raises(DataQualityError) as refused:
        pipeline.prepare_features("run", settings.model_copy(update={"spark_url": spark_url}))

    told = str(refused.value)
    assert "6 of 100 rows (6.0%) were rejected" in told
    assert "alcohol: missing (3), ph: outside 2.5..4.5 (3)" in told
    written = next((settings.batches_dir / "wine").glob("run-*/rejected"))
    assert str(written) in told
    assert len(pd.read_parquet(written)) == 6


def test_observed_wines_that_are_bad_or_copies_are_left_out_and_told_and_do_not_block_training(
    settings: Settings, wine_table: Path, spark_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(wine_table, many_wines(57), many_wines(40))
    measured = dict(zip(FEATURE_NAMES, VALUES, strict=True)) | {"colour": "red"}
    halves = [{**measured, "quality": 5.5}] * 50
    # One wine that the files do not have, one that they have, each told again and again.
    copies = [{**measured, "quality": 8.0}] * 400 + [{**measured, "fixed_acidity": 4.0, "quality": 5.0}] * 400
    observed = tmp_path / "observed"
    observed.mkdir()
    pd.DataFrame(halves + copies).to_parquet(observed / "observed.parquet", index=False)

    receipt = pipeline.prepare_features(
        "run", settings.model_copy(update={"spark_url": spark_url}), {"path": str(observed), "rows": 850}
    )

    assert (receipt["rows"], receipt["rejected"], receipt["distinct"]) == (947, 50, 98)
    reasons = {"quality: not a whole number": 50}
    assert receipt["observed"] == {"rows": 850, "rejected": 50, "distinct": 1, "rejected_by_reason": reasons}
    assert receipt["rejected_by_reason"] == {}
    assert "rejected, of the observed wines: quality: not a whole number (50 rows)" in caplog.messages
    assert len(pd.read_parquet(receipt["rejected_path"])) == 50


def test_observed_wines_do_not_hide_bad_rows_of_the_files(
    settings: Settings, wine_table: Path, spark_url: str, tmp_path: Path
) -> None:
    put(wine_table, [*many_wines(54), *[GOOD.replace("3.51", "42")] * 6], many_wines(40))
    observed = tmp_path / "observed"
    observed.mkdir()
    measured = dict(zip(FEATURE_NAMES, VALUES, strict=True)) | {"colour": "red"}
    pd.DataFrame([{**measured, "quality": 8.0}] * 900).to_parquet(observed / "observed.parquet", index=False)

    with pytest.raises(DataQualityError, match=r"6 of 100 rows \(6\.0%\) were rejected"):
        pipeline.prepare_features(
            "run", settings.model_copy(update={"spark_url": spark_url}), {"path": str(observed), "rows": 900}
        )
