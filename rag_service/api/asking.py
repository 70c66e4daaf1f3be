"""From a request to what the answerer is asked, and from its answer to what is logged and returned."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import anyio.from_thread
import sqlalchemy as sa

from cuvee.errors import InvalidInputError
from rag_service.answers.answerer import Answer, Answerer, Asked, Checked, Event, SourcesFound, Token, Turn, cleaned
from rag_service.api.schemas import (
    AskRequest,
    AskResponse,
    SearchRequest,
    SentenceOut,
    SourceOut,
    SourcesOut,
    VersionsOut,
)
from rag_service.feedback import log
from rag_service.feedback.log import Posed
from rag_service.index import filters
from rag_service.index.filters import Condition
from rag_service.index.search import Retriever


def where_of(body: AskRequest | SearchRequest) -> Condition | None:
    """The condition that topic, segment and filter make together.

    Raises:
        InvalidInputError: the filter is none; the message says why.
    """
    place = filters.place(body.topic, body.segment)
    if body.filter is None:
        return place
    try:
        return filters.both(place, filters.parse(body.filter))
    except InvalidInputError as error:
        raise InvalidInputError(f"filter: {error}") from error


@dataclass(frozen=True)
class Asking:
    """One request on its way: what answers it, from which generation, for whom."""

    answerer: Answerer
    retriever: Retriever
    engine: sa.Engine
    key_id: int
    posed: Posed
    asked: Asked

    @classmethod
    def of(cls, body: AskRequest, answerer: Answerer, retriever: Retriever, engine: sa.Engine, key_id: int) -> "Asking":
        """Raises InvalidInputError when the question or the filter cannot be used."""
        cleaned(body.question)
        turns = [turn.model_dump() for turn in body.history]
        history = tuple(Turn(turn.role, turn.text, tuple(turn.titles)) for turn in body.history)
        asked = Asked(body.question, body.top_k, where_of(body), history)
        posed = Posed(body.question, body.topic, body.segment, body.filter, turns)
        return cls(answerer, retriever, engine, key_id, posed, asked)

    def response(self) -> AskResponse:
        """The answer, logged."""
        *_, last = self._steps()
        assert isinstance(last, Checked)
        return self._logged(last.answer)

    def responses(self) -> Iterator[SourcesOut | Token | AskResponse]:
        """The passages, pieces of the draft, and last the answer, logged before it is given."""
        for item in self._steps():
            match item:
                case SourcesFound(sources):
                    yield SourcesOut(sources=[SourceOut.model_validate(source) for source in sources])
                case Checked(answer):
                    yield self._logged(answer)
                case Token():
                    yield item

    def _steps(self) -> Iterator[Event]:
        """What the answerer does, in a thread of the workshop, while somebody waits for it; then nothing is logged."""
        for step in self.answerer.stream(self.retriever, self.asked):
            anyio.from_thread.check_cancelled()
            yield step

    def _logged(self, answer: Answer) -> AskResponse:
        return shown(log.record(self.engine, self.key_id, self.posed, answer), answer)


def shown(question_id: uuid.UUID, answer: Answer) -> AskResponse:
    sources = partial(map, SourceOut.model_validate)
    return AskResponse(
        question_id=question_id,
        answer=answer.answer,
        refused=answer.refused,
        sentences=[SentenceOut.model_validate(sentence) for sentence in answer.sentences],
        sources=list(sources(answer.sources)),
        nearest=list(sources(answer.nearest)),
        versions=VersionsOut.model_validate(answer.versions),
        timings_ms=answer.timings_ms,
    )
