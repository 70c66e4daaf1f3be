"""Answer models behind a server that speaks OpenAI's protocol: Ollama, vLLM, llama.cpp, or a hosted one."""

from collections.abc import Callable, Sequence
from urllib.parse import urldefrag, urlsplit

from cuvee.errors import ConfigurationError, InvalidInputError
from rag_service.answers import prompt
from rag_service.answers.exchange import Turn
from rag_service.answers.models import ModelOptions, Pieces
from rag_service.answers.openai_server import NoSuchModelError, Server
from rag_service.answers.prompt import Prompt
from rag_service.index.hybrid import Hit

MAX_NEW_TOKENS = 400
_MESSAGE_TOKENS = 8
"""What a chat template adds to a message; 4 to 7 in the templates in use."""
_CONTROL_TOKENS = ("[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<s>", "</s>", "<start_of_turn>", "<end_of_turn>")


class OpenAIModel:
    """A chat model on a server. Which model, and how much it reads, is asked of the server when it first answers."""

    may_decline = True

    def __init__(self, server: Server) -> None:
        self._server = server

    @classmethod
    def connect(cls, where: str, options: ModelOptions) -> "OpenAIModel":
        """For `<base url>[#<model>]`. A server that is down now is waited for: answers are 503 until it is up.

        Raises:
            ConfigurationError: no http address, the key is refused, or the server lacks the model.
        """
        url, model = urldefrag(where)
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise ConfigurationError(
                f"CUVEE_ANSWER_MODEL is 'openai:{where}'; after 'openai:' comes the server's address, such as "
                "http://127.0.0.1:11434/v1, and after '#' the model where it serves several."
            )
        server = Server(url, model or None, options)
        server.look()
        return cls(server)

    @property
    def name(self) -> str:
        return f"openai:{self._server.model_name}@{self._server.address}+prompt-{prompt.PROMPT_VERSION}"

    def stream(self, question: str, hits: Sequence[Hit], history: Sequence[Turn] = ()) -> Pieces:
        """The draft in pieces as the server sends them.

        Raises:
            NotReadyError: the server does not answer, breaks off, refuses the key, or lacks the model.
            ConfigurationError: it refuses the request.
            InvalidInputError: the question alone is longer than the model's context.
        """
        return (yield from self._again(lambda: self._fitting(question, hits, history)))

    def _fitting(self, question: str, hits: Sequence[Hit], history: Sequence[Turn]) -> Pieces:
        most = self._server.context_tokens() - MAX_NEW_TOKENS
        fitting = prompt.fitted(prompt.prompt_of(question, hits, history, _CONTROL_TOKENS), self._length, most)
        if fitting is None:
            raise InvalidInputError(
                f"question: it is longer than the {most} tokens that the answer model reads at once."
            )
        if not fitting.passages:
            return True  # without a passage it would write from memory
        return (yield from self._server.chat(fitting.chat(), MAX_NEW_TOKENS))

    def write(self, instruction: str, text: str, most_tokens: int) -> str:
        """What the model writes for an instruction and a text.

        Raises:
            NotReadyError: the server does not answer.
        """
        said = prompt.quoted(text, _CONTROL_TOKENS)
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": said}]
        return "".join(self._again(lambda: self._server.chat(messages, most_tokens))).strip()

    def _again(self, ask: Callable[[], Pieces]) -> Pieces:
        """`ask`, and once more if the server has lost its model; that is known before the first piece."""
        try:
            return (yield from ask())
        except NoSuchModelError:
            if self._server.named:
                raise
        return (yield from ask())

    def _length(self, asked: Prompt) -> int:
        """Tokens of the messages, counted part by part, so that a server counts each passage once."""
        said = [prompt.rendered("answer_rules"), asked.question, *(turn.text for turn in asked.history)]
        passages = [rendered for passage in asked.passages for rendered in (passage.title, passage.text)]
        overhead = _MESSAGE_TOKENS * (len(said) + 2 * len(passages))
        return sum(map(self._server.tokens, [*said, *passages])) + overhead
