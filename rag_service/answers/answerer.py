"""From a question to an answer whose every sentence is cited, or to a refusal that says why."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cuvee.errors import InvalidInputError
from rag_service.answers import grounding
from rag_service.answers.grounding import Supported
from rag_service.answers.models import AnswerModel
from rag_service.documents.cleaning import clean_query
from rag_service.index.filters import Condition, places
from rag_service.index.generation import Hit
from rag_service.index.search import Encoder, Retriever


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer and the numbers of the sources that say it."""

    text: str
    citations: tuple[int, ...]


@dataclass(frozen=True)
class Turn:
    """What was said earlier in the conversation."""

    role: Literal["user", "assistant"]
    text: str
    titles: tuple[str, ...] = ()
    """Of the documents that an assistant's answer cited, where they are known."""


@dataclass(frozen=True)
class Asked:
    """A question, where to look for its answer, and what was said before it."""

    question: str
    top_k: int = 8
    where: Condition | None = None
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Quote:
    """Words of a source that an answer rests on; the span is in the document's cleaned text."""

    text: str
    start_char: int
    end_char: int


@dataclass(frozen=True)
class Source:
    """A passage; the span is in the document's cleaned text."""

    number: int
    document_id: str
    title: str
    uri: str
    page: int | None
    start_char: int
    end_char: int
    text: str
    score: float
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True)
class Versions:
    """Everything that took part in an answer."""

    generation: int
    embedder: str
    answer_model: str
    draft: Literal["kept", "mended", "replaced"] = "kept"


@dataclass(frozen=True)
class Answer:
    """What is returned and logged; a refusal has no sentences and sources, but the nearest passages."""

    answer: str
    refused: bool
    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]
    versions: Versions
    timings_ms: dict[str, float]
    nearest: tuple[Source, ...] = ()
    searched: str = ""


@dataclass(frozen=True)
class SourcesFound:
    """The passages to answer from, numbered by rank; comes first."""

    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Token:
    """A piece of the draft, which is not checked yet."""

    text: str


@dataclass(frozen=True)
class Checked:
    """The answer as it stands once it is checked; comes last."""

    answer: Answer


@dataclass(frozen=True)
class Answerer:
    """An answer model and the encoder that checks what it says."""

    model: AnswerModel
    encoder: Encoder

    def answer(self, retriever: Retriever, asked: Asked) -> Answer:
        """Search, refuse or draft, check, cite.

        Raises:
            InvalidInputError: nothing is left of the question once it is cleaned.
        """
        *_, last = self.stream(retriever, asked)
        assert isinstance(last, Checked)
        return last.answer

    def stream(self, retriever: Retriever, asked: Asked) -> Iterator[SourcesFound | Token | Checked]:
        """The same, as it comes."""
        started = time.perf_counter()
        query = cleaned(asked.question)
        found = retriever.search(query, asked.top_k, asked.where)
        searched = time.perf_counter()
        wanted = places(asked.where)
        yield SourcesFound(tuple(_source(rank, hit) for rank, hit in enumerate(found.hits, start=1)))
        reason = _too_far(found.hits, retriever.generation.manifest.refusal_threshold, **wanted)
        supported: list[Supported] = []
        if reason is None:
            draft = self.model.draft(query, found.hits)
            yield from (Token(f"{sentence} ") for sentence in draft)
            supported = grounding.check(query, draft, found.hits, self.encoder)
            reason = None if supported else "no sentence of the answer model is supported by the passages found"
        sentences, sources = cite(supported, found.hits)
        text = " ".join(_marked(sentence) for sentence in sentences)
        ended = time.perf_counter()
        manifest = retriever.generation.manifest
        yield Checked(
            Answer(
                answer=text or f"Not found in the documents: {reason}.",
                refused=not sentences,
                sentences=sentences,
                sources=sources,
                nearest=()
                if sentences
                else tuple(_source(rank, hit) for rank, hit in enumerate(found.hits[:3], start=1)),
                versions=Versions(manifest.number, manifest.embedder_version, self.model.name),
                timings_ms={
                    "embed": round(found.embed_ms, 2),
                    "search": round(found.search_ms, 2),
                    "answer": round((ended - searched) * 1e3, 2),
                    "total": round((ended - started) * 1e3, 2),
                },
            )
        )


def cleaned(query: str) -> str:
    """The query as the documents were cleaned.

    Raises:
        InvalidInputError: nothing is left of it.
    """
    text = clean_query(query)
    if not text:
        raise InvalidInputError("The question has no readable characters; ask it in words.")
    return text


def _too_far(hits: Sequence[Hit], threshold: float, topic: str | None = None, segment: str | None = None) -> str | None:
    """Why there is nothing to answer from; None when there is."""
    if not hits:
        place = " and ".join(f"{name} '{value}'" for name, value in (("topic", topic), ("segment", segment)) if value)
        return f"nothing is indexed for {place}" if place else "nothing is indexed"
    if hits[0].score < threshold:
        return "no passage is near enough to the question"
    return None


def cite(supported: Sequence[Supported], hits: Sequence[Hit]) -> tuple[tuple[Sentence, ...], tuple[Source, ...]]:
    """Number the cited passages from 1 in the order in which they are first cited."""
    numbers: dict[int, int] = {}
    for sentence in supported:
        for rank in sentence.ranks:
            numbers.setdefault(rank, len(numbers) + 1)
    sentences = tuple(Sentence(s.text, tuple(sorted(numbers[rank] for rank in s.ranks))) for s in supported)
    said = {rank: [s.text for s in supported if rank in s.ranks] for rank in numbers}
    return sentences, tuple(_source(number, hits[rank], said[rank]) for rank, number in numbers.items())


def _source(number: int, hit: Hit, said: Sequence[str] = ()) -> Source:
    chunk = hit.chunk
    lines = [line for sentence in said for line in sentence.splitlines() if line in chunk.text]
    starts = [chunk.start_char + chunk.text.index(line) for line in lines]
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
        quotes=tuple(Quote(line, at, at + len(line)) for line, at in zip(lines, starts, strict=True)),
    )


def _marked(sentence: Sentence) -> str:
    return " ".join([sentence.text, "".join(f"[{number}]" for number in sentence.citations)])
