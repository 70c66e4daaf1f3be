"""A server that speaks OpenAI's protocol: what it serves, how much that reads, and its errors in our words."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
BYTES_PER_TOKEN = 2
"""Where the server does not count tokens, each two bytes of UTF-8 count as one. Real text has three to five bytes to a
token, figures and rare scripts two: the estimate errs to fewer passages, never to a prompt that is cut off."""


class _NoSuchModelError(NotReadyError):
    """The server is up but lacks the model."""


class _KeyRefusedError(NotReadyError):
    """The server is up but refuses the key: at start a setting is wrong; later it may be the server that changed."""


class Server:
    """One base url; safe from several threads."""

    def __init__(self, base_url: str, model: str | None, options: ModelOptions) -> None:
        self.address = urlsplit(base_url).netloc.rpartition("@")[2]
        self._options = options
        self._model = model
        self._context_tokens: int | None = None
        self._counts: bool | None = None
        timeout = openai.Timeout(options.timeout_seconds, connect=_CONNECT_SECONDS)
        # The client insists on a key; servers of one's own ignore it.
        key = options.api_key or "none"
        self._client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=_RETRIES)
        self._tokenizer = httpx.Client(
            base_url=base_url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {key}"},
            timeout=_CONNECT_SECONDS,
        )
        self.tokens = lru_cache(maxsize=4096)(self._tokens)

    @property
    def model_name(self) -> str:
        return self._model or "unknown"

    def look(self) -> None:
        """Ask which models there are; a server that does not answer now may later.

        Raises:
            ConfigurationError: it refuses the key, or lacks the model.
        """
        try:
            self._ask_models()
        except _NoSuchModelError as error:
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
        if self._context_tokens is None:
            self._ask_models()
        return self._context_tokens or self._options.context_tokens

    def chat(self, messages: list[Message], most_tokens: int) -> Pieces:
        """Pieces of the answer to some messages; returns whether the model ended it itself.

        Raises:
            NotReadyError: the server is down, overloaded, breaks off, refuses the key, or has no such model any more.
            ConfigurationError: it refuses the request.
        """
        if self._model is None:
            self._ask_models()
        deadline = time.monotonic() + self._options.timeout_seconds
        reason = None
        with self._in_our_words():
            request: Any = {"model": self.model_name, "messages": messages, "max_tokens": most_tokens}
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

    def _tokens(self, text: str) -> int:
        """Tokens of a text, by the server's own tokenizer (vLLM and llama.cpp have one), else as an upper estimate."""
        if self._counts is not False and text:
            counted = self._counted(text)
            self._counts = counted is not None
            if counted is not None:
                return counted
        return math.ceil(len(text.encode()) / BYTES_PER_TOKEN)

    def _counted(self, text: str) -> int | None:
        # `prompt` is vLLM's word for it, `content` llama.cpp's; each ignores the other's.
        body = {"model": self.model_name, "prompt": text, "content": text, "add_special_tokens": False}
        try:
            answer = self._tokenizer.post("/tokenize", json=body)
            found = answer.raise_for_status().json()
            return int(found["count"]) if "count" in found else len(found["tokens"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None

    def _ask_models(self) -> None:
        with self._in_our_words():
            try:
                listed = self._client.models.list(timeout=_LOOK_SECONDS).data
            except openai.NotFoundError:
                listed = []  # some servers list nothing
        served = {entry.id: entry for entry in listed}
        model = self._model or next(iter(served), None)
        # Ollama lists `name:latest` for what is asked for as `name`.
        entry = served.get(model or "") or served.get(f"{model}:latest")
        if model is None or (served and entry is None):
            raise _NoSuchModelError(
                f"The answer model's server at {self.address} serves {', '.join(sorted(served)) or 'no model'}"
                f"{f', not {model}' if model else ''}; name one of its models after '#' in CUVEE_ANSWER_MODEL, or let "
                "it load that one."
            )
        self._model = model
        self._context_tokens = _stated_context(entry) or self._options.context_tokens

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
            return NotReadyError(
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


def _stated_context(entry: Any) -> int | None:
    """What vLLM (`max_model_len`) and llama.cpp (`meta.n_ctx` or `n_ctx_train`) say of a model."""
    if entry is None:
        return None
    extra = entry.model_extra or {}
    meta = extra.get("meta") or {}
    stated = extra.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else None)
    return stated if isinstance(stated, int) and stated > 0 else None
