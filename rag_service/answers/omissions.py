"""What a claim leaves out of its evidence: words without which the rest says something else. English.

"Ada's father built the press" says nothing of what Ada built, "children under 12 enter free" nothing of all children.
Strict on purpose, as `support` is: by its place alone a word that counts cannot be told from many a harmless one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import NamedTuple

from rag_service.answers.quantities import quantities
from rag_service.answers.words import STOP_WORDS, words

Content = Callable[[str], Sequence[str]]
"""Content words of a text, in order."""

_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W_]+(?:['\u2019][^\W_]+)*['\u2019]?|[;:,()|\u2013\u2014]")
_POSSESSIVE = re.compile(r"(?:['\u2019]s|s['\u2019])$", re.I)
_CONDITIONAL = frozenset(
    ("if", "when", "whenever", "once", "unless", "until", "till", "while", "provided", "providing")
)
_CONDITIONAL_PAIRS = frozenset((("as", "long"), ("so", "long"), ("in", "case")))
_CONCESSIVE = frozenset(("but", "although", "though", "whereas", "except"))
_BEFORE_AFTER = frozenset(("before", "after"))
CONDITION_OR_EXCEPTION = _CONDITIONAL | _CONCESSIVE
_OPENS_CLAUSE = CONDITION_OR_EXCEPTION | _BEFORE_AFTER
_SAYS_WHEN = _CONDITIONAL | _BEFORE_AFTER | {"as", "above", "below", "over", "under", "upon", "where"}
_AUXILIARY = frozenset(
    ("is", "are", "was", "were", "has", "have", "had", "does", "do", "did", "will", "can", "may", "must")
)
_PREPOSITIONS = frozenset(
    ("of", "to", "in", "on", "at", "by", "for", "from", "with", "under", "over", "above", "below", "beside", "between")
)
_GOVERNS = frozenset(("of", "that", "to", "whether"))
_NARROWS = _PREPOSITIONS | {"without", "within", "aged", "who", "that", "which", "whose", "where"}
_ARTICLES = frozenset(("the", "a", "an"))
_OPENS_ANOTHER = _PREPOSITIONS | _BEFORE_AFTER | _CONDITIONAL | _ARTICLES | {"and", "or", "every", "each"}
_SOME = frozenset(("some", "few", "most", "many", "any", "none", "half", "part", "one"))
_UNREAL = re.compile(
    r"den(?:y|ie[sd]|ial)|refus|reject|withdr|cancel|revok|repeal|postpon|abandon|overturn|plan(?:s|ned)?$|intend|propos"
    r"|attempt|tr(?:y|ie[sd])$|fail|claim|alleg|pretend|doubt|rumour|myth|suppos|believ|want|wish|urg(?:e[sd]?|ing)$|ask"
    r"|demand|advis|recommend|expect|hop(?:e[sd]?|ing)$",
    re.I,
)
_FRAGMENT_WORDS = 3
_MARKS = ";:,()|\u2013\u2014"
_TO = re.compile(r"\s*(?:to|or|until|[-\u2013\u2014/])\s*\Z", re.I)
_AND, _BETWEEN = re.compile(r"\s*and\s*\Z", re.I), re.compile(r"\bbetween\s*\Z", re.I)


class _Token(NamedTuple):
    """A word or mark of the evidence, in lower case."""

    text: str
    number: str | None
    """Of the quantity that it is a part of."""
    tells: bool
    """Whether it is more than a function word or mark."""


class _Word(NamedTuple):
    """A token of the evidence beside a claim."""

    text: str
    number: str | None
    tells: bool
    kept: bool
    """Whether the claim has it, in whatever form."""

    @property
    def lost(self) -> bool:
        return self.tells and not self.kept


def drops_limit(claim: str, evidence: str, bounded: frozenset[str], content: Content) -> bool:
    """Whether the claim leaves out of the evidence a condition, an end of a range, a bound, or that it is no fact.

    Args:
        claim: in words of the evidence, or others for the same.
        evidence: one sentence or table row.
        bounded: the numbers of the evidence that are a least or a most.
        content: gives the content words of a text, alike for all inflections and synonyms.
    """
    read = _read(claim, evidence, content)
    said = {word.casefold() for word in words(claim)}
    return (
        _halves_a_range(claim, evidence)
        or any(_drops_condition(part, said) for part in _parts(read, ";|"))
        or any(_drops_word(part, bounded) for part in _parts(read, _MARKS))
        or _drops_word(list(takewhile(lambda one: one.text not in _MARKS, read)), frozenset())
    )


def changes_subject(claim: str, evidence: str, content: Content) -> bool:
    """Whether the claim leaves out what its words hang on in the evidence, or which of several they are about.

    Args: as for `drops_limit`.
    """
    said = len(words(claim))
    fragment = said < _FRAGMENT_WORDS or (said == _FRAGMENT_WORDS and bool(quantities(claim)))
    parts = _parts(_read(claim, evidence, content), _MARKS)
    return any(_drops_head(part, fragment) or _drops_narrowing(part) for part in parts)


def _read(claim: str, evidence: str, content: Content) -> list[_Word]:
    said = {word.casefold() for word in words(claim)}
    forms, numbers = set(content(claim)), {quantity.number for quantity in quantities(claim)}
    read: list[_Word] = []
    for token in _tokens(evidence):
        own = content(token.text)
        kept = token.number in numbers if token.number else token.text in said or (bool(own) and forms.issuperset(own))
        read.append(_Word(token.text, token.number, token.tells, kept))
    return read


@lru_cache(maxsize=256)
def _tokens(evidence: str) -> tuple[_Token, ...]:
    """Kept, as many a cut of one sentence is tried."""
    found: list[_Token] = []
    measured = quantities(evidence)
    for match in _TOKEN.finditer(evidence):
        text = match.group().casefold()
        number = next((q.number for q in measured if q.start <= match.start() < q.end), None)
        plain = text in STOP_WORDS and not (match.start() and match.group()[0].isupper())  # "May" is a month
        found.append(_Token(text, number, bool(number) or (text[0].isalnum() and not plain)))
    return tuple(found)


def _parts(read: Sequence[_Word], marks: str) -> Iterator[list[_Word]]:
    """The words between these marks, where the claim has any."""
    part: list[_Word] = []
    for word in (*read, _Word(marks[0], None, False, False)):
        if word.text not in marks:
            part.append(word)
            continue
        if any(one.tells and one.kept for one in part):
            yield part
        part = []


def _halves_a_range(claim: str, evidence: str) -> bool:
    """Whether 5 stands for "5 to 12 days"."""
    said = {quantity.number for quantity in quantities(claim)}
    for one, other in pairwise(quantities(evidence)):
        joint = evidence[one.end : other.start]
        ranging = _TO.match(joint) or (_AND.match(joint) and _BETWEEN.search(evidence[: one.start]))
        if ranging and (one.number in said) != (other.number in said):
            return True
    return False


def _drops_condition(part: Sequence[_Word], said: set[str]) -> bool:
    """Whether "the valve may be opened [once the pressure is low]", or "the pressure is low" alone as if it were so."""
    for at, word in enumerate(part):
        pair = at > 0 and (part[at - 1].text, word.text) in _CONDITIONAL_PAIRS
        if not pair and word.text not in _OPENS_CLAUSE:
            continue
        clause = list(takewhile(lambda one: one.text[0].isalnum() and one.text not in _CONDITIONAL, part[at + 1 :]))
        conditional = word.text in _CONDITIONAL or (word.text in _BEFORE_AFTER and _has_verb(clause))
        conditional = conditional or pair
        telling = [one for one in clause if one.tells]
        if not telling or not (conditional or word.text in _CONCESSIVE):
            continue
        if telling[0].lost or 2 * sum(one.kept for one in telling) < len(telling):
            return True
        if conditional and not said & _SAYS_WHEN:
            return True
    return False


def _has_verb(clause: Sequence[_Word]) -> bool:
    """Whether it is as in "after the harvest has been brought in"; not "after the harvest the barrels are rinsed"."""
    subject = list(takewhile(lambda one: one.text not in _AUXILIARY, clause))
    return len(subject) < len(clause) and not any(one.text in _ARTICLES for one in subject[1:])


def _drops_head(part: Sequence[_Word], fragment: bool) -> bool:
    """Whether "[the father of] Ada", "Ada's [father]", "[he denied that] the alarm rang", "[the house by] the cellar".

    A fragment ("10 minutes") may be what stands after any preposition.
    """
    begun = fragment
    for at, word in enumerate(part):
        before = part[at - 1] if at else None
        after = next((one for one in part[at + 1 :] if one.tells), None)
        if after and _POSSESSIVE.search(word.text) and word.kept != after.kept:
            return True
        if before and after and after.kept and not before.kept:
            some = word.text == "of" and before.text in _SOME
            links = word.text in _GOVERNS or (word.text in _PREPOSITIONS and not begun)
            if links and (before.tells or some):
                return True
        begun = begun or (word.tells and word.kept)
    return False


def _drops_narrowing(part: Sequence[_Word]) -> bool:
    """Whether "visitors [with a badge] enter free"; not "it opened [in 1911] with three rooms"."""
    for at, word in enumerate(part[1:], 1):
        rest = [place for place in range(at + 1, len(part)) if part[place].tells]
        if word.text not in _NARROWS or word.kept or not part[at - 1].tells or not part[at - 1].kept:
            continue
        kept = next((place for place in rest if part[place].kept), None)
        if kept is not None and kept != rest[0] and part[kept - 1].text not in _OPENS_ANOTHER:
            return True
    return False


def _drops_word(part: Sequence[_Word], bounded: frozenset[str]) -> bool:
    """Whether a bound is gone, or a word by which the rest is not, or not yet, a fact."""
    return any(word.lost and (word.number in bounded or _UNREAL.match(word.text)) for word in part)
