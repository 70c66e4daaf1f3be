"""A sentence that a model wrote, made ready to be checked: which passages it claims, and what it says then."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag_service.documents import sentences

_NUMBERS = r"(?:passages?\s*)?\d{1,3}(?:\s*(?:[,;&\u2013-]|and)\s*\d{1,3})*"
_MARKER = re.compile(rf"\s*[\[\u3010]\s*{_NUMBERS}\s*[\]\u3011]|\s*\((?:see\s+)?passages?\s*\d{{1,3}}\)", re.I)
_FOLLOWED = re.compile(rf"([{''.join(sentences.STOPS)}])((?:{_MARKER.pattern})+)", re.I)
_LEAD_IN = re.compile(
    r"^(?:(?:according to|as (?:stated|mentioned|described) in|based on|in)\s+(?:the\s+)?"
    r"(?:passages?|texts?|documents?|context|information)(?:\s+(?:number\s+)?\d{1,3})?(?:\s+provided)?\s*,\s*"
    r"|(?:the\s+)?(?:passages?|texts?|documents?|context)(?:\s+(?:number\s+)?\d{1,3})?\s+"
    r"(?:says?|states?|mentions?)\s+that\s+"
    r"|(?:the\s+)?(?:answer|sentence)\b[^.:]{0,50}?(?:\s+is)?\s*:\s*|[-*\u2022]\s+)",
    re.I,
)
_QUOTATION = re.compile(r"^[\"\u201c]([^\"\u201c\u201d]+)[\"\u201d]\.?$")
_PASSAGE_NUMBER = re.compile(r"passages?\s+(?:number\s+)?(\d{1,3})", re.I)
_DECLINES = re.compile(
    r"^\W*(?:(?:answer:?\s*)?not found\b|no answer\b|(?:i am |i'm )?sorry\b|i (?:do not|don't|cannot|can't) "
    r"|(?:the |these )?(?:given |provided )?(?:passages?|texts?|documents?|context|information)[^.]{0,40}?"
    r"\b(?:do(?:es)?n't|do(?:es)? not|cannot|can't)\b)",
    re.I,
)


@dataclass(frozen=True)
class Claim:
    """What a sentence says without its markers, and the ranks (from 0) of the passages that it cites."""

    text: str
    ranks: tuple[int, ...]


def claims(text: str, finished: bool, passages: int) -> list[Claim]:
    """The sentences of a written text, in order; the last one is left out where a limit cut the text off."""
    # A marker after the full stop belongs to the sentence before it.
    text = _FOLLOWED.sub(lambda found: f"{found[2]}{found[1]}", text)
    spans = sentences.split(text)
    if not finished and spans and not _is_whole(text[: spans[-1][1]]):
        spans = spans[:-1]
    parted = (_claim(text[start:end], passages) for start, end in spans)
    return [claim for claim in parted if claim.text]


def _is_whole(text: str) -> bool:
    return text.rstrip().endswith(sentences.STOPS)


def _claim(sentence: str, passages: int) -> Claim:
    cited: list[int] = []
    for marker in (*_MARKER.findall(sentence), *_PASSAGE_NUMBER.findall(sentence)):
        cited += [int(number) - 1 for number in re.findall(r"\d+", marker)]
    said = unmarked(sentence).strip()
    plain = _LEAD_IN.sub("", said)
    if plain != said:
        plain = plain[:1].upper() + plain[1:]
    if quotation := _QUOTATION.match(plain):
        plain = quotation.group(1)
    return Claim(" ".join(plain.split()), tuple(dict.fromkeys(rank for rank in cited if 0 <= rank < passages)))


def unmarked(text: str) -> str:
    """The text without the numbers of passages in it."""
    return _MARKER.sub("", text)


def declined(claimed: Sequence[Claim]) -> bool:
    """Whether a draft says only that there is no answer."""
    return bool(claimed) and all(_DECLINES.match(claim.text) for claim in claimed)


def declines(text: str) -> bool:
    return bool(_DECLINES.match(text))
