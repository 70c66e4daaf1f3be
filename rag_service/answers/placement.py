"""Who does what: the words of a claim must belong together in its evidence as they do in the claim. English.

"Ada leads the cellar, Bert the vineyard" has all the words of "Bert leads the cellar", in other places.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rag_service.answers.quantities import quantities
from rag_service.answers.words import names, stem, words

Content = Callable[[str], list[str]]
"""Content words of a text, in order."""

_COORDINATING = frozenset((",", ";", "and", "but", "or", "then"))
_JOIN = re.compile(
    r"([;:()]|,(?=\s)|\s[-\u2013\u2014]\s|\b(?:and|but|or|then|while|whereas|because|so|when|whenever|until|unless|if"
    r"|although|though|since|who|whom|whose|which|that|where)\b)",
    re.I,
)
_PASSIVE = re.compile(r"\b(?:is|are|was|were|be|been|being|gets?|got)\b[^,;]*\bby\b", re.I)
_SUBJECT_WORDS = 2


@dataclass(frozen=True)
class Clause:
    text: str
    goes_on: bool
    """Whether it may share the subject of the clause before it ("... and runs for ten minutes")."""


def clauses(sentence: str) -> list[Clause]:
    """The parts of a sentence between its commas, conjunctions and relative pronouns."""
    parts = _JOIN.split(sentence)
    found: list[Clause] = []
    joint = ""
    for at, part in enumerate(parts):
        if at % 2:
            # Of several between two clauses (", and") the last that is a word tells.
            joint = part.strip().casefold() if part.strip().isalpha() or not joint else joint
        elif words(part):
            found.append(Clause(part, joint in _COORDINATING))
            joint = ""
    return found


def in_place(
    claim: str, evidence: str, around: str, content: Content, same_polarity: Callable[[str, str], bool]
) -> bool:
    """Whether each clause of the claim is said by one clause of the evidence, with its figures, names and "not".

    A clause that goes on may take its subject from the one before it; other words may stand in `around`.
    """
    known = names(evidence)
    if not _same_order(claim, evidence):
        return False
    theirs = clauses(evidence)
    for clause in clauses(claim):
        own = set(content(clause.text)) - (set(content(around)) - set(content(evidence)))
        marks = _marks(clause.text, known)
        fitting = [
            at
            for at, other in enumerate(theirs)
            if _left(own, theirs, at, content) is not None
            and marks - _subject_names(theirs, at, known, content) <= _marks(other.text, known)
            and same_polarity(clause.text, other.text)
            and _words_in_order(clause.text, other.text, content)
        ]
        if not fitting and (own or marks):
            return False
    return True


def _left(own: set[str], theirs: Sequence[Clause], at: int, content: Content) -> set[str] | None:
    """Words of the claim that clause `at` lacks, all of them its subject's; None where they are not."""
    said = set(content(theirs[at].text))
    left = own - said
    return left if not left or (own & said and left <= _subject(theirs, at, content)) else None


def _subject(theirs: Sequence[Clause], at: int, content: Content) -> set[str]:
    """First content words of the clause whose subject clause `at` shares."""
    first = at
    while first > 0 and theirs[first].goes_on:
        first -= 1
    return set(content(theirs[first].text)[:_SUBJECT_WORDS]) if first != at else set()


def _subject_names(theirs: Sequence[Clause], at: int, known: set[str], content: Content) -> set[str]:
    """Names of that subject; none where the clause begins with a name, for then it has a subject of its own."""
    if names(theirs[at].text) & known:
        return set()
    subject = _subject(theirs, at, content)
    return {name for name in known if set(content(name)) & subject}


def _marks(text: str, known: set[str]) -> set[str]:
    """Numbers of a text, and those of the names `known` that it has."""
    return {quantity.number for quantity in quantities(text)} | (names(text) & known)


def _words_in_order(claim: str, evidence: str, content: Content) -> bool:
    """Whether the words that both have come in one order, but for what may be put first ("After an alarm nobody ...")
    and for two neighbours ("rinse the tank", "the tank is rinsed"). A change into the passive must change it."""
    ours, theirs = content(claim), content(evidence)
    places = [theirs.index(word) for word in dict.fromkeys(ours) if theirs.count(word) == 1]
    if bool(_PASSIVE.search(claim)) != bool(_PASSIVE.search(evidence)):
        return len(places) < 3 or places != sorted(places)  # subject, verb and object
    turned = any(places[cut:] + places[:cut] == sorted(places) for cut in range(len(places)))
    swaps = sum(a > b for at, a in enumerate(places) for b in places[at + 1 :])
    return not places or turned or swaps <= 1


def _same_order(claim: str, evidence: str) -> bool:
    """Whether names, and numbers of one unit, keep their order; in the passive names must change it."""
    shared = names(claim) & names(evidence)
    said, meant = _name_runs(claim, shared), _name_runs(evidence, shared)
    once = [name for name in said if said.count(name) == meant.count(name) == 1]
    theirs = [name for name in meant if name in once]
    passive = bool(_PASSIVE.search(claim)) != bool(_PASSIVE.search(evidence))
    if len(once) > 1 and (once == theirs) == passive:
        return False
    ours, others = quantities(claim), quantities(evidence)
    for unit in {quantity.unit for quantity in ours}:
        said, meant = ([q.number for q in found if q.unit == unit] for found in (ours, others))
        once = [number for number in said if said.count(number) == meant.count(number) == 1]
        if once != [number for number in meant if number in once]:
            return False
    return True


def _name_runs(text: str, shared: set[str]) -> list[str]:
    """The first word of each name that is in `shared`, in order; "Ada Brun" is one name."""
    found = [stem(word) if word[0].isupper() and stem(word) in shared else "" for word in words(text)]
    return [name for at, name in enumerate(found) if name and not (at and found[at - 1])]
