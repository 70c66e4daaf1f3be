"""Metrics against values computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from ml_service import evaluation


def test_metrics_are_those_computed_by_hand_over_all_and_by_colour() -> None:
    truth = np.array([5.0, 6.0, 7.0, 6.0])
    predicted = np.array([5.5, 6.0, 5.0, 6.6])
    colours = np.array(["red", "red", "white", "white"])

    found = evaluation.metrics(truth, predicted, colours)

    # Errors 0.5, 0, -2, 0.6; squares 0.25, 0, 4, 0.36; spread of the truth around 6: 2.
    assert found["mae"] == pytest.approx(3.1 / 4)
    assert found["rmse"] == pytest.approx((4.61 / 4) ** 0.5)
    assert found["r2"] == pytest.approx(1 - 4.61 / 2)
    assert found["within_half"] == 0.5
    assert (found["mae_red"], found["mae_white"]) == (pytest.approx(0.25), pytest.approx(1.3))
    assert (found["within_half_red"], found["within_half_white"]) == (1.0, 0.0)
    assert found["r2_red"] == pytest.approx(1 - 0.25 / 0.5)
    assert found["rmse_white"] == pytest.approx((4.36 / 2) ** 0.5)


def test_what_has_no_meaning_is_left_out() -> None:
    found = evaluation.metrics(np.array([5.0, 5.0]), np.array([5.0, 6.0]), np.array(["red", "red"]))

    kinds = ("mae", "rmse", "within_half")
    assert set(found) == {*kinds, *(f"{kind}_red" for kind in kinds), *(f"{kind}_middle" for kind in kinds)}


def test_kappa_is_that_of_scikit_learn_on_rounded_predictions() -> None:
    draws = np.random.default_rng(1)
    truth = draws.integers(3, 10, 200).astype(float)
    predicted = truth + draws.normal(0, 1.5, 200)

    found = evaluation.metrics(truth, predicted, np.full(200, "red"))

    rounded = np.clip(np.rint(predicted), 0, 10).astype(int)
    assert found["kappa"] == pytest.approx(cohen_kappa_score(truth.astype(int), rounded, weights="quadratic"))


def test_bands_are_of_the_observed_quality() -> None:
    truth, predicted = np.array([4.0, 5.0, 6.0, 7.0]), np.array([5.0, 5.0, 6.5, 5.0])

    found = evaluation.metrics(truth, predicted, np.full(4, "white"))

    assert (found["mae_low"], found["mae_middle"], found["mae_high"]) == (1.0, 0.25, 2.0)


def test_losses_are_squared_errors_case_by_case() -> None:
    losses = evaluation.squared_errors(np.array([5.0, 6.0, 7.0]), np.array([5.5, 6.0, 5.0]))

    assert losses.tolist() == [0.25, 0.0, 4.0]
