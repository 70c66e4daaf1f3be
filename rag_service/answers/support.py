"""Whether one piece of evidence says what a claim says: words, figures, names, negation, who does what. English.

Strict on purpose: what is refused here wrongly is replaced by the words of the passage, what is let through wrongly is
a false answer with a citation.
"""

import re
from functools import cache, lru_cache
from itertools import pairwise

from rag_service.answers.omissions import changes_subject, drops_limit
from rag_service.answers.placement import in_place
from rag_service.answers.quantities import contained, quantities
from rag_service.answers.words import names, negates, stem, terms, words

# Words that add nothing to a claim, and those whose presence alone counts.
_FILLERS = frozenset(map(stem, ("also", "therefore", "thus", "however", "according", "please", "order")))
_BARE_NEGATIONS = frozenset(("not", "never", "no", "cannot", "nicht", "nie", "ne", "pas"))
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
_SAID_WITH_CARE = """
unless except excluding only rarely seldom hardly barely scarcely sometimes occasionally almost nearly partly formerly
allegedly supposedly reportedly claimed alleged believed rumoured supposed
"""
_KEPT = frozenset(_SAID_WITH_CARE.split())
_POSSIBLE = frozenset(("may", "might", "could", "can", "possibly", "probably", "perhaps", "likely"))
_BOUNDS = {
    "low": frozenset(("least", "minimum", "over", "above", "exceed", "exceeds", "exceeding", "exceeded", "more")),
    "high": frozenset(("most", "maximum", "under", "below", "less", "fewer", "within", "up")),
}
_WORDS_BEFORE_NUMBER = 3
_WISHED = re.compile(
    r"\b(?:would|should|must|shall|ought to)(?: not)?(?: have)?\b|\b(?:could|might)(?: not)? have\b"
    r"|\b(?:is|are|was|were)(?: not)? to (?:be|have)\b",
    re.I,
)
_HAS_TO = re.compile(r"\b(?:ha[sd]|have|needs?) to\b", re.I)
_FACTUAL = frozenset(("is", "are", "was", "were", "has", "have", "had"))
# Passages may be in other languages: their words for "not" that are no words of English.
_NEGATIONS = (
    "nicht kein keine keinen keiner keines keinem nie niemals niemand ohne ne pas jamais aucun aucune sans rien"
)
_NEGATIONS_ELSEWHERE = frozenset((*_NEGATIONS.split(), "nunca", "nadie", "senza", "niet", "geen", "n\u00e3o", "nem"))
_ENDINGS = re.compile(r"(?:ations?|ing|ed|ment|ly|er|or|ion|s)$")
_LEAST_STEM = 4
_FIGURE_WORD = re.compile(r"\d")
_COMMA = re.compile(r"([,;:](?=\s))")
_ANAPHORIC = "it its they them their he him his she her this these"
_OPENING_WORDS = 3
_ANAPHORA = frozenset(_ANAPHORIC.split())


def says(claim: str, evidence: str, around: str = "") -> bool:
    """Whether `evidence`, one sentence, says `claim`; names and words of its title or heading stand in `around`."""
    if not _has_all(claim, evidence, around):
        return False
    if not content(claim) <= content(evidence) and not _borrows(claim, evidence):
        return False
    if not in_place(claim, evidence, around, _content_in_order, _same_polarity):
        return False
    if not _keeps_meaning(claim, evidence) or _drops_limit(claim, evidence) or _makes_fact(claim, evidence):
        return False
    return not changes_subject(claim, evidence, _content_in_order)


def row_says(claim: str, row: str, columns: str, around: str = "") -> bool:
    """Whether a table row says `claim`; `columns` are the names of the columns in which the claim's figures stand."""
    in_order = _numbers(claim) == [number for number in _numbers(row) if number in _numbers(claim)]
    has_all = in_order and _has_all(claim, row, f"{around} {columns}")
    return has_all and _keeps_meaning(claim, row) and not _drops_limit(claim, row)


def _numbers(text: str) -> list[str]:
    return [quantity.number for quantity in quantities(text)]


def _has_all(claim: str, evidence: str, around: str) -> bool:
    """Whether every content word, figure and name of the claim is there."""
    wanted = content(claim)
    if not (wanted or quantities(claim)) or not wanted <= content(evidence) | content(around):
        return False
    named = {stem(name) for name in names(claim)} - _opening(claim) <= _plain(f"{evidence} {around}")
    return named and _names_whole(claim, evidence, around) and contained(claim, evidence, around)


def stands_alone(cut: str, sentence: str) -> bool:
    """Whether words in a row of a sentence mean the same without the rest of it.

    A condition, range or bound counts that stands beside them: up to the second comma before them and after them.
    """
    beside = sentence
    words_in_a_row = " ".join(cut.split())
    if (at := sentence.lower().find(words_in_a_row.lower())) >= 0:
        end = at + len(words_in_a_row)
        before, after = _COMMA.split(sentence[:at])[-3:], _COMMA.split(sentence[end:])[:3]
        beside = "".join((*before, cut, *after))
    return _keeps_meaning(cut, sentence) and not _drops_limit(cut, beside)


def _keeps_meaning(claim: str, evidence: str) -> bool:
    """Whether a claim in words of the evidence loses or adds no negation, opposite, hedge, or bound of a number."""
    return _same_polarity(claim, evidence) and not _opposed(claim, evidence) and _keeps_hedges(claim, evidence)


def _drops_limit(claim: str, evidence: str) -> bool:
    bounded = frozenset(number for number, kinds in _bounds(evidence).items() if any(kinds))
    return drops_limit(claim, evidence, bounded, _content_in_order)


def content(text: str) -> set[str]:
    """Content words in one form for all their inflections and closest synonyms; numbers are compared elsewhere."""
    return set(_content_in_order(text))


@lru_cache(maxsize=4096)
def _content_in_order(text: str) -> tuple[str, ...]:
    plain = (term for term in terms(_without_quantities(text)) if not _FIGURE_WORD.search(term))
    return tuple(_form(term) for term in plain if term not in _FILLERS | _BARE_NEGATIONS)


def refers_back(sentence: str) -> bool:
    """Whether the sentence opens with a pronoun for what the one before it names."""
    return not _ANAPHORA.isdisjoint(word.casefold() for word in words(sentence)[:_OPENING_WORDS])


def _borrows(claim: str, evidence: str) -> bool:
    """Whether words from around the evidence stand for the pronoun it opens with, or beside all that it says.

    Otherwise they stand in the place of other words.
    """
    have, said = content(evidence), _content_in_order(claim)
    if have <= set(said):
        return True
    first = next((at for at, word in enumerate(said) if word in have), len(said))
    return refers_back(evidence) and set(said[first:]) <= have


def _names_whole(claim: str, evidence: str, around: str) -> bool:
    """Whether names of several words are the same there: "New York" and "Ohio Country" hold no "New Country"."""
    pairs = {(stem(a), stem(b)) for a, b in pairwise(words(claim)[1:]) if a[0].isupper() and b[0].isupper()}
    return pairs <= set(pairwise(map(stem, words(f"{evidence} {around}"))))


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
    root = root.removesuffix("e") if len(root) > _LEAST_STEM else root
    return root[:-1] if len(root) > _LEAST_STEM and root[-1] == root[-2] else root


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


def _keeps_hedges(claim: str, evidence: str) -> bool:
    """Whether the claim loses no hedge of the evidence and no bound of a number that it has, and adds none."""
    said, meant = _lower(claim), _lower(evidence)
    if (meant & _KEPT) - said or (said & _KEPT) - meant:
        return False
    if meant & _POSSIBLE and not said & _POSSIBLE:
        return False
    bounds = _bounds(evidence)
    return all(bound in bounds.get(number, {bound}) for number, found in _bounds(claim).items() for bound in found)


def _makes_fact(claim: str, evidence: str) -> bool:
    """Whether the claim says that something is or was so, where the evidence only says that it should or would be."""
    wished = _WISHED.search(evidence)
    if not wished or _WISHED.search(claim) or _HAS_TO.search(claim) or _POSSIBLE & _lower(claim):
        return False
    return "have" in wished.group() or bool(_FACTUAL & _lower(claim))


def _bounds(text: str) -> dict[str, set[str]]:
    """How each number of a text is bounded: `low` ("at least"), `high` ("at most"), or not at all."""
    found: dict[str, set[str]] = {}
    for quantity in quantities(text):
        before = [word.casefold() for word in words(text[: quantity.start])[-_WORDS_BEFORE_NUMBER:]]
        kinds = [kind for kind, spellings in _BOUNDS.items() if not spellings.isdisjoint(before)]
        found.setdefault(quantity.number, set()).add(kinds[0] if kinds else "")
    return found


def _same_polarity(one: str, other: str) -> bool:
    return _negations(one) == _negations(other)


@lru_cache(maxsize=1024)
def _negations(text: str) -> int:
    """How many words say "not"; "ne ... pas" is one."""
    found = [word for word in words(text) if negates(word) or word.casefold() in _NEGATIONS_ELSEWHERE]
    return len([word for word in found if word.casefold() != "ne"]) or len(found)


@lru_cache(maxsize=1024)
def _lower(text: str) -> frozenset[str]:
    return frozenset(word.casefold() for word in words(text))
