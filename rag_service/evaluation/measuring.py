"""Measuring a generation on a golden set: retrieval beside its plain rivals, answers, refusal, support, time."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rag_service.answers import refusal
from rag_service.answers.answerer import Answer, Answerer, Asked
from rag_service.evaluation import metrics
from rag_service.evaluation.golden import Case
from rag_service.index.calibration import Calibration
from rag_service.index.filters import AnyOf, Condition, Not
from rag_service.index.generation import Manifest, Scored
from rag_service.index.hybrid import Hit
from rag_service.index.rows import Chunk
from rag_service.index.search import Found, Retriever

DEPTH = 20
_RANK_CONSTANT = 60
SYSTEMS = ("hybrid", "dense", "bm25", "rrf")

NameOf = Callable[[Chunk], str]


def passage_name(chunk: Chunk) -> str:
    """What golden sets with passages of their own call a chunk."""
    return chunk.chunk_id


def document_name(chunk: Chunk) -> str:
    """What our own form of golden set calls the document of a chunk."""
    return f"{chunk.topic}/{chunk.segment}/{chunk.uri}"


@dataclass(frozen=True)
class Measured:
    """What one case gave."""

    case: Case
    ranked: dict[str, list[str]]
    """By system, names of what was found, best first."""
    chance: float
    """That the passages hold an answer, as the generation is calibrated."""
    chance_without: float | None
    """The same with the documents that hold the answer left out; None for a question that has none."""
    answer: str
    """As it would be given, whether or not it was refused; without citation marks."""
    refused: bool
    sentences: int
    supported: int
    """How many of these sentences the passages that they cite support."""
    search_ms: float
    answer_ms: float

    @property
    def right(self) -> bool:
        """Whether the answer holds a gold answer; where none is known, whether the best passage is a right one."""
        if not self.case.answerable:
            return False
        if not self.case.answers:
            return bool(set(self.ranked["hybrid"][:1]) & self.case.relevant)
        return metrics.holds(self.answer, self.case.answers)


@dataclass(frozen=True)
class Bench:
    """What is measured, and how golden names are had from chunks."""

    retriever: Retriever
    answerer: Answerer
    name_of: NameOf
    documents: Mapping[str, str]
    """Id of the document that each golden name is, or is in."""
    threshold: float
    """Chance of an answer below which it is refused."""
    top_k: int = 8

    @classmethod
    def of(cls, retriever: Retriever, answerer: Answerer, name_of: NameOf, threshold: float | None = None) -> "Bench":
        """Refuses below `threshold`; None: below that of the generation."""
        generation = retriever.generation
        chunks = (generation.chunk(int(row)) for row in generation.select(None).rows)
        documents = {name_of(chunk): chunk.document_id for chunk in chunks}
        own = generation.manifest.refusal_threshold
        return cls(retriever, answerer, name_of, documents, own if threshold is None else threshold)

    def tuned(self, calibration: Calibration, threshold: float | None = None) -> "Bench":
        """The same with other weights, and with another threshold where one is given."""
        refusing = self.threshold if threshold is None else threshold
        return replace(self, retriever=replace(self.retriever, tuned=calibration), threshold=refusing)

    def search(self, calibration: Calibration) -> Callable[[Case, int, bool], list[Hit]]:
        """The search that `tuning.tune` takes."""
        tuned = replace(self.retriever, tuned=calibration)

        def find(case: Case, top_k: int, without: bool) -> list[Hit]:
            vector = tuned.encoder.encode([case.question])[0]
            return tuned.ranked(case.question, vector, top_k, self._without(case) if without else None)

        return find

    def measure(self, cases: Iterable[Case]) -> Iterator[Measured]:
        for case in cases:
            yield self._measured(case)

    def _measured(self, case: Case) -> Measured:
        vector = self.retriever.encoder.encode([case.question])[0]
        started = time.perf_counter()
        hits = self.retriever.ranked(case.question, vector, DEPTH)
        searched = time.perf_counter()
        answer = replace(self.answerer, decide=_never).answer(self.retriever, Asked(case.question, self.top_k))
        ended = time.perf_counter()
        found = self.retriever.search(case.question, self.top_k)
        chance, without = _chance(case.question, found.hits), None
        if case.answerable:
            rest = self.retriever.search(case.question, self.top_k, self._without(case))
            without = _chance(case.question, rest.hits)
        ranked = {"hybrid": _named(hits, self.name_of), **self._rivals(case, vector)}
        text = " ".join(sentence.text for sentence in answer.sentences)
        return Measured(
            case=case,
            ranked=ranked,
            chance=chance,
            chance_without=without,
            answer=text,
            refused=chance < self.threshold,
            sentences=len(answer.sentences),
            supported=supported(answer),
            search_ms=(searched - started) * 1e3,
            answer_ms=(ended - searched) * 1e3,
        )

    def _rivals(self, case: Case, vector: Any) -> dict[str, list[str]]:
        generation = self.retriever.generation
        living = generation.select(None)
        dense = generation.dense(vector, 4 * DEPTH, living)
        worded = generation.lexical(case.question, 4 * DEPTH, living)
        fused = reciprocal_rank_fusion((dense, worded))
        found: dict[str, list[int]] = {"dense": dense.rows.tolist(), "bm25": worded.rows.tolist(), "rrf": fused}
        return {
            name: _distinct(self.name_of(generation.chunk(row)) for row in rows[: 2 * DEPTH])
            for name, rows in found.items()
        }

    def _without(self, case: Case) -> Condition | None:
        """Leaves out the documents that hold the answer."""
        holding = {self.documents[name] for name in case.relevant if name in self.documents}
        return Not(AnyOf("document", tuple(sorted(holding)))) if holding else None


def _never(found: Found, manifest: Manifest) -> None:
    """Answers whatever was found: answers and refusals are measured apart."""


def supported(answer: Answer) -> int:
    """How many sentences of the answer the passages that they cite support."""
    text_of = {source.number: f"{source.title} {source.text}" for source in answer.sources}
    cited = [(s.text, " ".join(text_of[number] for number in s.citations)) for s in answer.sentences]
    return sum(metrics.supported(*pair) for pair in cited)


def reciprocal_rank_fusion(found: Sequence[Scored]) -> list[int]:
    """Rows by the sum of 1 / (60 + rank) (Cormack, Clarke, Buettcher 2009)."""
    scores: dict[int, float] = {}
    for side in found:
        for rank, row in enumerate(side.rows.tolist(), 1):
            scores[row] = scores.get(row, 0.0) + 1 / (_RANK_CONSTANT + rank)
    return sorted(scores, key=lambda row: (-scores[row], row))


def _chance(question: str, hits: Sequence[Hit]) -> float:
    if not hits:
        return 0.0
    return refusal.probability(refusal.signals(question, hits), hits[0].query.calibration.refusal)


def _named(hits: Sequence[Hit], name_of: NameOf) -> list[str]:
    return _distinct(name_of(hit.chunk) for hit in hits)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))[:DEPTH]


def summary(measured: Sequence[Measured]) -> dict[str, float]:
    """Means over the cases, by name as they are logged."""
    answerable = [one for one in measured if one.case.answerable]
    with_gold = [one for one in answerable if one.case.answers]
    found: dict[str, float] = {"cases": len(measured), "answerable": len(answerable)}
    for system in SYSTEMS:
        ranked = [(one.ranked[system], one.case.relevant) for one in answerable]
        found[f"{system}.ndcg_10"] = _mean(metrics.ndcg(*pair) for pair in ranked)
        found[f"{system}.hit_1"] = _mean(metrics.recall(names, right, 1) > 0 for names, right in ranked)
        found[f"{system}.recall_10"] = _mean(metrics.recall(names, right, 10) for names, right in ranked)
        found[f"{system}.mrr"] = _mean(metrics.reciprocal_rank(*pair) for pair in ranked)
    found["answer.holds_gold"] = _mean(one.right for one in with_gold)
    found["answer.served_holds_gold"] = _mean(one.right and not one.refused for one in with_gold)
    found["answer.f1"] = _mean(metrics.f1(one.answer, one.case.answers) for one in with_gold)
    found["answer.exact_match"] = _mean(metrics.exact_match(one.answer, one.case.answers) for one in with_gold)
    sentences = sum(one.sentences for one in measured)
    found["answer.supported"] = sum(one.supported for one in measured) / sentences if sentences else float("nan")
    sure = [one.chance for one in answerable]
    off_corpus = [one.chance_without for one in answerable if one.chance_without is not None]
    on_topic = [one.chance for one in measured if not one.case.answerable]
    found["refusal.auroc_off_corpus"] = metrics.auroc(sure, off_corpus)
    found["refusal.auroc_unanswerable"] = metrics.auroc(sure, on_topic)
    found["refusal.answerable_refused"] = _mean(one.refused for one in answerable)
    found["refusal.unanswerable_refused"] = _mean(one.refused for one in measured if not one.case.answerable)
    for name in ("search_ms", "answer_ms"):
        times = [getattr(one, name) for one in measured]
        found[f"{name}.p50"], found[f"{name}.p95"] = (float(np.percentile(times, share)) for share in (50, 95))
    return {name: value for name, value in found.items() if not np.isnan(value)}


def _mean(values: Iterable[float | bool]) -> float:
    every = [float(value) for value in values]
    return float(np.mean(every)) if every else float("nan")
