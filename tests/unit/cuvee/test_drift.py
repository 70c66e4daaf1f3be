"""Drift measures against scipy and against counting by hand, and how often they raise a false alarm."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cuvee.drift import (
    Distribution,
    Profile,
    compare,
    holm,
    kolmogorov_smirnov,
    mean_shift,
    population_stability,
)
from cuvee.errors import InvalidInputError


def rows(seed: int, count: int, shape: str = "normal", move: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn = {
        "normal": rng.standard_normal(count),
        "skewed": rng.lognormal(size=count),
        "rounded": rng.standard_normal(count).round(1),
        "binary": (rng.random(count) < 0.75).astype(float),
    }[shape]
    return drawn + move


@pytest.mark.parametrize("shape", ["normal", "skewed", "rounded", "binary"])
@pytest.mark.parametrize("move", [0.0, 0.2, 3.0])
@pytest.mark.parametrize("count", [50, 700])
def test_the_ks_test_agrees_with_scipy_on_all_rows(shape: str, move: float, count: int) -> None:
    before, after = rows(0, 5_320, shape), rows(1, count, shape, move)

    distance, p_value = kolmogorov_smirnov(Distribution.of(before), after)

    expected = stats.ks_2samp(before, after, method="asymp")
    assert distance == pytest.approx(expected.statistic, abs=0.0011)
    # What a thousandth more or less of distance makes of the p-value.
    effective = round(5_320 * count / (5_320 + count))
    bounds = [stats.kstwo.sf(expected.statistic + step, effective) for step in (0.0012, -0.0012)]
    assert bounds[0] - 1e-12 <= p_value <= bounds[1] + 1e-12


def test_the_stability_index_is_the_sum_that_its_definition_says() -> None:
    baseline = Distribution.of(np.arange(1_000) / 100)
    after = np.concatenate([np.full(30, 0.5), np.full(70, 9.5)])

    found = population_stability(baseline, after)

    expected = 0.0
    for tenth in range(10):
        # The tenths of 0.00 .. 9.99 end at 0.99, 1.99, ...; one row, the least, is itself an edge of the bins.
        later = {0: 30.0, 9: 70.0}.get(tenth, 0.0)
        p, q = (later + 0.5) / (100 + 5.5), (100 + 0.5) / (1_000 + 5.5)
        expected += (p - q) * np.log(p / q)
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("shape", "move", "least", "most"),
    [
        ("normal", 0.0, 0.0, 0.05),
        ("normal", 0.5, 0.2, 0.35),
        ("binary", 0.0, 0.0, 0.02),
    ],
)
def test_the_stability_index_has_its_customary_size(shape: str, move: float, least: float, most: float) -> None:
    # Two normals half a deviation apart have the index 0.25 in the limit of many bins.
    found = population_stability(Distribution.of(rows(0, 5_320, shape)), rows(1, 2_000, shape, move))

    assert least <= found <= most


def test_a_share_of_a_binary_column_that_moves_is_seen() -> None:
    baseline = Distribution.of(rows(0, 5_320, "binary"))
    mostly_red = np.repeat([0.0, 1.0], [75, 25])

    # (0.25 - 0.75) * ln(0.25 / 0.75), twice
    assert population_stability(baseline, mostly_red) == pytest.approx(1.0986, abs=0.06)


@pytest.mark.parametrize("value", [0.0, -0.4, 2e9])
@pytest.mark.parametrize("step", [-1.0, 1.0])
def test_a_move_away_from_what_was_constant_is_seen_on_either_side_and_staying_is_none(
    value: float, step: float
) -> None:
    baseline = Distribution.of(np.full(4_000, value))

    assert population_stability(baseline, np.full(200, value)) < 0.05
    assert population_stability(baseline, np.full(200, value + step)) > 5


p_value_lists = st.lists(st.floats(0, 1), min_size=1, max_size=15)


@settings(deadline=None, print_blob=True)
@given(p_value_lists, st.floats(0.001, 0.5))
def test_holm_rejects_what_his_steps_reject(p_values: list[float], level: float) -> None:
    remaining, rejected = sorted(range(len(p_values)), key=lambda i: p_values[i]), set()
    while remaining and p_values[remaining[0]] * len(remaining) < level:
        rejected.add(remaining.pop(0))

    assert {i for i, p in enumerate(holm(np.array(p_values))) if p < level} == rejected


def test_with_no_drift_any_of_thirteen_columns_raises_an_alarm_in_at_most_the_stated_share_of_times() -> None:
    shapes = ["normal", "skewed", "rounded"] * 4 + ["binary"]
    profile = Profile.of({str(i): rows(i, 5_320, shape) for i, shape in enumerate(shapes)})

    alarms = 0
    for seed in range(200):
        columns = {str(i): rows(10_000 + 100 * seed + i, 300, shape) for i, shape in enumerate(shapes)}
        alarms += min(moved.p_value for moved in compare(profile, columns)) < 0.05

    # Three standard deviations of a binomial count over 5 %.
    assert alarms <= 200 * 0.05 + 3 * (200 * 0.05 * 0.95) ** 0.5


def test_the_column_that_moved_is_named_and_the_others_are_not() -> None:
    profile = Profile.of({name: rows(i, 5_320) for i, name in enumerate("abcd")})
    columns = {name: rows(100 + i, 300, move=0.6 if name == "c" else 0.0) for i, name in enumerate("abcd")}

    moved = {one.column: one for one in compare(Profile.from_json(json.loads(json.dumps(profile.to_json()))), columns)}

    assert [name for name, one in moved.items() if one.p_value < 0.01] == ["c"]
    assert moved["c"].psi > 0.25 > 0.1 > max(moved[name].psi for name in "abd")


@pytest.mark.parametrize("columns", [{"a": np.array([])}, {"b": np.ones(3)}])
def test_a_column_without_rows_or_without_baseline_is_refused(columns: dict[str, np.ndarray]) -> None:
    with pytest.raises(InvalidInputError, match="no rows or no baseline"):
        compare(Profile.of({"a": np.arange(10.0)}), columns)


def test_the_interval_of_a_mean_shift_holds_the_truth_as_often_as_it_says() -> None:
    baseline = Distribution.of(rows(0, 5_320, "skewed"))
    truth = float(rows(0, 5_320, "skewed").mean())

    held = 0
    for seed in range(150):
        shift = mean_shift(baseline, rows(1 + seed, 200, "skewed", move=1.0), 0.9, seed, resamples=300)
        held += shift.low <= 1.0 + (np.exp(0.5) - truth) <= shift.high
        assert shift.baseline == pytest.approx(truth, rel=0.02)

    assert 0.8 * 150 <= held <= 0.97 * 150
