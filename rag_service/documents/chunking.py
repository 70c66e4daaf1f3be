"""Cleaned text to chunks: whole sentences up to a number of the embedder's tokens, with some overlap."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cuvee.errors import IntegrityError
from rag_service.documents import sentences
from rag_service.documents.cleaning import CleanText

TokenSpans = Callable[[str], Sequence[tuple[int, int]]]
# A tokenizer may take any run of letters for one unknown token; without a bound a chunk could be megabytes long.
_LONGEST_TOKEN_CHARS = 64
# A tokenizer takes half a kilobyte for each token, and one that gets no more memory ends the process, so that nobody
# learns which document it was: it gets a text piece by piece.
_TOKENIZED_CHARS = 100_000
# A heading opens a new chunk once the present one is at least this full.
_ENOUGH_SHARE = 0.5


@dataclass(frozen=True)
class ChunkingRule:
    """How chunks are cut, in tokens of the embedder."""

    tokens: int
    overlap_tokens: int

    @property
    def version(self) -> str:
        return f"sentences-1/{self.tokens}/{self.overlap_tokens}"

    @classmethod
    def of(cls, version: str) -> "ChunkingRule":
        """The rule that `version` names, with whatever after it; also where another edition of the code cut by it.

        Raises:
            IntegrityError: it names none.
        """
        try:
            tokens, overlap_tokens = version.split("/")[1:3]
            return cls(int(tokens), int(overlap_tokens))
        except ValueError as error:
            raise IntegrityError(f"{version!r} is not how chunks are cut.") from error


@dataclass(frozen=True)
class Passage:
    """`text` is `[start_char:end_char]` of the cleaned text it was cut from."""

    ordinal: int
    page: int | None
    """Page on which it starts, from 1; None where the format has no pages."""
    start_char: int
    end_char: int
    text: str
    page_breaks: tuple[int, ...]
    """Offsets in `text` at which the pages after `page` begin, ascending."""


@dataclass(frozen=True)
class _Piece:
    """A sentence, or a part of one that is longer than a chunk."""

    start: int
    end: int
    tokens: int
    heading: bool


def chunk(document: CleanText, token_spans: TokenSpans, rule: ChunkingRule) -> list[Passage]:
    """Cut `document` into passages of at most `rule.tokens` tokens.

    Every character that is not white space is in at least one passage. A heading stays with the text after it, unless
    that does not fit.
    """
    pieces = _pieces(document.text, token_spans, rule.tokens)
    passages: list[Passage] = []
    for first, last in _groups(pieces, rule):
        start, end = pieces[first].start, pieces[last].end
        page, breaks = document.page_at(start), document.page_breaks(start, end)
        passages.append(Passage(len(passages), page, start, end, document.text[start:end], breaks))
    return passages


def _pieces(text: str, token_spans: TokenSpans, most: int) -> list[_Piece]:
    starts = _token_starts(_spans_piece_by_piece(text, token_spans))
    pieces = []
    for start, end in sentences.split(text):
        # Every sentence counts as one token at least, also one of characters that the tokenizer leaves out.
        low, high = bisect_left(starts, start), bisect_left(starts, end)
        heading = _alone_on_line(text, start, end) and sentences.is_heading(text[start:end])
        if high - low <= most:
            pieces.append(_Piece(start, end, max(high - low, 1), heading))
            continue
        cuts = [start, *(starts[at] for at in _cuts(text, starts, low, high, most)), end]
        pieces += [_Piece(a, a + len(text[a:b].rstrip()), most, heading=False) for a, b in pairwise(cuts)]
    return pieces


def _cuts(text: str, starts: Sequence[int], low: int, high: int, most: int) -> Iterator[int]:
    """Which of the tokens `low` to `high` begin a new part of at most `most`: first tokens of words, if there are any.

    Half a word can be more tokens than it was within the whole one.
    """
    begin = low
    while high - begin > most:
        fits = range(begin + most, begin, -1)
        begin = next((at for at in fits if text[starts[at] - 1].isspace()), begin + most)
        yield begin


def _spans_piece_by_piece(text: str, token_spans: TokenSpans) -> Iterator[tuple[int, int]]:
    """As `token_spans(text)`, for any text whose words are not longer than a piece."""
    at = 0
    while at < len(text):
        end = at + _TOKENIZED_CHARS
        if end < len(text):
            end = next((space for space in range(end, at, -1) if text[space].isspace()), end)
        yield from ((at + first, at + last) for first, last in token_spans(text[at:end]))
        at = end


def _token_starts(spans: Iterable[tuple[int, int]]) -> list[int]:
    """Ascending offsets at which tokens start; an overlong token counts as several."""
    starts: list[int] = []
    for start, end in spans:
        for at in range(start, max(end, start + 1), _LONGEST_TOKEN_CHARS):
            if not starts or at > starts[-1]:
                starts.append(at)
    return starts


def _alone_on_line(text: str, start: int, end: int) -> bool:
    return (start == 0 or text[start - 1] == "\n") and (end == len(text) or text[end] == "\n")


def _groups(pieces: Sequence[_Piece], rule: ChunkingRule) -> list[tuple[int, int]]:
    """First and last piece of each chunk."""
    groups: list[tuple[int, int]] = []
    first = 0
    while first < len(pieces):
        fresh = groups[-1][1] + 1 if groups else 0
        last = _last(pieces, first, fresh, rule.tokens)
        groups.append((first, last))
        first = _next_first(pieces, first, last, rule)
    return groups


def _last(pieces: Sequence[_Piece], first: int, fresh: int, most: int) -> int:
    """Last piece of the chunk that begins at `first`; pieces before `fresh` are overlap, so it is at least `fresh`."""
    total, last = 0, first
    for at in range(first, len(pieces)):
        piece = pieces[at]
        opens_section = piece.heading and not pieces[at - 1].heading and total >= _ENOUGH_SHARE * most
        if at > fresh and (total + piece.tokens > most or opens_section):
            break
        total += piece.tokens
        last = at
    if last + 1 < len(pieces):
        while last > fresh and pieces[last].heading:
            last -= 1
    return last


def _next_first(pieces: Sequence[_Piece], first: int, last: int, rule: ChunkingRule) -> int:
    """Where the next chunk begins: as many of the last pieces again as fit the overlap and leave room for a new one."""
    following = last + 1
    if following >= len(pieces) or pieces[following].heading:
        return following
    room = min(rule.overlap_tokens, rule.tokens - pieces[following].tokens)
    begin, total = following, 0
    while begin - 1 > first and total + pieces[begin - 1].tokens <= room:
        begin -= 1
        total += pieces[begin].tokens
    return begin
