"""Words as far as ranking and support need them: content terms, numbers, names, negation. English."""

import re
from functools import lru_cache

_FUNCTION_WORDS = """
a about above after again all also am an and any are as at be because been before being below between both but by can
could did do does doing down during each few for from further had has have having he her here hers him his how i if in
into is it its itself just may me might more most must my of off on once only or other our out over own same shall she
should so some such than that the their them then there these they this those through to too under until up upon us
very was we were what when where which while who whom whose why will with would you your
"""
STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
ELLIPSIS = "\u2026"
"""Stands at a side of a quotation where its sentence goes on."""
_NEGATIONS = frozenset(("no", "not", "never", "none", "nobody", "nothing", "neither", "nor", "cannot", "without"))
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_POSSESSIVE = re.compile(r"['\u2019]s?$")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")


def words(text: str) -> list[str]:
    return _WORD.findall(text)


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Plural endings off (the "S stemmer": Harman 1991, "How effective is suffixing?"), and possessives."""
    word = _POSSESSIVE.sub("", word.casefold())
    if len(word) > 4 and word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("es") and word[-3] not in "aeo":
        return word[:-1]
    if len(word) > 3 and word.endswith("s") and word[-2] not in "us":
        return word[:-1]
    return word


def terms(text: str) -> list[str]:
    """Stems of the words that carry content, in order, repeats kept."""
    folded = (word.casefold() for word in words(text))
    return [stem(word) for word in folded if word not in STOP_WORDS]


def numbers(text: str) -> set[str]:
    """Every number as written, but without thousands separators: 3,000 is 3000."""
    found = _NUMBER.findall(text)
    return {number.replace(",", "") if _GROUPED.fullmatch(number) else number for number in found}


def names(text: str) -> set[str]:
    """Stems of the capitalised words that carry content, wherever they stand."""
    return {stem(w) for w in words(text) if w[0].isupper() and len(w) > 1 and w.casefold() not in STOP_WORDS}


def negates(word: str) -> bool:
    folded = word.casefold()
    return folded in _NEGATIONS or folded.endswith(("n't", "n\u2019t"))


def negated(text: str) -> bool:
    return any(map(negates, words(text)))


def squeezed(text: str) -> str:
    """Case and white space evened out: how two texts are compared for being the same words."""
    return " ".join(text.split()).casefold()


def unmarked_cut(text: str) -> str:
    """The words of a quotation without the marks where its sentence goes on."""
    return text.removeprefix(ELLIPSIS).removesuffix(ELLIPSIS)
