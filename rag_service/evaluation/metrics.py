"""Measures of retrieval, answers, support and refusal, per case, so that they can be compared in pairs."""

import re
import string
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "\u2013\u2014\u2019\u2018\u201c\u201d\u2026", " "))
_WORD = re.compile(r"[\w'\u2019]+")
_SMALL_WORDS = frozenset(
    "a an and as at be been by for from has have in is it its of on or that the this to was were with".split()  # noqa: SIM905
)
_LEAST_WORDS_SAID = 0.8


def ndcg(ranked: Sequence[str], relevant: Collection[str], depth: int = 10) -> float:
    """Normalised discounted cumulative gain with binary relevance (Järvelin and Kekäläinen 2002)."""
    gains = [1 / np.log2(rank + 2) for rank, found in enumerate(ranked[:depth]) if found in relevant]
    ideal = sum(1 / np.log2(rank + 2) for rank in range(min(depth, len(relevant))))
    return float(sum(gains) / ideal) if ideal else 0.0


def reciprocal_rank(ranked: Sequence[str], relevant: Collection[str]) -> float:
    return next((1 / rank for rank, found in enumerate(ranked, 1) if found in relevant), 0.0)


def recall(ranked: Sequence[str], relevant: Collection[str], depth: int) -> float:
    return len(set(ranked[:depth]) & set(relevant)) / len(relevant) if relevant else 0.0


def normalised(text: str) -> str:
    """Without case, punctuation and articles: SQuAD's normalisation (Rajpurkar et al. 2016)."""
    return " ".join(_ARTICLES.sub(" ", text.casefold().translate(_PUNCTUATION)).split())


def holds(answer: str, gold: Sequence[str]) -> bool:
    """Whether the answer has one of the gold answers in it, whole words only."""
    text = f" {normalised(answer)} "
    return any(f" {normalised(one)} " in text for one in gold if normalised(one))


def exact_match(answer: str, gold: Sequence[str]) -> float:
    return float(any(normalised(answer) == normalised(one) for one in gold))


def f1(answer: str, gold: Sequence[str]) -> float:
    """Best overlap of words with one of the gold answers (Rajpurkar et al. 2016)."""
    return max((_f1(normalised(answer).split(), normalised(one).split()) for one in gold), default=0.0)


def _f1(found: list[str], wanted: list[str]) -> float:
    same = sum((Counter(found) & Counter(wanted)).values())
    return 2 * same / (len(found) + len(wanted)) if same else 0.0


def supported(sentence: str, cited: str) -> bool:
    """Whether the cited passages hold all figures and names of a sentence, and four fifths of its other words.

    Reckoned apart from the code that grounds answers. A capital at the start of the sentence makes no name.
    """
    known = {word.casefold() for word in _WORD.findall(cited)}
    said = [(at, word) for at, word in enumerate(_WORD.findall(sentence)) if word.casefold() not in _SMALL_WORDS]
    exact = {word.casefold() for at, word in said if word[0].isdigit() or (at and word[0].isupper())}
    return exact <= known and sum(word.casefold() in known for _, word in said) >= _LEAST_WORDS_SAID * len(said)


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative one (Mann and Whitney 1947); NaN without both."""
    if not len(positive) or not len(negative):
        return float("nan")
    statistic = stats.mannwhitneyu(positive, negative, alternative="two-sided").statistic
    return float(statistic / (len(positive) * len(negative)))


@dataclass(frozen=True)
class RiskCoverage:
    """Share of wrong answers among those given, when the surest so many are given (El-Yaniv and Wiener 2010)."""

    coverage: NDArray[np.float64]
    """Ascending, (0, 1]."""
    risk: NDArray[np.float64]
    threshold: NDArray[np.float64]
    """Least confidence of those given."""


def risk_coverage(confidence: Sequence[float], right: Sequence[bool]) -> RiskCoverage:
    """The curve over all questions, also those that have no answer, for which any answer is wrong."""
    order = np.argsort(-np.asarray(confidence), kind="stable")
    wrong = 1.0 - np.asarray(right, dtype=np.float64)[order]
    given = np.arange(1, len(wrong) + 1)
    return RiskCoverage(given / max(len(wrong), 1), np.cumsum(wrong) / given, np.asarray(confidence)[order])
