"""From a question to an answer whose every sentence is cited, or to a refusal that says why."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

from cuvee.errors import InvalidInputError
from rag_service.answers import citing, conversation, grounding, models, refusal, scope
from rag_service.answers.claims import claims, declined
from rag_service.answers.exchange import (
    Answer,
    Asked,
    Checked,
    Event,
    Quote,
    Sentence,
    Source,
    SourcesFound,
    Token,
    Turn,
    Versions,
)
from rag_service.answers.grounding import Grounded
from rag_service.answers.models import AnswerModel, GenerativeModel, Pieces
from rag_service.documents.cleaning import clean_query
from rag_service.index.hybrid import Hit
from rag_service.index.search import Encoder, Found, Retriever

__all__ = [
    "Answer",
    "Answerer",
    "Asked",
    "Checked",
    "Event",
    "Quote",
    "Sentence",
    "Source",
    "SourcesFound",
    "Token",
    "Turn",
    "Versions",
    "cleaned",
]

_MOST_NEAREST = 3
_DECLINED = "the answer model found no answer in the passages"
_NO_SUPPORT = "no sentence of the answer model is supported by the passages found"


@dataclass(frozen=True)
class Answerer:
    """An answer model, and how the passages found are judged; what it says is checked by the retriever's encoder."""

    model: AnswerModel
    rewrite_questions: bool = False
    """Whether a generative model puts the question in its own words for the search."""
    decide: refusal.Decide = refusal.decide

    def answer(self, retriever: Retriever, asked: Asked) -> Answer:
        """Search, refuse or draft, check, cite.

        Raises:
            InvalidInputError: nothing is left of the question once it is cleaned.
            NotReadyError: the answer model is served elsewhere and does not answer.
        """
        *_, last = self.stream(retriever, asked)
        assert isinstance(last, Checked)
        return last.answer

    def stream(self, retriever: Retriever, asked: Asked) -> Iterator[Event]:
        """The passages found, pieces of the draft as they are made, and at last the checked answer.

        Raises:
            InvalidInputError: nothing is left of the question once it is cleaned.
            NotReadyError: the answer model is served elsewhere and does not answer.
        """
        started = time.perf_counter()
        question = cleaned(asked.question)
        writer = self.model if self.rewrite_questions and isinstance(self.model, GenerativeModel) else None
        queries = [cleaned(query) for query in conversation.queries(asked, writer)]
        found = _found(retriever, queries, asked)
        yield SourcesFound(citing.sources(found.hits))
        searched = time.perf_counter()
        reason = self.decide(found, retriever.generation.manifest)
        grounded = Grounded((), "kept")
        if reason is None:
            grounded, reason = yield from self._drafted(
                question, queries[0], found.hits, asked.history, retriever.encoder
            )
        ended = time.perf_counter()
        timings = {
            "embed": round(found.embed_ms, 2),
            "search": round(found.search_ms, 2),
            "answer": round((ended - searched) * 1e3, 2),
            "total": round((ended - started) * 1e3, 2),
        }
        yield Checked(self._result(retriever, asked, found.hits, grounded, reason, timings))

    def _drafted(
        self, question: str, query: str, hits: Sequence[Hit], history: Sequence[Turn], encoder: Encoder
    ) -> Generator[Token, None, tuple[Grounded, str]]:
        """Pieces of the draft; returns what of it is grounded, and why nothing is where that is so."""
        if not isinstance(self.model, GenerativeModel):
            draft = self.model.quotations(query, hits)
            yield from map(Token, _spaced([quotation.text for quotation in draft]))
            return Grounded(tuple(grounding.check(query, draft, hits, encoder)), "kept"), _NO_SUPPORT
        text, finished = yield from _collected(self.model.stream(question, hits, history))
        written = claims(text, finished, len(hits))
        if self.model.may_decline and declined(written):
            return Grounded((), "kept"), _DECLINED
        quotations = partial(models.extractive().quotations, query, hits)
        grounded = grounding.mend(query, written, hits, encoder, quotations, trusted=self.model.may_decline)
        return grounded, _NO_SUPPORT

    def _result(
        self,
        retriever: Retriever,
        asked: Asked,
        hits: Sequence[Hit],
        grounded: Grounded,
        reason: str | None,
        timings: dict[str, float],
    ) -> Answer:
        manifest = retriever.generation.manifest
        sentences, sources = citing.cite(grounded.sentences, hits)
        searched = scope.searched(retriever.generation, asked.where)
        refused = not sentences
        return Answer(
            answer=f"Not found in the documents. {searched}: {reason}." if refused else citing.marked(sentences),
            refused=refused,
            sentences=sentences,
            sources=sources,
            nearest=citing.sources(hits[:_MOST_NEAREST]) if refused else (),
            searched=searched,
            versions=Versions(
                manifest.number,
                manifest.embedder_version,
                self.model.name,
                grounded.draft,
                retriever.scorer.version if retriever.scorer else None,
            ),
            timings_ms=timings,
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


def _found(retriever: Retriever, queries: Sequence[str], asked: Asked) -> Found:
    """What any of the queries finds, each passage once with its best score."""
    searches = [retriever.search(query, asked.top_k, asked.where) for query in queries]
    if len(searches) == 1:
        return searches[0]
    best: dict[str, Hit] = {}
    for hit in (hit for found in searches for hit in found.hits):
        known = best.setdefault(hit.chunk.chunk_id, hit)
        best[hit.chunk.chunk_id] = hit if hit.order > known.order else known
    hits = sorted(best.values(), key=lambda hit: -hit.order)[: asked.top_k]
    embed_ms, search_ms = (sum(getattr(found, step) for found in searches) for step in ("embed_ms", "search_ms"))
    return replace(searches[0], hits=hits, embed_ms=embed_ms, search_ms=search_ms)


def _spaced(draft: Sequence[str]) -> list[str]:
    """Sentences as pieces of one text."""
    return [text if at == 0 else f" {text}" for at, text in enumerate(draft)]


def _collected(pieces: Pieces) -> Generator[Token, None, tuple[str, bool]]:
    """Passes the pieces on; returns the whole text, and whether no limit cut it off."""
    text = ""
    with closing(pieces):
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                return text, bool(end.value)
            text += piece
            yield Token(piece)
