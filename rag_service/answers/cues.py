"""What kind of thing a question asks for, and whether a statement has a thing of that kind. English.

Question words decide (a small part of the taxonomy of Li and Roth 2002, "Learning Question Classifiers").
"""

import re
from functools import lru_cache
from typing import Literal

from rag_service.answers.words import STOP_WORDS, words

Kind = Literal["when", "number", "who", "where", "why", "other"]

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_NUMERALS = (
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|thousand|million|billion|half|third|"
    "quarter|percent|twice"
)
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (
        "when",
        re.compile(r"\b(when|(what|which) (year|date|day|month|century|decade|season|time period)|what time)\b", re.I),
    ),
    (
        "number",
        re.compile(
            r"\bhow (many|much|long|far|old|large|big|tall|high|often|fast|deep|wide|heavy|hot|cold|warm)\b"
            r"|\bwhat (percentage|percent|share|number|amount|population|temperature|price|dose)\b",
            re.I,
        ),
    ),
    (
        "who",
        re.compile(r"\b(who|whom|whose|what (person|king|leader|ruler|emperor|company|people|group|nation))\b", re.I),
    ),
    (
        "where",
        re.compile(
            r"\b(where|(what|which) (country|city|town|place|region|state|river|area|location|continent))\b", re.I
        ),
    ),
    ("why", re.compile(r"\b(why|what (caused|was the reason)|for what reason)\b", re.I)),
)
_TIME = re.compile(rf"\b(1\d{{3}}|20\d\d|\d{{3,4}}s|centur(y|ies)|{_MONTHS})\b", re.I)
_NUMBER = re.compile(rf"\d|\b({_NUMERALS})\b", re.I)
_REASON = re.compile(
    r"\b(because|due to|since|in order to|so that|as a result|caused|therefore|to avoid|otherwise)\b", re.I
)


def kind_of(question: str) -> Kind:
    return next((kind for kind, pattern in _KINDS if pattern.search(question)), "other")


@lru_cache(maxsize=4_096)
def answers_kind(kind: Kind, question: str, text: str) -> bool:
    """Whether `text` has a time, number, name or reason, as the question asks for; false for other kinds."""
    if kind == "when":
        return bool(_TIME.search(text))
    if kind == "number":
        return bool(_NUMBER.search(text))
    if kind == "why":
        return bool(_REASON.search(text))
    if kind in ("who", "where"):
        return bool(capitalised(text) - capitalised(question))
    return False


def capitalised(text: str) -> frozenset[str]:
    """Words that begin with a capital and carry content, folded."""
    return frozenset(w.casefold() for w in words(text) if w[0].isupper() and w.casefold() not in STOP_WORDS)


def is_new_name(word: str) -> bool:
    return word[:1].isupper() and word.casefold() not in STOP_WORDS


def has_figure(word: str) -> bool:
    return bool(_TIME.search(word) or _NUMBER.search(word))
