"""The cases that a challenger has to prove itself on: the test side of the feature table, and what is guarded there."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cuvee.promotion import Checks
from cuvee.registry import RegisteredVersion, Registry
from ml_service import evaluation, inference, training
from ml_service.dataset import Dataset, Floats

BANDS = {"predicted under 5.5": (-np.inf, 5.5), "5.5 to 6.5": (5.5, 6.5), "from 6.5": (6.5, np.inf)}
"""Of the quality that the champion predicts. Bands of the observed one would favour who always says the middle: on
middling wines that is the best answer, whatever it is elsewhere."""

_TIMED_ROWS = 100
_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Scored:
    """A model on the test side."""

    predicted: Floats
    """Shape (cases,)."""
    losses: Floats
    """Squared errors, shape (cases,)."""
    latency_ms: float
    """Median time for one wine."""


def scored(registry: Registry, version: RegisteredVersion, dataset: Dataset) -> Scored:
    """What the registry really holds, loaded and asked as the service does it.

    Raises:
        IntegrityError: the version cannot be loaded.
    """
    model = inference.load(registry, version)
    return _scored(model.predict, dataset)


def scored_baseline(dataset: Dataset) -> Scored:
    """The mean quality, whatever the wine: what the very first model has to beat."""
    baseline = training.fit_baseline(dataset)
    return _scored(baseline.predict, dataset)


def _scored(predict: Callable[[Floats], Floats], dataset: Dataset) -> Scored:
    chosen = dataset.split == "test"
    inputs, truth = dataset.inputs[chosen], dataset.quality[chosen]
    predicted, taken = predict(inputs), []
    for row in inputs[:_TIMED_ROWS]:
        started = time.perf_counter()
        predict(row[None, :])
        taken.append(time.perf_counter() - started)
    return Scored(predicted, evaluation.squared_errors(truth, predicted), 1000 * float(np.median(taken)))


def checks(dataset: Dataset, champion: Scored, challenger: Scored, recent_days: float, least_cases: int) -> Checks:
    """Slices by colour and by predicted quality; recent is what was observed within so many days of the last.

    Where enough is recent, bands are of recent cases only: what makes a wine good is what may have changed. A colour
    stays what it is, so the past vouches for one that recent cases do not cover.
    """
    test = dataset.split == "test"
    colours, predicted = dataset.colours("test"), champion.predicted
    recent = np.zeros(len(predicted), bool)
    if dataset.observed_at is not None:
        # A date in the future, which a file may have, makes nothing else old.
        last = min(float(np.nanmax(dataset.observed_at)), time.time())
        # Of a quality without a date nothing is known, least of all that it is recent.
        recent = dataset.observed_at[test] > last - recent_days * _SECONDS_OF_A_DAY
    now = recent if recent.sum() >= least_cases else np.ones(len(predicted), bool)
    slices = {str(colour): colours == colour for colour in np.unique(colours)}
    slices |= {name: now & (predicted >= low) & (predicted < high) for name, (low, high) in BANDS.items()}
    return Checks(slices=slices, recent=recent, latency_ms=challenger.latency_ms)
