"""The Gaussian process against scikit-learn's, against the condition of a mode, and what weights and odd rows do."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from ml_service import gaussian_process
from ml_service.dataset import as_frame
from ml_service.gaussian_process import GaussianProcess
from tests.wine_versions import wines

INPUTS, QUALITY = wines()
DRAWN = np.random.default_rng(0).permutation(len(QUALITY))
ROWS, OTHERS = DRAWN[:300], DRAWN[300:400]


def test_with_normal_noise_and_the_smooth_kernel_alone_it_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian_process, "DEGREES_OF_FREEDOM", 1e15)
    monkeypatch.setattr(gaussian_process, "ROUGH_VARIANCE", 0.0)
    found = GaussianProcess().fit(as_frame(INPUTS[ROWS]), QUALITY[ROWS])

    seen = INPUTS.copy()
    seen[:, [1, 3, 4, 5, 6, 9]] = np.log(INPUTS[:, [1, 3, 4, 5, 6, 9]] + 1e-3)
    seen = (seen - seen[ROWS].mean(axis=0)) / seen[ROWS].std(axis=0)
    kernel = ConstantKernel(gaussian_process.SMOOTH_VARIANCE) * RBF(gaussian_process.SMOOTH_SCALES)
    peer = GaussianProcessRegressor(kernel, alpha=gaussian_process.NOISE, optimizer=None, normalize_y=True)
    expected = peer.fit(seen[ROWS], QUALITY[ROWS]).predict(seen[OTHERS])

    assert found.predict(as_frame(INPUTS[OTHERS])) == pytest.approx(expected, abs=1e-9)


def test_it_ends_near_the_mode_under_students_t(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaussian_process, "_ROUNDS", 60)
    fitted = GaussianProcess().fit(as_frame(INPUTS[ROWS]), QUALITY[ROWS])

    # At the mode a point's weight is the slope of the log density of its residual.
    spread, freedom = QUALITY[ROWS].std(), gaussian_process.DEGREES_OF_FREEDOM
    residuals = (QUALITY[ROWS] - fitted.predict(as_frame(INPUTS[ROWS]))) / spread
    slopes = (freedom + 1) * residuals / (freedom * gaussian_process.NOISE + residuals**2)
    assert fitted.weights_ / spread == pytest.approx(slopes, abs=1e-4)


def test_an_odd_tasting_moves_its_neighbours_less_than_under_normal_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = QUALITY[ROWS].copy()
    odd[0] = 0.0 if odd[0] > 5 else 10.0

    def moved() -> float:
        before, after = (GaussianProcess().fit(as_frame(INPUTS[ROWS]), one) for one in (QUALITY[ROWS], odd))
        at = as_frame(INPUTS[ROWS[:1]])
        return float(np.abs(before.predict(at) - after.predict(at))[0])

    by_t = moved()
    monkeypatch.setattr(gaussian_process, "DEGREES_OF_FREEDOM", 1e15)
    assert by_t < 0.5 * moved()


def test_equal_weights_change_nothing_and_a_row_of_no_weight_is_as_good_as_left_out() -> None:
    frame, quality = as_frame(INPUTS[ROWS]), QUALITY[ROWS]
    plain = GaussianProcess().fit(frame, quality)
    halved = GaussianProcess().fit(frame, quality, sample_weight=np.full(len(ROWS), 0.5))
    assert np.array_equal(plain.predict(frame), halved.predict(frame))

    without = GaussianProcess().fit(frame, quality, sample_weight=np.r_[0.0, np.ones(len(ROWS) - 1)])
    wrong = GaussianProcess().fit(frame, np.r_[10.0, quality[1:]], sample_weight=np.r_[0.0, np.ones(len(ROWS) - 1)])
    assert without.predict(frame) == pytest.approx(wrong.predict(frame), abs=1e-3)


def test_of_a_larger_table_as_many_rows_as_allowed_are_drawn_by_weight_and_seed() -> None:
    frame = as_frame(INPUTS)
    weight = np.where(np.arange(len(QUALITY)) < 1_000, 1.0, 0.0)
    first = GaussianProcess(most_rows=200, random_state=3).fit(frame, QUALITY, sample_weight=weight)
    again = clone(first).fit(frame, QUALITY, sample_weight=weight)

    assert len(first.points_) == 200
    assert np.array_equal(first.points_, again.points_)
    known = {tuple(row) for row in first.posterior().scaled(INPUTS[:1_000]).round(9).tolist()}
    assert {tuple(row) for row in first.points_.round(9).tolist()} <= known


def test_where_hardly_any_row_has_weight_others_fill_the_sample() -> None:
    # A half-life of a day leaves nothing of wines that are years old.
    weight = np.where(np.arange(len(QUALITY)) < 10, 1.0, 0.0)
    fitted = GaussianProcess(most_rows=200).fit(as_frame(INPUTS), QUALITY, sample_weight=weight)

    found = {tuple(row) for row in fitted.points_.round(9).tolist()}
    assert len(fitted.points_) == 200
    assert {tuple(row) for row in fitted.posterior().scaled(INPUTS[:10]).round(9).tolist()} <= found


def test_a_column_or_a_quality_that_never_changes_is_no_reason_to_fail() -> None:
    white = INPUTS[INPUTS[:, -1] == 1][:50]
    fitted = GaussianProcess().fit(as_frame(white), np.full(50, 6.0))

    assert fitted.predict(as_frame(white)) == pytest.approx(np.full(50, 6.0))


def test_before_it_is_fitted_it_says_so() -> None:
    with pytest.raises(NotFittedError):
        GaussianProcess().predict(as_frame(INPUTS[:1]))
