"""Another index, or other weights, on trial beside what is served."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from rag_service.evaluation import trial
from rag_service.evaluation.golden import Case
from rag_service.evaluation.measuring import Measured
from rag_service.index.calibration import Calibration

USED = Calibration.of({"retrieval.dense": 0.11})
FITTED = Calibration.of({"retrieval.dense": 0.77})
CASES = [
    Case(f"Question {n} of {group}?", True, frozenset([f"{group}/{n}"]), (), group)
    for group in ("cellar", "visits")
    for n in range(20)
]


@dataclass
class Fixed:
    """Finds every document with one chance of an answer, or misses the first `missed` of CASES."""

    chance: float
    missed: int = 0
    threshold: float = 0.3
    asked: list[tuple[Calibration | None, list[Case]]] = field(default_factory=list)
    retriever: Any = field(default_factory=lambda: SimpleNamespace(calibration=USED))
    weights: Calibration | None = None

    def tuned(self, calibration: Calibration, threshold: float | None = None) -> "Fixed":
        return replace(self, weights=calibration, threshold=self.threshold if threshold is None else threshold)

    def search(self, _: Calibration) -> Any:
        return None

    def name_of(self, _: Any) -> str:
        return ""

    def measure(self, cases: Iterable[Case]) -> Iterator[Measured]:
        chosen = list(cases)
        self.asked.append((self.weights, chosen))
        for case in chosen:
            found = [] if CASES.index(case) < self.missed else sorted(case.relevant)
            yield Measured(case, {"hybrid": found}, self.chance, 0.0, "", self.chance < self.threshold, 1, 1, 1.0, 1.0)


@pytest.fixture(autouse=True)
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[list[Case]]:
    """Fits to whatever it is given the weights FITTED; to which cases."""
    seen: list[list[Case]] = []

    def tune(cases: list[Case], *_: Any) -> Calibration:
        seen.append(cases)
        return FITTED

    monkeypatch.setattr(trial, "tune", tune)
    return seen


def test_what_finds_the_same_is_promoted_and_keeps_weights_and_threshold(fitted: list[list[Case]]) -> None:
    before, after = Fixed(0.9), Fixed(0.9)
    found = trial.same_weights(before, after, CASES, trial.RENEWAL, "it")  # type: ignore[arg-type]

    assert found.decision.promoted
    assert (found.decision.cases, found.decision.gain) == (40, 0.0)
    assert (found.calibration, found.threshold, found.fitted, fitted) == (USED, 0.3, [], [])
    assert after.asked == [(USED, CASES)]


def test_what_loses_documents_is_not(fitted: list[list[Case]]) -> None:
    found = trial.same_weights(Fixed(0.9), Fixed(0.9, missed=6), CASES, trial.RENEWAL, "it")  # type: ignore[arg-type]

    assert not found.decision.promoted
    assert "does not exceed the margin -0.0200" in found.decision.reason


def test_weights_of_another_embedder_are_fitted_and_each_half_is_judged_by_the_others(
    fitted: list[list[Case]],
) -> None:
    before, after = Fixed(0.9), Fixed(0.6)
    found = trial.cross_fitted(before, after, CASES, 0.95, trial.RENEWAL, "it")  # type: ignore[arg-type]

    one, other = trial.halves(CASES)
    assert fitted == [one, other, CASES]
    assert [cases for _, cases in after.asked] == [one, other, other, one, CASES]
    assert [cases for _, cases in before.asked] == [other, one]
    assert {weights for weights, _ in after.asked} == {FITTED}
    assert found.decision.cases == 40
    assert found.calibration == FITTED
    assert 0.3 < found.threshold <= 0.6


def test_what_was_measured_is_compared_case_by_case(fitted: list[list[Case]]) -> None:
    # The same five of one half are missed by both, so nothing is gained or lost on any case.
    bench = Fixed(0.9, missed=5, threshold=0.3)
    found = trial.cross_fitted(bench, bench, CASES, 0.95, trial.POLICY, "it")  # type: ignore[arg-type]

    assert not found.decision.promoted
    assert (found.decision.cases, found.decision.gain, found.decision.gain_low) == (40, 0.0, 0.0)


def test_better_weights_are_promoted_by_all_cases(fitted: list[list[Case]]) -> None:
    found = trial.cross_fitted(Fixed(0.9, missed=9), Fixed(0.9), CASES, 0.95, trial.POLICY, "it")  # type: ignore[arg-type]

    assert found.decision.promoted
    # A passage found and an answer that is right are half of what there is to lose.
    assert (found.decision.cases, found.decision.gain) == (40, pytest.approx(9 / 40 * 2 / 4))
