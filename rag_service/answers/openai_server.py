"""A server that speaks OpenAI's protocol: what it serves, how much that reads, and its errors in our words."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai

from cuvee.errors import ConfigurationError, CuveeError, NotReadyError
from rag_service.answers.models import ModelOptions, Pieces
from rag_service.answers.prompt import Message

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 10.0
_RETRIES = 2
_PAUSE_SECONDS = 30.0
"""After a tokenizer that failed: the parts of a question do not each wait for it anew."""
BYTES_PER_TOKEN = 2
"""Where the server does not count tokens, each two bytes of UTF-8 count as one. Real text has three to five bytes to a
token, figures and rare scripts two: the estimate errs to fewer passages, never to a prompt that is cut off."""


class NoSuchModelError(NotReadyError):
    """The server is up but lacks the model."""


class _KeyRefusedError(NotReadyError):
    """The server is up but refuses the key: at start a setting is wrong; later it may be the server that changed."""


@dataclass(frozen=True)
class _Served:
    """What the server says that it has."""

    model: str
    context_tokens: int


class Server:
    """One base url; safe from several threads."""

    def __init__(self, base_url: str, model: str | None, options: ModelOptions) -> None:
        self.address = urlsplit(base_url).netloc.rpartition("@")[2]
        self._options = options
        self.named = model
        self._found: _Served | None = None
        self._counts_from = 0.0
        """Monotonic time from which the tokenizer may be asked; infinite where there is none."""
        timeout = openai.Timeout(options.timeout_seconds, connect=_CONNECT_SECONDS)
        # The client insists on a key; servers of one's own ignore it.
        key = options.api_key or "none"
        self._client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=_RETRIES)
        self._tokenizer = httpx.Client(
            base_url=base_url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {key}"},
            timeout=_CONNECT_SECONDS,
        )
        # An error is not remembered, and so no estimate either.
        self._counted = lru_cache(maxsize=4096)(self._count)

    @property
    def model_name(self) -> str:
        found = self._found
        return self.named or (found.model if found else "unknown")

    def look(self) -> None:
        """Ask which models there are; a server that does not answer now may later.

        Raises:
            ConfigurationError: it refuses the key, or lacks the model.
        """
        try:
            self._ask_models()
        except NoSuchModelError as error:
            raise ConfigurationError(f"CUVEE_ANSWER_MODEL names a model that is not served. {error}") from error
        except _KeyRefusedError as error:
            raise ConfigurationError(str(error)) from error
        except NotReadyError as error:
            log.warning("%s Questions are answered with 503 until it does.", error)

    def context_tokens(self) -> int:
        """Tokens that prompt and answer may have together: what the server says, else the setting.

        Raises:
            NotReadyError: the server does not answer.
        """
        return (self._found or self._ask_models()).context_tokens

    def chat(self, messages: list[Message], most_tokens: int) -> Pieces:
        """Pieces of the answer to some messages; returns whether the model ended it itself.

        Raises:
            NoSuchModelError: the server has no such model any more.
            NotReadyError: it is down, overloaded, breaks off, or refuses the key.
            ConfigurationError: it refuses the request.
        """
        model = self.named or (self._found or self._ask_models()).model
        try:
            return (yield from self._chat(model, messages, most_tokens))
        except (NoSuchModelError, ConfigurationError):
            self._forget()
            raise

    def _chat(self, model: str, messages: list[Message], most_tokens: int) -> Pieces:
        deadline = time.monotonic() + self._options.timeout_seconds
        reason = None
        with self._in_our_words():
            request: Any = {"model": model, "messages": messages, "max_tokens": most_tokens}
            events = self._client.chat.completions.create(**request, temperature=0, stream=True)
            with closing(events):
                for event in events:
                    for choice in event.choices[:1]:
                        reason = choice.finish_reason or reason
                        if choice.delta.content:
                            yield choice.delta.content
                    if time.monotonic() > deadline:
                        return False
        return reason == "stop"

    def tokens(self, text: str) -> int:
        """Tokens of a text, by the server's own tokenizer (vLLM and llama.cpp have one), else as an upper estimate."""
        if text and time.monotonic() >= self._counts_from:
            try:
                return self._counted(text)
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                self._counts_from = time.monotonic() + _PAUSE_SECONDS if _passes(error) else math.inf
        return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)

    def _forget(self) -> None:
        """What was found has proved wrong: the next question asks again."""
        self._found, self._counts_from = None, 0.0
        self._counted.cache_clear()

    def _count(self, text: str) -> int:
        # `prompt` is vLLM's word for it, `content` llama.cpp's; each ignores the other's.
        body = {"model": self.model_name, "prompt": text, "content": text, "add_special_tokens": False}
        found = self._tokenizer.post("/tokenize", json=body).raise_for_status().json()
        return int(found["count"]) if "count" in found else len(found["tokens"])

    def _ask_models(self) -> _Served:
        with self._in_our_words():
            try:
                listed = self._client.models.list(timeout=_LOOK_SECONDS).data
            except openai.NotFoundError:
                listed = []  # some servers list nothing
        served = {entry.id: entry for entry in listed}
        model = self.named or next(iter(served), None)
        # Ollama lists `name:latest` for what is asked for as `name`.
        entry = served.get(model or "") or served.get(f"{model}:latest")
        if model is None or (served and entry is None):
            raise NoSuchModelError(
                f"The answer model's server at {self.address} serves {', '.join(sorted(served)) or 'no model'}"
                f"{f', not {model}' if model else ''}; name one of its models after '#' in CUVEE_ANSWER_MODEL, or let "
                "it load that one."
            )
        self._found = found = _Served(model, _stated_context(entry) or self._options.context_tokens)
        return found

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        try:
            yield
        except (openai.OpenAIError, httpx.HTTPError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> CuveeError:
        where = f"The answer model's server at {self.address}"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return _KeyRefusedError(f"{where} refuses the key: set CUVEE_ANSWER_API_KEY.")
        # Most answer 404, some 400 with this code.
        if isinstance(error, openai.APIStatusError) and (
            error.status_code == httpx.codes.NOT_FOUND or error.code == "model_not_found"
        ):
            return NoSuchModelError(
                f"{where} has no model '{self.model_name}' to answer with; let it load that model, or name one of its "
                "models after '#' in CUVEE_ANSWER_MODEL."
            )
        if isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
            return ConfigurationError(
                f"{where} refuses the request ({error.message[:200]}); if it is too long for the model, lower "
                "CUVEE_ANSWER_CONTEXT_TOKENS."
            )
        if isinstance(error, openai.APITimeoutError | httpx.TimeoutException):
            return NotReadyError(f"{where} did not answer within {self._options.timeout_seconds:g} s. Try again later.")
        if isinstance(error, openai.APIStatusError):
            return NotReadyError(f"{where} answers with status {error.status_code}. Try again later.")
        return NotReadyError(f"{where} does not answer: is it running? Try again later.")


def _passes(error: Exception) -> bool:
    """Whether a tokenizer that failed so may count later; one that is not there, or speaks otherwise, never will."""
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status == httpx.codes.TOO_MANY_REQUESTS or (status >= 500 and status != httpx.codes.NOT_IMPLEMENTED)
    return isinstance(error, httpx.HTTPError)


def _stated_context(entry: Any) -> int | None:
    """What vLLM (`max_model_len`) and llama.cpp (`meta.n_ctx` or `n_ctx_train`) say of a model."""
    if entry is None:
        return None
    extra = entry.model_extra or {}
    meta = extra.get("meta") or {}
    stated = extra.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return stated if isinstance(stated, int) and stated > 0 else None
