"""Measures reckoned by hand, and golden sets in the three forms."""

import json
from pathlib import Path

import numpy as np
import pytest

from cuvee.errors import IntegrityError, InvalidInputError
from rag_service.evaluation import golden, metrics
from rag_service.evaluation.golden import Case
from rag_service.evaluation.trial import halves
from rag_service.index.calibration import Calibration


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    assert metrics.ndcg(["x", "a", "y"], {"a"}) == pytest.approx(1 / np.log2(3))
    assert metrics.ndcg(["a", "b"], {"a", "b"}) == pytest.approx(1.0)
    assert metrics.ndcg(["x"] * 10 + ["a"], {"a"}) == 0.0


def test_an_answer_holds_a_gold_answer_by_whole_words_only() -> None:
    assert metrics.holds("It opens at 10 o'clock, on Sundays.", ["the Sundays"])
    assert not metrics.holds("It opens at 100.", ["10"])
    assert not metrics.holds("Anything", ["the"])


@pytest.mark.parametrize(
    ("sentence", "right"),
    [
        ("In hours of hard pressing monks built this press, 1756.", True),
        ("In hours of hard pressing monks built this press, 1911.", False),
        ("In hours of hard pressing monks built this press, Bert.", False),
        ("1911: hours of hard pressing, monks built this press.", False),
        ("Pressing took monks 9 hard hours.", True),
        ("The press was burnt, sold, forgotten in 1756.", False),
    ],
)
def test_a_sentence_is_supported_by_all_its_figures_and_names_and_most_of_its_words(sentence: str, right: bool) -> None:
    cited = "Ada: monks built this press in 9 hours of hard pressing, 1756."

    assert metrics.supported(sentence, cited) is right


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    assert metrics.auroc([0.9, 0.4], [0.5, 0.1]) == pytest.approx(3 / 4)
    assert np.isnan(metrics.auroc([], [0.5]))


def test_risk_is_that_of_the_surest_answers() -> None:
    curve = metrics.risk_coverage([0.2, 0.9, 0.5], [False, True, False])

    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 2 / 3])
    assert curve.threshold.tolist() == [0.9, 0.5, 0.2]


def test_squad_and_our_own_form_are_read(tmp_path: Path) -> None:
    asked = {"question": "Who?", "answers": [{"text": "Ada"}], "is_impossible": False}
    squad = {"data": [{"title": "The_press", "paragraphs": [{"context": "Ada has it.", "qas": [asked]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    own = [{"question": "Who?", "answerable": True, "document": "a/b/c.md", "answers": ["Ada"]}]
    (tmp_path / "own.json").write_text(json.dumps(own))

    found = golden.load(tmp_path / "squad.json")
    assert found.passages and found.passages[0].title == "The press"
    assert found.cases == (Case("Who?", True, frozenset(["The_press:0"]), ("Ada",), "The_press"),)
    assert golden.load(tmp_path / "own.json").cases[0].relevant == frozenset(["a/b/c.md"])


@pytest.mark.parametrize("content", ["[1]", "{}", "no json"])
def test_what_is_no_golden_set_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bad.json").write_text(content)

    with pytest.raises(InvalidInputError, match=r"bad\.json is no golden set"):
        golden.load(tmp_path / "bad.json")


def test_halves_share_no_topic() -> None:
    cases = [Case(f"q{n}", True, frozenset(), (), f"topic {n % 4}") for n in range(12)]
    first, second = halves(cases)

    assert {c.group for c in first} & {c.group for c in second} == set()
    assert len(first) == len(second) == 6


def test_weights_survive_the_manifest_and_unknown_ones_are_refused() -> None:
    changed = Calibration.of({"retrieval.dense": 0.5})

    assert changed.retrieval.dense == 0.5
    assert Calibration.of(changed.tuning()) == changed
    with pytest.raises(IntegrityError):
        Calibration.of({"retrieval.magic": 1.0})
