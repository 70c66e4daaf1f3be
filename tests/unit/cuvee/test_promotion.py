"""The promotion test itself: how often it errs, what it must refuse, and what may not change its mind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import InvalidInputError
from cuvee.promotion import Policy, decide

QUICK = Policy(resamples=200)
SIMULATIONS = 400


def losses(seed: int, cases: int = 150, gain: float = 0.0, heavy: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Correlated squared errors of two models on the same cases; `gain` is the true mean difference."""
    rng = np.random.default_rng(seed)
    hard = rng.standard_normal(cases)
    noise = rng.standard_t(4, (2, cases)) if heavy else rng.standard_normal((2, cases))
    champion, challenger = (hard + 0.5 * noise) ** 2
    return champion + gain, challenger


@pytest.mark.parametrize("heavy", [False, True], ids=["normal errors", "heavy-tailed errors"])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_with_no_true_difference_about_the_stated_share_is_promoted(confidence: float, heavy: bool) -> None:
    policy = Policy(resamples=200, confidence=confidence)

    promoted = sum(decide(*losses(seed, heavy=heavy), policy, "it").promoted for seed in range(SIMULATIONS))

    # Three standard deviations of a binomial count around the stated share, upwards and downwards.
    expected = SIMULATIONS * (1 - confidence)
    slack = 3 * (expected * confidence) ** 0.5
    assert expected - slack <= promoted <= expected + slack


def test_a_clear_gain_is_promoted_every_time_and_its_reverse_never() -> None:
    for seed in range(100):
        champion, challenger = losses(seed, gain=0.5)
        assert decide(champion, challenger, QUICK, "it").promoted
        assert not decide(challenger, champion, QUICK, "it").promoted


def test_a_margin_asks_for_more_than_a_gain() -> None:
    champion, challenger = losses(0, cases=500, gain=0.5)

    assert decide(champion, challenger, Policy(resamples=200, margin=0.3), "it").promoted
    assert not decide(champion, challenger, Policy(resamples=200, margin=0.6), "it").promoted


def test_the_bound_agrees_with_the_normal_approximation_on_many_cases() -> None:
    champion, challenger = losses(1, cases=4000, gain=0.1)
    gains = champion - challenger

    decision = decide(champion, challenger, Policy(resamples=5000), "it")

    error = gains.std(ddof=1) / len(gains) ** 0.5
    assert decision.gain == pytest.approx(gains.mean())
    assert decision.gain_low == pytest.approx(gains.mean() - 1.645 * error, abs=0.1 * error)


finite = st.floats(0, 1e6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(finite, finite), min_size=30, max_size=60))
def test_two_models_are_never_both_better_and_a_model_never_beats_itself(pairs: list[tuple[float, float]]) -> None:
    first, second = np.array(pairs).T

    assert not (decide(first, second, QUICK, "it").promoted and decide(second, first, QUICK, "it").promoted)
    assert not decide(first, first, QUICK, "it").promoted


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_same_losses_always_get_the_same_decision(seed: int) -> None:
    assert decide(*losses(seed), QUICK, "it") == decide(*losses(seed), QUICK, "it")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 59), st.booleans(), st.sampled_from([float("nan"), float("inf"), float("-inf")]))
def test_a_loss_that_is_not_finite_is_refused_wherever_it_is(place: int, in_champion: bool, value: float) -> None:
    champion, challenger = losses(0, cases=60)
    (champion if in_champion else challenger)[place] = value

    with pytest.raises(InvalidInputError, match="not a finite number"):
        decide(champion, challenger, QUICK, "it")


@pytest.mark.parametrize("shapes", [((60,), (59,)), ((60, 1), (60, 1)), ((60,), (60, 1)), ((), ())])
def test_losses_that_are_not_paired_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(InvalidInputError, match="not paired"):
        decide(np.zeros(shapes[0]), np.zeros(shapes[1]), QUICK, "it")


@pytest.mark.parametrize(("cases", "promoted"), [(0, False), (29, False), (30, True)])
def test_too_few_cases_decide_nothing(cases: int, promoted: bool) -> None:
    decision = decide(np.ones(cases), np.zeros(cases), QUICK, "it")

    assert (decision.promoted, decision.cases) == (promoted, cases)
    assert ("too few" in decision.reason) is not promoted


def test_the_reason_tells_the_gain_its_bound_and_the_margin() -> None:
    decision = decide(np.ones(40), np.zeros(40), Policy(margin=0.25), "version 7")

    assert decision.reason == (
        "Mean gain over version 7 on 40 cases: 1.0000; its lower bound at 95% confidence, 1.0000, "
        "exceeds the margin 0.2500."
    )
