"""Whether one piece of evidence says what a claim says: words, figures, names, negation, who does what. English.

Strict on purpose: what is refused here wrongly is replaced by the words of the passage, what is let through wrongly is
a false answer with a citation.
"""

import re
from functools import cache
from itertools import pairwise

from rag_service.answers.quantities import contained, quantities
from rag_service.answers.words import names, negated, stem, terms, words

# Words that add nothing to a claim.
_FILLERS = frozenset(map(stem, ("also", "therefore", "thus", "however", "according", "please", "order")))
_SYNONYM_GROUPS = (
    "wash rinse|start begin|finish complete end|quick quickly fast rapidly|buy purchase|child kid|big large|"
    "people person staff|halt stop|remain stay|happen occur|inform notify tell|need require|permit allow|"
    "forbid prohibit ban|check inspect|throughout during|reach attain|approximately about around roughly|"
    "immediately instantly|annually yearly|weekly week|daily day|monthly month|every each|whole entire|help assist"
)
_OPPOSITES = (
    "above over exceed exceeding more greater higher maximum|below under less lower fewer minimum;before|after;"
    "increase raise rise|decrease reduce fall drop;open opened|close closed shut;start begin|stop end;"
    "allowed permitted may can|forbidden prohibited banned;must shall required mandatory|may optional can;"
    "always|never sometimes;all every|some few;first|last second third;hot warm|cold cool;left|right;north|south;"
    "east|west;inside indoors|outside outdoors;add|remove;with|without;dry|wet;full|empty;safe|unsafe dangerous;"
    "morning|evening;day|night;red|white;up|down;least|most;earlier|later;win won|lost lose;import|export;on|off"
)
_PAIRS = [tuple(frozenset(side.split()) for side in pair.split("|")) for pair in _OPPOSITES.split(";")]
_QUALIFIERS = frozenset(("unless", "except", "excluding", "only", "if"))
_CLAUSE_END = re.compile(
    r"[;:()]|,(?=\s)|\s[-\u2013\u2014]\s|\b(?:and|but|while|whereas|or|because|so|then|when|until|unless|if|although)\b",
    re.I,
)
_ENDINGS = re.compile(r"(?:ations?|ing|ed|ment|ly|er|or|ion|s)$")
_LEAST_STEM = 4
_FIGURE_WORD = re.compile(r"\d")
_ANAPHORIC = "it its they them their he she his her this these those such there both"
_ANAPHORA = frozenset(_ANAPHORIC.split())


def says(claim: str, evidence: str, around: str = "") -> bool:
    """Whether `evidence`, one sentence, says `claim`; names and words of its title or heading stand in `around`."""
    wanted = content(_without_quantities(claim))
    if not (wanted or quantities(claim)) or not wanted <= content(evidence) | content(around):
        return False
    if not contained(claim, evidence, around):
        return False
    if not {stem(name) for name in names(claim)} - _opening(claim) <= _plain(f"{evidence} {around}"):
        return False
    return (
        negated(claim) == negated(evidence)
        and not _opposed(claim, evidence)
        and _keeps_conditions(claim, evidence)
        and _keeps_places(claim, evidence)
    )


def content(text: str) -> set[str]:
    """Content words in one form for all their inflections and closest synonyms; numbers are compared elsewhere."""
    plain = (term for term in terms(text) if not _FIGURE_WORD.search(term))
    return {_form(term) for term in plain if term not in _FILLERS}


def refers_back(sentence: str) -> bool:
    """Whether the sentence has a pronoun for what the one before it names."""
    return not _ANAPHORA.isdisjoint(word.casefold() for word in words(sentence)[:8])


def _without_quantities(text: str) -> str:
    for quantity in reversed(quantities(text)):
        text = f"{text[: quantity.start]} {text[quantity.end :]}"
    return text


def _form(term: str) -> str:
    root = _root(term)
    return _synonyms().get(root, root)


def _root(term: str) -> str:
    """The term without its ending, as far as four letters remain."""
    root = _ENDINGS.sub("", term)
    root = root if len(root) >= _LEAST_STEM else term
    root = root[:-1] if len(root) > _LEAST_STEM and root[-1] == root[-2] else root
    return root.removesuffix("e") if len(root) > _LEAST_STEM else root


@cache
def _synonyms() -> dict[str, str]:
    return {_root(stem(word)): group.split()[0] for group in _SYNONYM_GROUPS.split("|") for word in group.split()}


def _plain(text: str) -> set[str]:
    return {stem(word) for word in words(text)}


def _opening(text: str) -> set[str]:
    """The first word: its capital says nothing, and as a content word it is compared anyway."""
    first = words(text)[:1]
    return {stem(first[0])} if first else set()


def _opposed(claim: str, evidence: str) -> bool:
    """Whether the claim has one of two opposites where the evidence only has the other."""
    said, meant = _lower(claim), _lower(evidence)
    for one, other in _PAIRS:
        for side, opposite in ((one, other), (other, one)):
            if side & said and not side & meant and opposite & meant:
                return True
    return False


def _keeps_conditions(claim: str, evidence: str) -> bool:
    """Whether no "unless", "except" or "only" of the evidence is lost, and none is added."""
    said, meant = _lower(claim) & _QUALIFIERS, _lower(evidence) & _QUALIFIERS
    hard = meant - {"if"}
    return hard <= said and said <= meant


def _keeps_places(claim: str, evidence: str) -> bool:
    """Whether each clause of the claim is nearest to a clause of the evidence that has its figures, names and "not".

    The same words in other places ("Ada leads the cellar, Bert the vineyard" turned round) have the name or figure of
    one clause beside the words of another.
    """
    theirs = clauses(evidence)
    if not _same_order(claim, evidence):
        return False
    if len(theirs) == 1:
        return True
    known = names(evidence)
    for clause in clauses(claim):
        own = content(clause) - {_form(name) for name in known}
        shared = [len(own & content(other)) for other in theirs]
        if not max(shared):
            continue
        nearest = [other for other, count in zip(theirs, shared, strict=True) if count == max(shared)]
        if not any(_fits(clause, other, known) for other in nearest) and not _goes_on(clause, theirs, known):
            return False
    return True


def _goes_on(clause: str, theirs: list[str], known: set[str]) -> bool:
    """Whether two neighbours say the clause together, the second with nothing of its own to mix up with the first."""
    return any(
        not _marks(second, known) and own <= content(f"{first} {second}") and _fits(clause, f"{first} {second}", known)
        for own in [content(clause)]
        for first, second in pairwise(theirs)
    )


def _fits(clause: str, other: str, known: set[str]) -> bool:
    return _marks(clause, known) <= _marks(other, known) and negated(clause) == negated(other)


def _marks(clause: str, known: set[str]) -> set[str]:
    """Numbers of a clause, and those of the names `known` that it has."""
    return {quantity.number for quantity in quantities(clause)} | (names(clause) & known)


def _same_order(claim: str, evidence: str) -> bool:
    """Whether names, and numbers of one unit, keep their order, but for a change into the passive."""
    if ("by" in _lower(claim)) != ("by" in _lower(evidence)):
        return True
    shared = names(claim) & names(evidence)
    said, meant = ([w for w in map(stem, words(text)) if w in shared] for text in (claim, evidence))
    if not _in_order(said, meant):
        return False
    ours, theirs = quantities(claim), quantities(evidence)
    for unit in {quantity.unit for quantity in ours}:
        if not _in_order([q.number for q in ours if q.unit == unit], [q.number for q in theirs if q.unit == unit]):
            return False
    return True


def _in_order(said: list[str], meant: list[str]) -> bool:
    """Whether what occurs once in each comes in one order."""
    once = [mark for mark in said if said.count(mark) == meant.count(mark) == 1]
    return once == [mark for mark in meant if mark in once]


def clauses(sentence: str) -> list[str]:
    return [part for part in _CLAUSE_END.split(sentence) if words(part)]


def _lower(text: str) -> set[str]:
    return {word.casefold() for word in words(text)}
