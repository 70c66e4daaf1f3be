"""Metrics against values computed by hand."""

import numpy as np
import pytest

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

    assert set(found) == {"mae", "rmse", "within_half", "mae_red", "rmse_red", "within_half_red"}


def test_losses_are_squared_errors_case_by_case() -> None:
    losses = evaluation.squared_errors(np.array([5.0, 6.0, 7.0]), np.array([5.5, 6.0, 5.0]))

    assert losses.tolist() == [0.25, 0.0, 4.0]
