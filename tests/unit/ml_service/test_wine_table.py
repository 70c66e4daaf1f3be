"""The table of features: it holds the real data, and every edge takes its bounds from it."""

import csv
import subprocess
import sys

import pytest
from pydantic import ValidationError

from cuvee.settings import PROJECT_DIR
from ml_service import wine
from ml_service.api.schemas import PredictRequest, Sample

MIDDLE = {feature.name: (feature.lowest + feature.highest) / 2 for feature in wine.FEATURES} | {"colour": "red"}


def rows(colour: str) -> list[dict[str, str]]:
    with (PROJECT_DIR / "data" / "wine" / f"winequality-{colour}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter=";"))


@pytest.mark.parametrize(("colour", "count"), [("red", 1599), ("white", 4898)])
def test_every_row_of_the_real_table_is_within_the_ranges(colour: str, count: int) -> None:
    found = rows(colour)

    outside = [
        (feature.name, row[feature.csv_name])
        for row in found
        for feature in (*wine.FEATURES, wine.QUALITY)
        if not feature.lowest <= float(row[feature.csv_name]) <= feature.highest
    ]
    assert (len(found), outside) == (count, [])
    assert list(found[0]) == [feature.csv_name for feature in wine.FEATURES] + ["quality"]


@pytest.mark.parametrize("feature", (*wine.FEATURES, wine.QUALITY), ids=lambda feature: feature.name)
def test_98_of_100_wines_lie_in_the_usual_range_and_not_all_do(feature: wine.Feature) -> None:
    values = [float(row[feature.csv_name]) for colour in wine.COLOURS for row in rows(colour)]

    usual = sum(feature.usual_lowest <= value <= feature.usual_highest for value in values) / len(values)
    assert 0.98 <= usual < 1
    assert feature.lowest <= feature.usual_lowest < feature.usual_highest <= feature.highest


def test_a_model_gets_the_eleven_features_in_the_order_of_the_table_and_then_the_colour() -> None:
    assert (
        *("fixed_acidity", "volatile_acidity", "citric_acid", "residual_sugar", "chlorides", "free_sulfur_dioxide"),
        *("total_sulfur_dioxide", "density", "ph", "sulphates", "alcohol", "is_white"),
    ) == wine.INPUT_COLUMNS


def test_the_table_imports_nothing_but_the_standard_library() -> None:
    program = "import sys; before = set(sys.modules); import ml_service.wine; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert {name.split(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names) == {"ml_service"}


def test_a_sample_has_exactly_the_features_of_the_table_and_a_colour() -> None:
    assert tuple(Sample.model_fields) == (*wine.FEATURE_NAMES, "colour")
    assert Sample.model_json_schema()["properties"]["colour"]["enum"] == list(wine.COLOURS)


@pytest.mark.parametrize("feature", wine.FEATURES, ids=lambda feature: feature.name)
def test_the_bounds_of_a_sample_are_those_of_the_table(feature: wine.Feature) -> None:
    for bound in (feature.lowest, feature.highest):
        assert getattr(Sample.model_validate(MIDDLE | {feature.name: bound}), feature.name) == bound
    for beyond in (feature.lowest - 0.001, feature.highest + 0.001):
        with pytest.raises(ValidationError) as refused:
            Sample.model_validate(MIDDLE | {feature.name: beyond})
        assert [(e["loc"], e["input"]) for e in refused.value.errors()] == [((feature.name,), beyond)]


@pytest.mark.parametrize("value", ["7.4", True, None, [], float("nan"), float("inf")])
def test_only_finite_numbers_are_measurements(value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Sample.model_validate(MIDDLE | {"fixed_acidity": value})

    assert [e["loc"] for e in refused.value.errors()] == [("fixed_acidity",)]


@pytest.mark.parametrize(("count", "accepted"), [(0, False), (1, True), (10_000, True), (10_001, False)])
def test_a_request_holds_one_to_ten_thousand_samples(count: int, accepted: bool) -> None:
    try:
        assert len(PredictRequest.model_validate({"samples": [MIDDLE] * count}).samples) == count
        was_accepted = True
    except ValidationError:
        was_accepted = False

    assert was_accepted == accepted


def test_the_example_in_the_documentation_is_a_valid_sample() -> None:
    example = Sample.model_json_schema()["example"]

    assert Sample.model_validate(example).model_dump() == example
