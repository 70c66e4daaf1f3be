"""Sources and their quotes: numbers are the ranks of the passages found, the same from the first event to the log."""

import re
from collections.abc import Mapping, Sequence

from rag_service.answers.exchange import Quote, Sentence, Source
from rag_service.answers.grounding import Supported
from rag_service.index.hybrid import Hit

_LIKE_A_CITATION = re.compile(r"\[(\d+(?:\s*,\s*\d+)*)\]")


def sources(hits: Sequence[Hit]) -> tuple[Source, ...]:
    """Every passage, numbered from 1 by rank, without quotes."""
    return tuple(_source(number, hit) for number, hit in enumerate(hits, start=1))


def cite(supported: Sequence[Supported], hits: Sequence[Hit]) -> tuple[tuple[Sentence, ...], tuple[Source, ...]]:
    """The sentences with their citations, and the cited passages, by number, with what was quoted from each."""
    found: dict[int, set[tuple[int, int]]] = {}
    for sentence in supported:
        for proof in sentence.proofs:
            found.setdefault(proof.rank, set()).update((span.start, span.end) for span in proof.spans)
    quotes = {rank: sorted(found[rank]) for rank in sorted(found)}
    cited = tuple(_sentence(sentence, quotes) for sentence in supported)
    return cited, tuple(_source(rank + 1, hits[rank], spans) for rank, spans in quotes.items())


def marked(sentences: Sequence[Sentence]) -> str:
    """The answer's text: each sentence with its citations. What looks like one in a document's words is none."""
    texts = (_LIKE_A_CITATION.sub(r"(\1)", sentence.text) for sentence in sentences)
    marks = ("".join(f"[{number}]" for number in sentence.citations) for sentence in sentences)
    return " ".join(f"{text} {mark}" for text, mark in zip(texts, marks, strict=True))


def _sentence(supported: Supported, quotes: Mapping[int, list[tuple[int, int]]]) -> Sentence:
    proofs = sorted(supported.proofs, key=lambda proof: proof.rank)
    # The last span: a row of a table is quoted after its head, which may stand on the page before.
    said = [quotes[proof.rank].index((proof.spans[-1].start, proof.spans[-1].end)) for proof in proofs]
    return Sentence(supported.text, tuple(proof.rank + 1 for proof in proofs), tuple(said))


def _source(number: int, hit: Hit, spans: Sequence[tuple[int, int]] = ()) -> Source:
    chunk = hit.chunk
    quotes = tuple(
        Quote(chunk.text[start:end], chunk.start_char + start, chunk.start_char + end, chunk.page_at(start))
        for start, end in spans
    )
    return Source(
        number=number,
        document_id=chunk.document_id,
        title=chunk.title,
        uri=chunk.uri,
        page=quotes[0].page if quotes else chunk.page,
        start_char=chunk.start_char,
        end_char=chunk.end_char,
        text=chunk.text,
        score=hit.score,
        quotes=quotes,
    )
