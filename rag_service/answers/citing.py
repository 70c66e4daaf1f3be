"""Sources and their quotes: numbers are the ranks of the passages found, the same from the first event to the log."""

import re
from collections.abc import Sequence

from rag_service.answers.exchange import Quote, Sentence, Source
from rag_service.answers.grounding import Supported
from rag_service.index.hybrid import Hit

_LIKE_A_CITATION = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")


def sources(hits: Sequence[Hit]) -> tuple[Source, ...]:
    """Every passage, numbered from 1 by rank, without quotes."""
    return tuple(_source(number, hit) for number, hit in enumerate(hits, start=1))


def cite(supported: Sequence[Supported], hits: Sequence[Hit]) -> tuple[tuple[Sentence, ...], tuple[Source, ...]]:
    """The sentences with their citations, and the cited passages, by number, with what was quoted from each."""
    quotes: dict[int, set[tuple[int, int]]] = {}
    for sentence in supported:
        for proof in sentence.proofs:
            quotes.setdefault(proof.rank, set()).update((span.start, span.end) for span in proof.spans)
    cited = tuple(Sentence(s.text, tuple(sorted(rank + 1 for rank in s.ranks))) for s in supported)
    return cited, tuple(_source(rank + 1, hits[rank], sorted(quotes[rank])) for rank in sorted(quotes))


def marked(sentences: Sequence[Sentence]) -> str:
    """The answer's text: each sentence with its citations. What looks like one in a document's words is none."""
    texts = (_LIKE_A_CITATION.sub(r"(\1)", sentence.text) for sentence in sentences)
    marks = ("".join(f"[{number}]" for number in sentence.citations) for sentence in sentences)
    return " ".join(f"{text} {mark}" for text, mark in zip(texts, marks, strict=True))


def _source(number: int, hit: Hit, spans: Sequence[tuple[int, int]] = ()) -> Source:
    chunk = hit.chunk
    return Source(
        number=number,
        document_id=chunk.document_id,
        title=chunk.title,
        uri=chunk.uri,
        page=chunk.page,
        start_char=chunk.start_char,
        end_char=chunk.end_char,
        text=chunk.text,
        score=hit.score,
        quotes=tuple(
            Quote(chunk.text[start:end], chunk.start_char + start, chunk.start_char + end) for start, end in spans
        ),
    )
