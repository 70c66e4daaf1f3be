"""Folds that do not part duplicates, weights by recency, intervals that cover what they say, and a resumable search."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import VotingRegressor

from ml_service import cross_validation, search
from ml_service.candidates import TrainingParams
from ml_service.dataset import Dataset, as_frame
from ml_service.intervals import Intervals

DAY = 86_400.0


def dataset(rows: int = 120, observed_at: np.ndarray | None = None) -> Dataset:
    """Each wine stands there twice, with qualities that differ by nothing the inputs know."""
    draws = np.random.default_rng(0)
    inputs = np.repeat(draws.uniform(0, 4, (rows // 2, 12)), 2, axis=0)
    inputs[:, -1] = np.repeat(np.arange(rows // 2) % 2, 2)
    ids = np.repeat([f"{i:04d}" for i in range(rows // 2)], 2)
    split = np.where(np.repeat(np.arange(rows // 2) % 5 == 0, 2), "test", "train")
    noise = draws.normal(0, 0.3, rows)
    return Dataset(inputs, 3 + inputs[:, 10] + noise, np.ones(rows, int), split, ids, "c" * 64, observed_at)


def test_every_row_is_predicted_once_by_a_model_without_its_duplicates() -> None:
    data, rows = dataset(), np.arange(10, 110)

    parts = list(cross_validation.folds(data, rows, 5, seed=1))

    assert sorted(np.concatenate([predicted for _, predicted in parts])) == list(rows)
    for fitted, predicted in parts:
        assert not set(data.group_ids[fitted]) & set(data.group_ids[predicted])


def test_a_wine_that_is_a_half_life_older_weighs_half_and_one_without_a_date_as_the_oldest() -> None:
    data = dataset(4, np.array([40 * DAY, 30 * DAY, np.nan, 20 * DAY]))

    assert cross_validation.weights(data, 10).tolist() == [1.0, 0.5, 0.25, 0.25]
    assert cross_validation.weights(data, 0).tolist() == [1.0] * 4
    assert cross_validation.weights(dataset(4), 10).tolist() == [1.0] * 4


def test_a_blend_is_fitted_in_one_process_its_forest_with_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, fit = [], VotingRegressor.fit

    def spied(self: VotingRegressor, *arguments: Any, **options: Any) -> Any:
        seen.append((self.n_jobs, dict(self.estimators)["extra_trees"].n_jobs))
        return fit(self, *arguments, **options)

    monkeypatch.setattr(VotingRegressor, "fit", spied)
    model = cross_validation.fit(TrainingParams(n_estimators=10), dataset(), np.arange(100)).named_steps["model"]

    assert seen == [(None, -1)]
    assert (model.n_jobs, model.named_estimators_["extra_trees"].n_jobs) == (None, None)


def test_one_date_in_the_future_leaves_the_others_their_weight() -> None:
    now = time.time()
    data = dataset(100, np.array([now, now - 10 * DAY, now + 10_000 * DAY, *[np.nan] * 97]))

    found = cross_validation.weights(data, half_life_days=10)

    np.testing.assert_allclose(found, [1.0, 0.5, 1.0, *[0.5] * 97], atol=1e-3)


@pytest.mark.parametrize("estimator", ["blend", "ridge"])
def test_with_a_short_half_life_a_model_follows_the_recent_rule(estimator: str) -> None:
    data = dataset(400, np.tile([0.0, 100 * DAY], 200))
    recent = np.arange(400) % 2 == 1
    turned = Dataset(data.inputs, np.where(recent, 8.0, 4.0), *(getattr(data, n) for n in ("copies", "split",
        "group_ids", "checksum", "observed_at")))  # fmt: skip

    params = [TrainingParams(estimator=estimator, n_estimators=20, recency_half_life_days=days) for days in (0, 5)]
    with cross_validation.one_thread():
        even, late = (
            cross_validation.fit(one, turned, np.arange(400)).predict(as_frame(data.inputs[:50])) for one in params
        )

    assert even.mean() == pytest.approx(6, abs=0.6)
    assert late.mean() > 7.5


def test_intervals_cover_their_share_in_each_group_also_where_errors_differ() -> None:
    draws = np.random.default_rng(3)
    white = draws.random(40_000) < 0.5
    predicted = draws.uniform(4, 8, 40_000)
    truth = predicted + draws.normal(0, np.where(white, 0.3, 1.0) * np.where(predicted > 6.7, 2.0, 1.0))
    made = Intervals.of(truth[::2], predicted[::2], white[::2], 0.9)

    low, high = made.around(predicted[1::2], white[1::2])

    inside = (truth[1::2] >= low) & (truth[1::2] <= high)
    for colour in (True, False):
        for good in (True, False):
            chosen = (white[1::2] == colour) & ((predicted[1::2] > 6.7) == good)
            assert 0.88 < inside[chosen].mean() < 0.92


def test_a_group_with_few_cases_has_the_width_of_all() -> None:
    truth, predicted = np.arange(100) % 2 * 2.0, np.linspace(0, 1, 100)

    made = Intervals.of(truth, predicted, np.arange(100) < 3, 0.9)

    assert made.white[0] == sorted(np.abs(truth - predicted))[90]


def test_a_search_goes_on_after_its_last_finished_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, params = dataset(), TrainingParams(n_estimators=10, trials=5)
    rows, tried = np.flatnonzero(data.split == "train"), []
    original = search.suggest

    def killed_at_the_eighth(trial: search.optuna.Trial, given: TrainingParams) -> TrainingParams:
        tried.append(trial.number)
        if len(tried) == 8:
            raise KeyboardInterrupt
        return original(trial, given)

    monkeypatch.setattr(search, "suggest", killed_at_the_eighth)
    with pytest.raises(KeyboardInterrupt):
        search.search(params, data, rows, tmp_path / "search.sqlite")
    found = search.search(params, data, rows, tmp_path / "search.sqlite")

    # Three outer studies and the last one, five trials each; one was cut off and is made again.
    assert len(tried) == 4 * 5 + 1
    assert (len(found.trials), len(found.outer)) == (5, 3)
    best = min(found.trials, key=lambda trial: trial.rmse)
    assert found.params.estimator == best.params["estimator"]
    assert all(0.2 < fold.rmse < 1.5 for fold in found.outer)
