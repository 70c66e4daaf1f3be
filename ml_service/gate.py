"""The cases that a challenger has to prove itself on: the test side of the feature table, and what is guarded there."""

import time
from dataclasses import dataclass

import numpy as np

from cuvee.promotion import Checks
from cuvee.registry import RegisteredVersion, Registry
from ml_service import evaluation, inference, training
from ml_service.dataset import Dataset, Floats

BANDS = {"quality to 4": (0.0, 4.5), "quality 5": (4.5, 5.5), "quality 6": (5.5, 6.5), "quality from 7": (6.5, 10.5)}
_TIMED_ROWS = 100
_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True, eq=False)
class Scored:
    """Squared errors on the test side, shape (cases,), and the median time for one wine."""

    losses: Floats
    latency_ms: float


def scored(registry: Registry, version: RegisteredVersion, dataset: Dataset) -> Scored:
    """What the registry really holds, loaded and asked as the service does it.

    Raises:
        IntegrityError: the version cannot be loaded.
    """
    model = inference.load(registry, version)
    chosen = dataset.split == "test"
    inputs, truth = dataset.inputs[chosen], dataset.quality[chosen]
    losses = evaluation.squared_errors(truth, model.predict(inputs))
    return Scored(losses, _median_ms(model, inputs))


def _median_ms(model: inference.ServedModel, inputs: Floats) -> float:
    taken = []
    for row in inputs[:_TIMED_ROWS]:
        started = time.perf_counter()
        model.predict(row[None, :])
        taken.append(time.perf_counter() - started)
    return 1000 * float(np.median(taken))


def baseline_losses(dataset: Dataset) -> Floats:
    """Squared errors of the mean quality, shape (cases,): what the very first model has to beat."""
    inputs, truth = dataset.part("test")
    return evaluation.squared_errors(truth, training.fit_baseline(dataset).predict(inputs))


def checks(dataset: Dataset, latency_ms: float, recent_days: float, least_cases: int) -> Checks:
    """Slices by colour and by band of quality; recent is what was observed within so many days of the last.

    Where enough is recent, bands are of recent cases only: which wines are good is what may have changed. A colour is
    known beforehand, so the past vouches for one that recent cases do not cover.
    """
    test = dataset.split == "test"
    truth, colours = dataset.quality[test], dataset.colours("test")
    recent = np.zeros(len(truth), bool)
    if dataset.observed_at is not None:
        # Of a quality without a date nothing is known, least of all that it is recent.
        recent = dataset.observed_at[test] > np.nanmax(dataset.observed_at) - recent_days * _SECONDS_OF_A_DAY
    now = recent if recent.sum() >= least_cases else np.ones(len(truth), bool)
    slices = {str(colour): colours == colour for colour in np.unique(colours)}
    slices |= {name: now & (truth >= low) & (truth < high) for name, (low, high) in BANDS.items()}
    return Checks(slices=slices, recent=recent, latency_ms=latency_ms)
