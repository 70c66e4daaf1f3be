"""Rule-based sentence splitter with character spans, for cutting chunks and for quoting from them.

Every line break ends a sentence: cleaned text has one paragraph, list item, heading or table row to a line. The rules
lean to splitting too little, because half a sentence quoted as an answer is worse than two sentences quoted together.
"""

import re

# With a full stop these end no sentence, whatever follows.
_ABBREVIATIONS = """
    dr mr mrs ms prof st ste mt sr jr fr hon rev gen col capt lt nos nr figs fig eq eqs ch chap sect vol vols pp p eds
    al ed cf vs viz e.g i.e eg ie ca approx incl excl resp avg dept tel
    z.b d.h bzw ggf vgl abb kap nr bd z.t u.a sog evtl inkl p.ex env
    jan feb apr jun jul aug sep sept oct nov dec
"""
# These are words of their own as well: "No. 5" and "max. 20", but "they said no. Five came".
_BEFORE_FIGURES = "no min max art mar sat sun est sec temp str"
_NEVER_LAST, _NOT_BEFORE_FIGURES = frozenset(_ABBREVIATIONS.split()), frozenset(_BEFORE_FIGURES.split())
_LINE = re.compile(r"[^\n]+")
# Full stop, exclamation and question mark of Chinese and Japanese; danda of Hindi; full stop and question mark of Urdu.
_STOPS_ELSEWHERE = "\u3002\uff01\uff1f\u0964\u06d4\u061f"
STOPS = (*".!?", *_STOPS_ELSEWHERE)
_CLOSING = r"""["'\u201d\u2019\u00bb)\]]"""
_END_ELSEWHERE = rf"[{_STOPS_ELSEWHERE}][{_STOPS_ELSEWHERE}.!?]*(?:{_CLOSING}|[\u300d\u300f\uff09])*"
# A mark that can end a sentence, then closing quotes or brackets, then white space; other scripts' need no space.
_END = re.compile(rf"[.!?\u2026]+{_CLOSING}*(?=\s)|{_END_ELSEWHERE}")
_COLONS = (":", "\uff1a")
# Also with commas and semicolons of Chinese, Japanese, Urdu and Arabic.
_ENDS_NO_HEADING = re.compile(
    rf"(?:[.!?;,\u2026\uff1b\uff0c\u3001\u060c\u061b{''.join(_COLONS)}]|{_END_ELSEWHERE})\s*\Z"
)
_OPENS_WITH = re.compile(r"""[\s"'\u201c\u2018\u00ab(\[¿¡*_]*([^\W_])?""")
_WORD_BEFORE = re.compile(r"[^\s(\[\"'\u201c\u2018\u00ab]+$")
_INITIAL = re.compile(r"^(?:[^\W\d_]\.)*[^\W\d_]$")
_LIST_MARK = re.compile(r"^\s*(?:\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-zA-Z]|[ivxIVX]{1,4})[.)]?|[-*•\u2013])$")


def split(text: str) -> list[tuple[int, int]]:
    """Spans of the sentences of `text`: in order, apart from each other, without white space at either end.

    Every character outside the spans is white space.
    """
    spans: list[tuple[int, int]] = []
    for line in _LINE.finditer(text):
        start = line.start()
        for end in _END.finditer(text, line.start(), line.end()):
            if _ends_sentence(text, start, end, line.end()):
                _add(spans, text, start, end.end())
                start = end.end()
        _add(spans, text, start, line.end())
    return spans


def is_heading(line: str) -> bool:
    """Whether a line of cleaned text looks like a heading: short, without a full stop, and not a row or list item."""
    words = line.split()
    if not 1 <= len(words) <= 12 or len(line) > 100 or " | " in line:
        return False
    if _ENDS_NO_HEADING.search(line) or words[0] in ("-", "*", "•", "\u2013"):
        return False
    first = next((character for character in line if character.isalnum()), "")
    return bool(first) and not first.islower() and any(character.isalpha() for character in line)


def leads_in(line: str) -> bool:
    """Whether a line only introduces those after it."""
    return line.endswith(_COLONS)


def _ends_sentence(text: str, start: int, mark: re.Match[str], line_end: int) -> bool:
    if mark.group()[0] in _STOPS_ELSEWHERE:
        return True
    follows = _OPENS_WITH.match(text, mark.end(), line_end)
    first = follows.group(1) if follows else None
    if first is None:
        return not text[mark.end() : line_end].strip()
    if first.islower():
        return False
    if mark.group()[0] != "." or mark.group().startswith("..."):
        return True
    before = text[start : mark.start()]
    if _LIST_MARK.match(before):
        return False
    found = _WORD_BEFORE.search(before)
    word = found.group() if found else ""
    if _INITIAL.match(word):
        return first.isdigit()
    plain = word.lower().lstrip("-/")
    return plain not in _NEVER_LAST and not (plain in _NOT_BEFORE_FIGURES and first.isdigit())


def _add(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        spans.append((start, end))
