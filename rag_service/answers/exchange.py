"""What is asked, and what comes back: an answer whose every sentence is cited, or a refusal that says why."""

from dataclasses import dataclass
from typing import Any, Literal

Draft = Literal["kept", "mended", "replaced"]
"""What became of the answer model's draft: every sentence kept; some dropped or replaced by quotations; all of it."""


@dataclass(frozen=True)
class Turn:
    """One message of the conversation so far."""

    role: Literal["user", "assistant"]
    text: str
    titles: tuple[str, ...] = ()
    """Of the documents that an assistant's answer cited, where they are known."""


@dataclass(frozen=True)
class Asked:
    """A question, how many passages to answer it from, where to look, and what was said before, oldest first."""

    question: str
    top_k: int = 8
    where: Any = None
    """Condition of `rag_service.index.filters` that passages must meet; None: everywhere."""
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class Quote:
    """Exact words of a source; characters `start_char` to `end_char` of the document's cleaned text."""

    text: str
    start_char: int
    end_char: int
    page: int | None
    """Page on which it starts; None where the format has no pages."""


@dataclass(frozen=True)
class Source:
    """A passage. `number` is its rank, from 1; `quotes` are what the answer's sentences rest on, in reading order."""

    number: int
    document_id: str
    title: str
    uri: str
    page: int | None
    """That of its first quote; without quotes the page on which it starts."""
    start_char: int
    end_char: int
    text: str
    score: float
    quotes: tuple[Quote, ...] = ()


@dataclass(frozen=True)
class Sentence:
    """One sentence of an answer and the numbers of the sources that say it."""

    text: str
    citations: tuple[int, ...]
    quotes: tuple[int, ...] = ()
    """For each citation which quote of its source says the sentence, from 0."""


@dataclass(frozen=True)
class Versions:
    """Everything that took part in an answer, and what became of the answer model's draft."""

    generation: int
    embedder: str
    answer_model: str
    draft: Draft = "kept"
    reranker: str | None = None
    """None: passages stand in the order of the search."""


@dataclass(frozen=True)
class Answer:
    """What is returned and logged.

    A refusal has neither sentences nor sources; its text says what was searched and why there is no answer.
    """

    answer: str
    refused: bool
    sentences: tuple[Sentence, ...]
    sources: tuple[Source, ...]
    """The cited passages, by number."""
    nearest: tuple[Source, ...]
    """Of a refusal: the nearest passages, at most three; else none."""
    searched: str
    """Such as "Searched 132 passages of 16 documents"."""
    versions: Versions
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class SourcesFound:
    """First event of a stream: every passage found, numbered by rank."""

    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Token:
    """A piece of the draft as the model makes it; not checked yet."""

    text: str


@dataclass(frozen=True)
class Checked:
    """Last event of a stream: the checked answer, which is what holds."""

    answer: Answer


Event = SourcesFound | Token | Checked
