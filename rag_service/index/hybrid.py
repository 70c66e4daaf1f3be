"""Hybrid search: nearest passages and passages with the question's words, scored by five signals on one scale.

The signals are absolute (cosines, and shares of what the question's words could give at most), so their weighted sum
means the same for every question: a fixed share of it can be asked of an answer. Weights: `calibration.py`. Fusion by a
convex combination of scores and not of ranks: Bruch, Gai, Ingber 2023, "An Analysis of Fusion Functions for Hybrid
Retrieval".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, islice, pairwise
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from rag_service.index.calibration import Calibration, RetrievalWeights
from rag_service.index.filters import Condition
from rag_service.index.generation import Chunk, Scored, Selection
from rag_service.index.lexical import stems
from rag_service.index.recency import ALWAYS_FRESH, Recency
from rag_service.index.rows import Outline

CANDIDATES = 60
"""Taken from each side."""
_FINE_CANDIDATES = 24
"""Best by the two cheap signals; only these are read, unless too many say the same. Of 1,299 questions 15 gave nDCG@10
0.919, 24 and 30 0.920.
"""
_NEAR_DUPLICATE = 0.9

Vectors = npt.NDArray[np.float32]

_beside = ThreadPoolExecutor(thread_name_prefix="lexical")
"""Looks for words while the asking thread looks for vectors; neither holds the interpreter's lock."""


class Searchable(Protocol):
    """What hybrid search needs of a generation."""

    def select(self, where: Condition | None) -> Selection: ...
    def dense(self, vector: Vectors, count: int, selection: Selection) -> Scored: ...
    def lexical(self, query: str, count: int, selection: Selection) -> Scored: ...
    def lexical_of(self, query: str, rows: npt.NDArray[np.int64]) -> Vectors: ...
    def rarity(self, stems: Sequence[str]) -> dict[str, float]: ...
    def vectors(self, rows: npt.NDArray[np.int64]) -> Vectors: ...
    def statement_vectors(self, rows: npt.NDArray[np.int64]) -> tuple[Vectors, npt.NDArray[np.int64]]: ...
    def outline(self, row: int) -> Outline: ...
    def chunk(self, row: int) -> Chunk: ...


@dataclass(frozen=True)
class Query:
    """A question as it is searched for."""

    text: str
    vector: Vectors
    """Unit vector, shape (dimension,)."""
    rarity: Mapping[str, float]
    """Inverse document frequency of each of its stems."""
    phrases: frozenset[tuple[str, str]]
    """Its pairs of neighbouring stems."""
    calibration: Calibration

    @cached_property
    def stems(self) -> frozenset[str]:
        return frozenset(self.rarity)

    @cached_property
    def _shares(self) -> dict[frozenset[str], float]:
        """Asked for again and again: most statements have none of the words, or the same one or two."""
        return {}

    def share(self, found: frozenset[str]) -> float:
        """How much of what the question's words tell is told by these of its stems; 0 to 1."""
        share = self._shares.get(found)
        if share is None:
            whole = sum(self.rarity.values())
            # Summed in one order, so that the same question gives the same figures in every process.
            told = sum(weight for stem, weight in self.rarity.items() if stem in found)
            share = self._shares[found] = told / whole if whole else 0.0
        return share


@dataclass(frozen=True)
class Match:
    """How well one statement matches the question."""

    similarity: float
    """Product of the question's vector and the statement's."""
    coverage: float
    """Share of the question's words, by rarity, that it has."""
    titled_coverage: float
    """The same with the title's words."""
    context_coverage: float
    """The same with the title's words and those of the statement before it."""


class Signals(NamedTuple):
    """What a passage's score is made of; `RetrievalWeights` says what each one is."""

    dense: float
    statement: float
    lexical: float
    coverage: float
    phrases: float


@dataclass(frozen=True)
class Hit:
    """A passage that was found."""

    chunk: Chunk
    score: float
    """Weighted sum of the signals, about 0 to 1."""
    signals: Signals
    matches: tuple[Match, ...]
    """One per statement of the chunk."""
    query: Query = field(compare=False, repr=False)
    reranked: float | None = None
    """What a reranker gave it, 0 to 1, where one is set."""
    freshness: float = 1.0
    """What its age leaves of its weight, 0.5 to 1."""

    @property
    def order(self) -> float:
        """By which passages are ordered, most first."""
        return self.freshness * (self.score if self.reranked is None else self.reranked)

    @property
    def statement_cosines(self) -> tuple[float, ...]:
        return tuple(match.similarity for match in self.matches)


def understood(generation: Searchable, text: str, vector: Vectors, calibration: Calibration) -> Query:
    words = stems(text)
    return Query(text, vector, generation.rarity(words), frozenset(pairwise(words)), calibration)


def search(
    generation: Searchable,
    query: Query,
    top_k: int,
    where: Condition | None = None,
    recency: Recency = ALWAYS_FRESH,
) -> list[Hit]:
    """The `top_k` passages that score highest, weighted by recency, among those that match `where`, best first,
    near-duplicates once.
    """
    selection = generation.select(where)
    rows, cosines, lexical = _candidates(generation, query, max(CANDIDATES, top_k), selection)
    coarse = cosines + lexical
    # Where age counts, a fresh passage may be better than many old ones that say much the same.
    depth = max(_FINE_CANDIDATES, top_k, len(rows) if recency.half_life_days else 0)
    order = np.lexsort((rows, -coarse))
    in_turn = (order[start : start + depth] for start in range(0, len(order), depth))
    ranked = (_ranked(generation, query, rows[at], cosines[at], lexical[at], recency) for at in in_turn)
    # Lazy: further rows are read only where near-duplicates leave too few, and one of those may then be better.
    found = islice(_distinct(chain.from_iterable(ranked)), top_k)
    return sorted(found, key=lambda hit: -hit.order)


def _candidates(
    generation: Searchable, query: Query, count: int, selection: Selection
) -> tuple[npt.NDArray[np.int64], Vectors, Vectors]:
    """Rows that either side finds, with both signals of each: exact, whichever side found them."""
    words = _beside.submit(generation.lexical, query.text, count, selection)
    near, worded = generation.dense(query.vector, count, selection), words.result()
    rows = np.union1d(near.rows, worded.rows)
    cosines = _completed(rows, near, lambda missing: generation.vectors(missing) @ query.vector)
    bm25 = _completed(rows, worded, lambda missing: generation.lexical_of(query.text, missing))
    whole = sum(query.rarity.values())
    return rows, cosines, bm25 / whole if whole else np.zeros_like(bm25)


def _completed(rows: npt.NDArray[np.int64], known: Scored, score: "_Score") -> Vectors:
    scores = np.empty(len(rows), dtype=np.float32)
    places = np.searchsorted(rows, known.rows)
    missing = np.ones(len(rows), dtype=np.bool_)
    missing[places] = False
    scores[places] = known.scores
    if missing.any():
        scores[missing] = score(rows[missing])
    return scores


class _Score(Protocol):
    def __call__(self, rows: npt.NDArray[np.int64], /) -> Vectors: ...


def _ranked(
    generation: Searchable,
    query: Query,
    rows: npt.NDArray[np.int64],
    cosines: Vectors,
    lexical: Vectors,
    recency: Recency,
) -> Iterator[Hit]:
    """These rows, best first; each is read whole when it is asked for."""
    vectors, starts = generation.statement_vectors(rows)
    similarities = (vectors @ query.vector).tolist()
    found = []
    for place, row in enumerate(rows.tolist()):
        outline = generation.outline(row)
        matches, phrases = matched(
            query, outline.title, outline.statements, similarities[starts[place] : starts[place + 1]]
        )
        cosine = float(cosines[place])
        signals = Signals(
            dense=cosine,
            # A passage without statements (only headings) is judged as one statement that says what it says.
            statement=max((match.similarity for match in matches), default=cosine),
            lexical=float(lexical[place]),
            coverage=max((match.titled_coverage for match in matches), default=0.0),
            phrases=phrases,
        )
        score = _fused(query.calibration.retrieval, signals)
        freshness = recency.freshness(generation.chunk(row)) if recency.half_life_days else 1.0
        found.append((-freshness * score, outline.chunk_id, row, score, signals, matches, freshness))
    for *_, row, score, signals, matches, freshness in sorted(found):
        yield Hit(generation.chunk(row), score, signals, matches, query, freshness=freshness)


def matched(
    query: Query, title: str, statements: Sequence[str], similarities: Sequence[float]
) -> tuple[tuple[Match, ...], float]:
    """How each statement of a passage matches, and the share of the question's phrases that the passage has."""
    titled = query.stems.intersection(stems(title))
    before: frozenset[str] = frozenset()
    phrases: frozenset[tuple[str, str]] = frozenset()
    matches = []
    for statement, similarity in zip(statements, similarities, strict=True):
        words = stems(statement)
        here = query.stems.intersection(words)
        if here:
            phrases |= query.phrases.intersection(pairwise(words))
        shares = [query.share(found) for found in (here, here | titled, here | titled | before)]
        matches.append(Match(similarity, *shares))
        before = here
    return tuple(matches), len(phrases) / len(query.phrases) if query.phrases else 0.0


def _fused(weights: RetrievalWeights, signals: Signals) -> float:
    return float(sum(getattr(weights, name) * value for name, value in signals._asdict().items()))


def _distinct(hits: Iterable[Hit]) -> Iterator[Hit]:
    kept: list[tuple[str, frozenset[str]]] = []
    for hit in hits:
        text, words = hit.chunk.text, frozenset(stems(hit.chunk.text))
        # Scripts without blanks have no stems: there only the same text says the same.
        if not any(_alike(words, others) if words or others else text == other for other, others in kept):
            kept.append((text, words))
            yield hit


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _NEAR_DUPLICATE * len(one | other)
