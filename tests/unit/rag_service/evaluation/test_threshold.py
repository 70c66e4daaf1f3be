"""The refusal threshold on the curve of a golden set, and what a trial makes of refusals, reckoned by hand."""

import numpy as np
import pytest

from rag_service.evaluation import report, threshold
from rag_service.evaluation.golden import NO_GROUP, Case
from rag_service.evaluation.measuring import SYSTEMS, Measured, summary
from rag_service.evaluation.trial import halves, losses


def answerable(chance: float, without: float, right: bool = True, refused: bool = False) -> Measured:
    case = Case("q", True, frozenset(["p"]), ("gold",), "topic")
    return measured(case, chance, without, "gold" if right else "dross", refused)


def unanswerable(chance: float, refused: bool = False) -> Measured:
    return measured(Case("q", False, frozenset(), (), "topic"), chance, None, "", refused)


def measured(case: Case, chance: float, without: float | None, answer: str, refused: bool) -> Measured:
    return Measured(case, {system: ["p"] for system in SYSTEMS}, chance, without, answer, refused, 2, 1, 1.0, 1.0)


CASES = [
    answerable(0.9, 0.10),
    answerable(0.7, 0.20),
    answerable(0.4, 0.05),
    answerable(0.3, 0.05, right=False),
    unanswerable(0.5),
    unanswerable(0.1),
]


def test_a_point_of_the_curve_counts_every_question_of_the_three_kinds() -> None:
    found = threshold.point(CASES, 0.35)

    # Answered: 0.9, 0.7 and 0.4, which are right, and 0.5, which has no answer; of ten questions.
    assert (found.kept, found.coverage, found.risk) == pytest.approx((3 / 4, 4 / 10, 1 / 4))
    curve = threshold.curve(CASES)
    assert curve.risk[np.searchsorted(curve.coverage, 0.4 - 1e-9)] == pytest.approx(1 / 4)
    assert curve.coverage[-1] == 1.0 and curve.risk[-1] == pytest.approx(7 / 10)


def test_support_is_the_share_of_all_sentences_that_were_drafted() -> None:
    assert summary(CASES)["answer.supported"] == 6 / 12


@pytest.mark.parametrize(("least_kept", "chosen"), [(1.0, 0.3), (0.75, 0.4), (0.5, 0.7), (0.01, 0.7)])
def test_of_the_thresholds_that_answer_enough_the_one_with_the_least_risk_is_chosen(
    least_kept: float, chosen: float
) -> None:
    # Nothing is wrong from 0.7 on, so 0.9 would only answer less.
    found = threshold.choose(CASES, least_kept)

    assert found.threshold == pytest.approx(chosen)
    assert found.kept >= least_kept


def test_what_lies_on_the_threshold_chosen_is_answered() -> None:
    cases = [answerable(0.123456, 0.1), answerable(0.9, 0.01)]

    found = threshold.choose(cases, 1.0)

    assert (found.kept, found.risk) == (1.0, 0.0)
    assert 0.1 < found.threshold <= 0.123456


def test_a_trial_loses_by_refusing_a_right_answer_and_by_answering_what_has_none() -> None:
    given, refused = answerable(0.9, 0.1), answerable(0.9, 0.1, refused=True)
    # A right passage in the first place, an error of chance of 0.1 with it and of 0.1 without it, and what was done.
    assert losses([given, refused], 0.5) == pytest.approx([(0.01 + 0.01 / 2) / 4, (1 + 0.01 + 0.01 / 2) / 4])
    assert losses([given], 0.05) == pytest.approx([(0.01 + (0.01 + 1) / 2) / 4])
    assert losses([unanswerable(0.2)], 0.5) == pytest.approx([0.04 / 2])
    assert losses([unanswerable(0.2)], 0.1) == pytest.approx([(0.04 + 1) / 2])


def test_without_gold_answers_a_right_passage_in_the_first_place_is_right() -> None:
    case = Case("q", True, frozenset(["p"]), (), "corpus")
    assert measured(case, 0.9, 0.1, "any", False).right
    assert not measured(Case("q", True, frozenset(["x"]), (), "corpus"), 0.9, 0.1, "any", False).right


def test_questions_about_no_document_are_in_both_halves() -> None:
    cases = [Case(f"q{n}", n % 2 == 0, frozenset(), (), ("cellar", NO_GROUP, "visits")[n % 3]) for n in range(60)]

    groups = [{case.group for case in half} for half in halves(cases)]

    assert groups == [{"cellar", NO_GROUP}, {"visits", NO_GROUP}]


def test_the_plot_marks_the_threshold() -> None:
    (axes,) = report.risk_coverage_figure(CASES, threshold.point(CASES, 0.35)).axes

    marked = axes.lines[-1]
    assert (list(marked.get_xdata()), list(marked.get_ydata())) == ([0.4], [0.25])
    assert "0.350: 75%" in marked.get_label()
