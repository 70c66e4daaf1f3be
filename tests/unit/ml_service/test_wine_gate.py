"""Which cases a challenger has to prove itself on."""

import time

import numpy as np

from ml_service import gate
from ml_service.dataset import Dataset
from ml_service.gate import Scored

DAY = 86_400
CASES = 40


def dataset(observed_at: np.ndarray) -> Dataset:
    """Red wines, all on the test side."""
    ones = np.ones(CASES, dtype=np.int64)
    ids = np.array([f"{i:02d}" for i in range(CASES)])
    return Dataset(np.zeros((CASES, 12)), np.full(CASES, 6.0), ones, np.full(CASES, "test"), ids, "", observed_at)


def test_one_date_in_the_future_takes_nothing_from_the_recent_cases() -> None:
    observed_at = np.full(CASES, np.nan)
    observed_at[:10] = time.time() - 30 * DAY
    observed_at[10:20] = time.time() - 200 * DAY
    observed_at[20] = time.time() + 36 * 365 * DAY
    scored = Scored(np.full(CASES, 6.0), np.zeros(CASES), 1.0)

    checks = gate.checks(dataset(observed_at), scored, scored, recent_days=90, least_cases=5)

    assert checks.recent is not None
    assert np.flatnonzero(checks.recent).tolist() == [*range(10), 20]
