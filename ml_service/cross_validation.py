"""Fitting, and predictions of wines by models that have not seen them: folds never part a group of duplicates."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import VotingRegressor
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from ml_service.candidates import TrainingParams, build
from ml_service.dataset import Dataset, Floats, as_frame

Rows = npt.NDArray[np.intp]
_SECONDS_OF_A_DAY = 86_400.0


def weights(dataset: Dataset, half_life_days: float) -> Floats:
    """Of every row, shape (rows,): 1 for the latest observed quality, half as much for one that is a half-life older.

    Rows without a date count as the oldest with one, dates in the future as today. With a half-life of 0, or without
    any date, all are 1.
    """
    seconds = dataset.observed_at
    if half_life_days == 0 or seconds is None:
        return np.ones(len(dataset.quality))
    known = np.minimum(np.where(np.isnan(seconds), np.nanmin(seconds), seconds), time.time())
    weighted: Floats = 0.5 ** ((known.max() - known) / (half_life_days * _SECONDS_OF_A_DAY))
    return weighted


def fit(params: TrainingParams, dataset: Dataset, rows: Rows) -> Pipeline:
    """Fit on these rows, forests with every core, then set to one thread: a service answers many small requests."""
    model = build(params, len(rows))
    # Not a blend's own: it would start processes, each with one thread.
    parameters = model.get_params()
    blends = {name for name, value in parameters.items() if isinstance(value, VotingRegressor)}
    threads = [n for n in parameters if n.endswith("n_jobs") and n.removesuffix("__n_jobs") not in blends]
    model.set_params(**dict.fromkeys(threads, -1))
    weighted = weights(dataset, params.recency_half_life_days)[rows]
    with one_thread():
        model.fit(as_frame(dataset.inputs[rows]), dataset.quality[rows], model__sample_weight=weighted)
    model.set_params(**dict.fromkeys(threads))
    for member in getattr(model.named_steps["model"], "estimators_", []):
        if "n_jobs" in member.get_params():
            member.set_params(n_jobs=None)
    return model


def folds(dataset: Dataset, rows: Rows, count: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Rows to fit on and rows to predict, `count` times; each of `rows` is predicted once."""
    groups = dataset.group_ids[rows]
    for fitted, predicted in GroupKFold(count, shuffle=True, random_state=seed).split(rows, groups=groups):
        yield rows[fitted], rows[predicted]


def out_of_fold(params: TrainingParams, dataset: Dataset, rows: Rows, count: int) -> Floats:
    """Predicted qualities of `rows`, in their order, each by a model fitted without its fold."""
    found = np.full(len(dataset.quality), np.nan)
    for fitted, predicted in folds(dataset, rows, count, params.seed):
        model = fit(params, dataset, fitted)
        with one_thread():
            found[predicted] = model.predict(as_frame(dataset.inputs[predicted]))
    return found[rows]


def one_thread() -> AbstractContextManager[Any]:
    """Boosting is many short steps: where programs share the cores, its threads wait for each other at every one."""
    limits: AbstractContextManager[Any] = threadpool_limits(1, "openmp")
    return limits
