"""Between OpenAI's chat and our questions: messages in, a message with its citations out."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import ValidationError

from cuvee.errors import InvalidInputError, TooLargeError
from rag_service.api.openai_schemas import (
    Annotation,
    AnswerMessage,
    ChatRequest,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    UrlCitation,
    Usage,
)
from rag_service.api.schemas import MOST_QUESTION_CHARS, MOST_TURN_CHARS, MOST_TURNS, AskRequest, AskResponse, SourceOut

_LIST_HEAD = "\n\nSources:\n"
_LISTED_TITLE = re.compile(r"^\[\d+\] (.{1,300}?)(?:, page \d+)?: https?://", re.M)
_PIECE = re.compile(r"\S+\s*|\s+")


def ask_request(body: ChatRequest, topic: str | None) -> AskRequest:
    """The last message of the user is the question, what was said before it the history.

    Raises:
        InvalidInputError: there is no question, or one that cannot be asked.
        TooLargeError: it is too long.
    """
    said = [message for message in body.messages if message.role in ("user", "assistant") and message.text.strip()]
    last = max((at for at, message in enumerate(said) if message.role == "user"), default=None)
    if last is None:
        raise InvalidInputError("messages: there is no message of the role 'user' to answer.")
    question = said[last].text.strip()
    if len(question) > MOST_QUESTION_CHARS:
        raise TooLargeError(f"The last message has {len(question)} characters; at most {MOST_QUESTION_CHARS} are read.")
    # Clients send the whole conversation every time; what is too old or too long is left out, not refused.
    history = [
        {"role": message.role, "text": text[:MOST_TURN_CHARS], "titles": _LISTED_TITLE.findall(listed)}
        for message in said[:last][-MOST_TURNS:]
        for text, _, listed in [message.text.strip().partition(_LIST_HEAD)]
        if text
    ]
    place = {"topic": topic, "segment": body.segment, "filter": body.filter}
    try:
        return AskRequest.model_validate({"question": question, "history": history, "top_k": body.top_k, **place})
    except ValidationError as error:
        raise InvalidInputError("; ".join(problem["msg"] for problem in error.errors())) from error


@dataclass(frozen=True)
class Reply:
    """An answer in OpenAI's form, whole or in pieces."""

    answer: AskResponse
    model: str
    created: int
    page_url: str
    """Where people's browsers reach the page, for links to the passages."""
    prompt: str
    token_count: Callable[[str], int]

    def whole(self) -> Completion:
        message = AnswerMessage(content=self.content, annotations=self.annotations())
        return Completion(
            id=self.id,
            created=self.created,
            model=self.model,
            choices=[Choice(message=message)],
            usage=self.usage(),
            sources=self.answer.sources,
            question_id=str(self.answer.question_id),
        )

    def pieces(self, with_usage: bool) -> Iterator[Chunk]:
        """Word by word; then annotations and sources; then the usage."""
        for word in _PIECE.findall(self.content):
            yield self._chunk(ChunkChoice(delta={"content": word}))
        annotations = [annotation.model_dump() for annotation in self.annotations()]
        last = self._chunk(ChunkChoice(delta={"annotations": annotations}, finish_reason="stop"))
        question_id = str(self.answer.question_id)
        yield last.model_copy(update={"sources": self.answer.sources, "question_id": question_id})
        if with_usage:
            yield self._chunk().model_copy(update={"usage": self.usage()})

    @property
    def id(self) -> str:
        return f"chatcmpl-{self.answer.question_id.hex}"

    @property
    def content(self) -> str:
        """The answer, and a list of its sources for clients that show nothing but text."""
        if not self.answer.sources:
            return self.answer.answer
        listed = (f"[{s.number}] {_label(s, s.page)}: {self._url(s, s.page)}" for s in self.answer.sources)
        return f"{self.answer.answer}{_LIST_HEAD}" + "\n".join(listed)

    def annotations(self) -> list[Annotation]:
        """One for each mark `[n]` that stands behind a sentence."""
        sources, text, at, found = {s.number: s for s in self.answer.sources}, self.answer.answer, 0, []
        for sentence in self.answer.sentences:
            begins = text.find(sentence.text, at)
            at = at if begins < 0 else begins + len(sentence.text)
            for place, number in enumerate(sentence.citations):
                start = text.find(mark := f"[{number}]", at)
                if start >= 0 and number in sources:
                    at, source = start + len(mark), sources[number]
                    # That of the quote which says this sentence, not of the first that the source is cited for.
                    page = source.quotes[sentence.quotes[place]].page if sentence.quotes else source.page
                    title, url = _label(source, page), self._url(source, page)
                    citation = UrlCitation(start_index=start, end_index=at, title=title, url=url)
                    found.append(Annotation(url_citation=citation))
        return found

    def usage(self) -> Usage:
        prompt, completion = self.token_count(self.prompt), self.token_count(self.content)
        return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)

    def _chunk(self, *choices: ChunkChoice) -> Chunk:
        return Chunk(id=self.id, created=self.created, model=self.model, choices=list(choices))

    def _url(self, source: SourceOut, page: int | None) -> str:
        where = f"start={source.start_char}&end={source.end_char}" + (f"&page={page}" if page else "")
        return f"{self.page_url}/#/documents/{quote(source.document_id, safe='')}?{where}"


def _label(source: SourceOut, page: int | None) -> str:
    return source.title + (f", page {page}" if page else "")
