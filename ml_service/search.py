"""Choosing estimator and parameters by Optuna, in nested cross-validation, so that the choosing itself is measured.

Outer folds say what the whole procedure is worth on wines it has not seen; a last study on all the given rows makes the
choice (Cawley and Talbot 2010, "On over-fitting in model selection"). Trials are kept in one SQLite file: a search that
was killed goes on after its last finished trial.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from ml_service.candidates import TrainingParams, suggest
from ml_service.cross_validation import Rows, fit, folds, out_of_fold
from ml_service.dataset import Dataset, as_frame

log = logging.getLogger(__name__)

_OUTER = 3
_INNER = 3


@dataclass(frozen=True)
class Trial:
    """One point that was tried; `rmse` in quality points, of inner out-of-fold predictions."""

    params: dict[str, Any]
    rmse: float


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    params: TrainingParams
    trials: tuple[Trial, ...]
    """Of the last study."""
    outer: tuple[Trial, ...]
    """Per outer fold: what its study chose, and the RMSE on the wines of the fold."""


def search(params: TrainingParams, dataset: Dataset, rows: Rows, store: Path) -> Found:
    """Choose by squared error, in `params.trials` trials a study.

    Args:
        params: what is not searched for, such as seed, number of trees and half-life, comes from here.
        dataset: what is searched on.
        rows: of it, the only ones that are looked at.
        store: SQLite file of the trials; made if it is not there.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    outer = []
    for number, (fitted, held_out) in enumerate(folds(dataset, rows, _OUTER, params.seed)):
        chosen = _best(_study(f"outer {number}", params, dataset, fitted, store), params)
        predicted = fit(chosen, dataset, fitted).predict(as_frame(dataset.inputs[held_out]))
        outer.append(Trial(_told(chosen), _rmse(dataset.quality[held_out], predicted)))
        log.info("outer fold %d: %s, RMSE %.4f", number, chosen.estimator, outer[-1].rmse)
    study = _study("all rows", params, dataset, rows, store)
    trials = tuple(Trial(dict(one.params), float(one.value or 0)) for one in _finished(study))
    return Found(_best(study, params), trials, tuple(outer))


def _study(name: str, params: TrainingParams, dataset: Dataset, rows: Rows, store: Path) -> optuna.Study:
    """With all its trials, of which some may be from before."""

    def objective(trial: optuna.Trial) -> float:
        predicted = out_of_fold(suggest(trial, params), dataset, rows, _INNER)
        return _rmse(dataset.quality[rows], predicted)

    study = optuna.create_study(
        # Another table, or other parameters, are another search.
        study_name=f"{name} of {dataset.checksum} with {params.model_dump_json()}",
        storage=f"sqlite:///{store}",
        sampler=optuna.samplers.TPESampler(seed=params.seed, n_startup_trials=10),
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial(_told(params.model_copy(update={"estimator": "blend"})))
    for _ in range(params.trials - len(_finished(study))):
        study.optimize(objective, n_trials=1)
    return study


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))


def _best(study: optuna.Study, params: TrainingParams) -> TrainingParams:
    return params.model_copy(update=study.best_params)


def _told(params: TrainingParams) -> dict[str, Any]:
    """What was searched for."""
    searched = {"estimator", "alpha", "max_features", "min_samples_leaf", "learning_rate"}
    return params.model_dump(include=searched)


def _rmse(truth: Any, predicted: Any) -> float:
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))
