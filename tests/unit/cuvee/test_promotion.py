"""The promotion test itself: how often it errs, what it must refuse, and what may not change its mind."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import InvalidInputError
from cuvee.promotion import Checks, Decision, Policy, decide

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


def mask(cases: int, share: float) -> np.ndarray:
    """The first `share` of so many cases."""
    return np.arange(cases) < share * cases


def drifted(seed: int, cases: int = 600, old: float = 0.0, recent: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """As `losses`, with a true gain on the last tenth of the cases and another on the rest."""
    champion, challenger = losses(seed, cases)
    return champion + np.where(mask(cases, 0.9), old, recent), challenger


@settings(max_examples=8, deadline=None, print_blob=True)
@given(seed=st.integers(0, 10**6), margin=st.floats(0.0, 0.1), recent=st.sampled_from([0.0, 0.1, 0.5]))
def test_with_no_true_difference_at_most_the_stated_share_is_promoted_also_with_a_second_question(
    seed: int, margin: float, recent: float
) -> None:
    policy, trials = Policy(resamples=200, margin=margin), 250
    checks = Checks(recent=~mask(150, 1 - recent)) if recent else Checks()

    promoted = sum(decide(*losses(seed + i), policy, "it", checks).promoted for i in range(trials))

    # Four standard deviations: hypothesis looks for the worst seed.
    stated = trials * 0.05
    assert promoted <= stated + 4 * (stated * 0.95) ** 0.5


@settings(max_examples=8, deadline=None, print_blob=True)
@given(seed=st.integers(0, 10**6), margin=st.floats(0.2, 0.5))
def test_a_true_gain_of_twice_the_margin_is_promoted_nearly_always(seed: int, margin: float) -> None:
    # The margin is at least five standard errors of the mean gain of so many cases.
    policy, trials, cases = Policy(resamples=200, margin=margin), 20, 1_500
    checks = Checks(slices={"odd": np.arange(cases) % 2 == 1}, recent=~mask(cases, 0.9))

    promoted = sum(decide(*losses(seed + i, cases, 2 * margin), policy, "it", checks).promoted for i in range(trials))

    assert promoted >= 0.95 * trials


def test_a_gain_on_recent_cases_alone_is_proven_on_these_alone() -> None:
    champion, challenger = drifted(0, old=-0.5, recent=2.0)
    recent = ~mask(600, 0.9)

    decision = decide(champion, challenger, QUICK, "it", Checks(recent=recent))

    assert (decision.promoted, decision.cases) == (True, 60)
    assert "on 60 recent cases" in decision.reason and "at 97.5% confidence" in decision.reason
    assert not decide(champion, challenger, QUICK, "it").promoted


def test_a_gain_on_the_past_that_is_a_loss_on_recent_cases_is_kept_out() -> None:
    champion, challenger = drifted(0, old=0.5, recent=-1.0)

    decision = decide(champion, challenger, QUICK, "it", Checks(recent=~mask(600, 0.9)))

    assert not decision.promoted
    assert "But it is worse on the slice recent: on 60 cases" in decision.reason


def test_a_slice_that_is_proven_to_lose_more_than_is_tolerated_keeps_the_challenger_out() -> None:
    champion, challenger = losses(0, cases=600, gain=0.5)
    champion[:60] -= 1.0
    slices = {"the first": np.arange(600) < 60, "too few": np.arange(600) < 5}

    kept_out = decide(champion, challenger, QUICK, "it", Checks(slices=slices))
    tolerated = decide(champion, challenger, Policy(resamples=200, slice_tolerance=1.0), "it", Checks(slices=slices))

    assert not kept_out.promoted
    assert kept_out.reason.endswith("less than the -0.0000 tolerated.")
    assert [(guard.name, guard.cases, guard.holds) for guard in kept_out.guards] == [("the first", 60, False)]
    assert tolerated.promoted


def test_what_recent_cases_cover_is_judged_by_them_and_the_rest_by_the_past() -> None:
    # The world of the slice "red" changed, of "white" nothing new is known.
    cases = 600
    red, recent = mask(cases, 0.5), mask(cases, 0.1)
    champion, challenger = losses(0, cases)
    champion[recent] += 2.0
    champion[red & ~recent] -= 1.0
    forgets_white = champion.copy()
    forgets_white[~red] -= 1.0
    checks = Checks(slices={"red": red, "white": ~red}, recent=recent)

    assert decide(champion, challenger, QUICK, "it", checks).promoted
    refused = decide(forgets_white, challenger, QUICK, "it", checks)
    assert [guard.name for guard in refused.guards if not guard.holds] == ["white"]


def test_a_challenger_that_is_too_slow_is_kept_out() -> None:
    policy = Policy(resamples=200, latency_limit_ms=30)

    slow = decide(*losses(0, gain=0.5), policy, "it", Checks(latency_ms=31.0))
    quick = decide(*losses(0, gain=0.5), policy, "it", Checks(latency_ms=29.0))

    assert (slow.promoted, quick.promoted) == (False, True)
    assert "But one case takes 31.0 ms, more than the 30.0 ms allowed." in slow.reason


def test_a_decision_survives_being_written_down_and_rows_older_than_guards_are_read() -> None:
    decision = decide(*losses(0, gain=0.5), QUICK, "it", Checks(slices={"all": np.ones(150, bool)}, latency_ms=1.0))
    older = {name: value for name, value in asdict(decision).items() if name != "guards"}

    assert Decision.from_json(json.loads(json.dumps(asdict(decision)))) == decision
    assert Decision.from_json(older) == replace(decision, guards=())


@pytest.mark.parametrize(("loss", "promoted"), [(0.0, True), (0.01, True), (0.03, False)])
def test_a_margin_below_zero_lets_in_what_is_hardly_worse(loss: float, promoted: bool) -> None:
    champion = np.full(60, 0.4)
    assert decide(champion, champion + loss, Policy(margin=-0.02), "it").promoted is promoted
