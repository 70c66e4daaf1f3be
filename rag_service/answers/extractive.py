"""The default answer model: the statements of the passages that answer best, word for word."""

import math
import re
from collections.abc import Sequence
from itertools import accumulate

from rag_service.answers import cues
from rag_service.answers.candidates import Candidate, candidates
from rag_service.answers.evidence import Quotation, Span
from rag_service.answers.omissions import CONDITION_OR_EXCEPTION
from rag_service.answers.support import stands_alone
from rag_service.answers.words import ELLIPSIS, STOP_WORDS, squeezed, unmarked_cut
from rag_service.documents.cleaning import CELL
from rag_service.index.hybrid import Hit
from rag_service.index.lexical import stems

MOST_SENTENCES = 5
MOST_WORDS = 60
_LEAST_WORDS = 5
_NEAR_DUPLICATE = 0.8
_WIDEST_GAP = 4.0
"""A statement that scores so much less than the best one is not worth reading."""
_CONDITIONS = "|".join(sorted(CONDITION_OR_EXCEPTION))
_CLAUSE = re.compile(
    r"(?<=[,;:\u2013\u2014])\s+"
    rf"|\s+(?=(?:and|which|who|whose|where|because|after|before|{_CONDITIONS})\s)"
)
_CONDITION = re.compile(rf"(?:{_CONDITIONS})\b", re.I)
_WHOLE = 0.07
"""What it adds to a cut that it begins, and that it ends, where a clause does."""


class ExtractiveModel:
    """Takes statements in the order of their scores until the answer is long enough."""

    name = "extractive-5"

    def __init__(self, most_words: int = MOST_WORDS) -> None:
        self._most_words = most_words

    def quotations(self, question: str, hits: Sequence[Hit]) -> list[Quotation]:
        """At most five statements and `most_words` words, in reading order; of a longer one, the part that answers."""
        found = candidates(question, hits)
        chosen: list[tuple[Candidate, str]] = []
        room, least = self._most_words, -math.inf
        while found and len(chosen) < MOST_SENTENCES and room >= _LEAST_WORDS:
            best = max(found, key=lambda one: _worth(one, hits, room, further=bool(chosen)))
            found.remove(best)
            if any(_alike(best, other) for other, _ in chosen) or (chosen and best.score < least):
                continue
            text = shortened(question, best.text, room)
            if text is None:
                continue
            least = max(least, best.score - _WIDEST_GAP)
            chosen.append((best, text))
            room -= len(text.split())
        in_order = sorted(chosen, key=lambda pair: (pair[0].rank, pair[0].position))
        return [Quotation(text, one.rank, Span(one.statement.start, one.statement.end)) for one, text in in_order]


def _worth(candidate: Candidate, hits: Sequence[Hit], room: int, further: bool) -> float:
    per_word = hits[candidate.rank].query.calibration.answers.per_word if further else 0.0
    return candidate.score - per_word * min(len(candidate.text.split()), room)


def shortened(question: str, text: str, most: int) -> str | None:
    """`text`, or the run of at most `most` of its words that begins or ends at a clause and tells most.

    An ellipsis stands where it was cut. None where every such run means something else by itself. Words of the question
    tell what it is about; words of the kind that it asks for, and other words that carry content, tell something new.
    """
    words = text.split()
    if len(words) <= most or CELL in text:
        return text
    wanted = set(stems(question))
    kind = cues.kind_of(question)
    asked = [wanted & set(stems(word)) for word in words]
    new = [0.0 if known else _news(kind, word) for word, known in zip(words, asked, strict=True)]
    edges = _edges(text)

    def told(run: tuple[int, int]) -> float:
        whole = _WHOLE * len(edges & set(run))
        return 1.2 * len(set().union(*asked[slice(*run)])) + sum(new[slice(*run)]) + whole

    runs = sorted(_windows(words, edges, _conditions(text), most), key=told, reverse=True)
    parts = (_marked(words, run) for run in runs)
    return next((part for part in parts if stands_alone(unmarked_cut(part), text)), None)


def _edges(text: str) -> set[int]:
    """How many words stand before each clause, and in all."""
    return {0, *accumulate(len(clause.split()) for clause in _CLAUSE.split(text))}


def _conditions(text: str) -> set[int]:
    """How many words stand before each place within a condition or exception, which goes on to the next comma."""
    found: set[int] = set()
    within, start = False, 0
    for clause in _CLAUSE.split(text):
        opens = bool(_CONDITION.match(clause))
        end = start + len(clause.split())
        if opens or within:
            found.update(range(start + opens, end))
        within, start = (opens or within) and clause[-1] not in ",;:\u2013\u2014", end
    return found


def _windows(words: Sequence[str], edges: set[int], conditions: set[int], most: int) -> list[tuple[int, int]]:
    """Runs of words that begin or end where a clause does, in order; none begins or ends within a condition."""
    runs = {(edge, min(len(words), edge + most)) for edge in edges} | {(max(0, edge - most), edge) for edge in edges}
    runs |= {(start, end) for start in edges for end in edges if end - start <= most}
    trimmed = {(start, _trimmed(words, edges, end)) for start, end in runs if not conditions & {start, end}}
    return sorted(run for run in trimmed if run[1] - run[0] >= _LEAST_WORDS)


def _trimmed(words: Sequence[str], edges: set[int], end: int) -> int:
    """The end of a run without the function words that it would break off at."""
    while end not in edges and words[end - 1].casefold() in STOP_WORDS:
        end -= 1
    return end


def _marked(words: Sequence[str], run: tuple[int, int]) -> str:
    start, end = run
    text = " ".join(words[start:end])
    if end < len(words):
        text = text.rstrip(",;: \u2013\u2014") + ELLIPSIS
    return ELLIPSIS + text if start else text


def _news(kind: cues.Kind, word: str) -> float:
    """What a word that is not the question's adds; set by trial on SQuAD 2.0's development set."""
    figure, name = cues.has_figure(word), cues.is_new_name(word.strip("(\"'"))
    if figure and kind in ("when", "number"):
        return 1.0
    if name and kind in ("who", "where"):
        return 0.6
    if figure or name:
        return 0.09
    return 0.06 if stems(word) else 0.0


def _alike(one: Candidate, other: Candidate) -> bool:
    """Nearly the same words (Jaccard), or one within the other: what overlapping chunks yield."""
    if not one.terms or not other.terms:
        return not one.terms and not other.terms
    share = len(one.terms & other.terms) / len(one.terms | other.terms)
    return share >= _NEAR_DUPLICATE or squeezed(one.text) in squeezed(other.text)
