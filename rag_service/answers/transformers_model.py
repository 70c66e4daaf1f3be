"""Answer models run by transformers: sequence-to-sequence (T5) and causal chat models, also from GGUF files."""

import threading
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from jinja2 import TemplateError

from cuvee.errors import ConfigurationError, InvalidInputError
from rag_service.answers import prompt
from rag_service.answers.exchange import Turn
from rag_service.answers.generation_thread import GenerationThread
from rag_service.answers.model_files import origin_of
from rag_service.answers.models import Pieces
from rag_service.answers.prompt import Prompt
from rag_service.documents import sentences
from rag_service.index.hybrid import Hit

MAX_NEW_TOKENS = 96
MOST_PASSAGES = 3
"""Models that run on a CPU lose the thread beyond this, and reading a prompt is most of their time."""
MOST_PASSAGES_SMALL_CHAT = 2
_SMALL_PARAMETERS = 1_000_000_000


class TransformersModel:
    """Greedy, so that the same question over the same passages gives the same draft."""

    def __init__(self, model: Any, tokenizer: Any, name: str, timeout_seconds: float = 60.0) -> None:
        self.name = name
        self.may_decline = model.num_parameters() >= _SMALL_PARAMETERS
        self._model = model
        self._tokenizer = tokenizer
        self._timeout_seconds = timeout_seconds
        self._seq2seq = bool(model.config.is_encoder_decoder)
        self._takes_rules = self._chats and _knows_system_role(tokenizer)
        self._lock = threading.Lock()
        self._control_tokens = sorted(
            {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, key=lambda token: (-len(token), token)
        )

    @classmethod
    def load(cls, where: str, timeout_seconds: float = 60.0) -> "TransformersModel":
        """Load from a folder or .gguf file, else from the hub's cache or the hub.

        Raises:
            ConfigurationError: it cannot be had or is no model that writes text; names CUVEE_ANSWER_MODEL.
        """
        import torch
        import transformers

        origin = origin_of(where)
        try:
            config = transformers.AutoConfig.from_pretrained(origin.path, **origin.arguments)
            kind = (
                transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
            )
            # The configuration is passed on, because reading it from a GGUF file takes seconds.
            shared = {"config": config, **origin.arguments}
            tokenizer = transformers.AutoTokenizer.from_pretrained(origin.path, **shared)
            loaded: Any = kind.from_pretrained(origin.path, dtype=torch.float32, output_loading_info=True, **shared)
        except Exception as error:
            # Not narrower: a wrong file raises whatever its parser stumbles over, down to struct.error.
            raise ConfigurationError(
                f"CUVEE_ANSWER_MODEL names the model '{where}', which cannot be loaded: {error}"
            ) from error
        model, report = loaded
        if report["missing_keys"]:
            raise ConfigurationError(
                f"CUVEE_ANSWER_MODEL names '{where}', which is no model that writes text: it lacks the weights "
                f"{', '.join(sorted(report['missing_keys'])[:3])}."
            )
        version = origin.version or str(getattr(config, "_commit_hash", None) or "unknown")[:12]
        name = f"transformers:{origin.name}@{version}+prompt-{prompt.PROMPT_VERSION}"
        return cls(model.eval(), tokenizer, name, timeout_seconds)

    def stream(self, question: str, hits: Sequence[Hit], history: Sequence[Turn] = ()) -> Pieces:
        """The draft in pieces, as it is made; stops at the token limit and the time limit.

        Raises:
            InvalidInputError: the question alone is longer than the model's context.
        """
        small_chat = self._chats and not self.may_decline
        read = hits[: MOST_PASSAGES_SMALL_CHAT if small_chat else MOST_PASSAGES]
        asked = prompt.prompt_of(question, read, history, self._control_tokens)
        fitting = prompt.fitted(asked, self._length, self.context_tokens)
        if fitting is None:
            raise InvalidInputError(
                f"question: it is longer than the {self.context_tokens} tokens that the answer model reads at once."
            )
        if not fitting.passages:
            return True  # without a passage it would write from memory
        text = ""
        with closing(self._written(self._tokens(fitting), MAX_NEW_TOKENS)) as pieces:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as end:
                    return bool(end.value)
                yield piece
                text += piece
                if _goes_in_circles(text):
                    return False

    def write(self, instruction: str, text: str, most_tokens: int) -> str:
        """The model's continuation of an instruction and a text; empty where they do not fit its context."""
        text = prompt.quoted(text, self._control_tokens)
        if self._chats:
            messages = [{"role": "system", "content": instruction}, {"role": "user", "content": text}]
            tokens = self._templated(messages)
        else:
            tokens = self._tokenizer(f"{instruction}\n\n{text}", return_tensors="pt")
        if tokens["input_ids"].shape[1] > self.context_tokens:
            return ""
        return "".join(self._written(tokens, most_tokens)).strip()

    @property
    def context_tokens(self) -> int:
        """Most tokens of a prompt, after those kept for the answer if it shares the context."""
        config = self._model.config
        stated = [
            value
            for value in (
                getattr(config, "max_position_embeddings", None),
                getattr(config, "n_positions", None),
                self._tokenizer.model_max_length,
            )
            # A tokenizer without a limit states one of 10^30.
            if isinstance(value, int) and 0 < value < 10_000_000
        ]
        whole = min(stated, default=512)
        return whole if self._seq2seq else whole - MAX_NEW_TOKENS

    @property
    def _chats(self) -> bool:
        return not self._seq2seq and self._tokenizer.chat_template is not None

    def _tokens(self, asked: Prompt) -> Any:
        """Input ids, shape (1, tokens), and attention mask of the whole prompt."""
        if self._chats:
            return self._templated(asked.chat(small=not self.may_decline))
        return self._tokenizer(asked.plain(), return_tensors="pt")

    def _templated(self, messages: list[prompt.Message]) -> Any:
        return self._tokenizer.apply_chat_template(
            messages if self._takes_rules else prompt.without_system(messages),
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )

    def _length(self, asked: Prompt) -> int:
        return int(self._tokens(asked)["input_ids"].shape[1])

    def _written(self, tokens: Any, most_tokens: int) -> Pieces:
        """Pieces of what the model writes for a prompt; one prompt at a time."""
        with self._lock:
            thread = GenerationThread(self._model, self._tokenizer, tokens, most_tokens, self._timeout_seconds)
            return (yield from thread.pieces())


def _knows_system_role(tokenizer: Any) -> bool:
    """Whether the chat template takes rules: some raise at a message of the role system, some leave it out."""
    messages = [{"role": "system", "content": "Obey."}, {"role": "user", "content": "Why?"}]
    try:
        return "Obey." in tokenizer.apply_chat_template(messages, tokenize=False)
    except TemplateError:
        return False


def _goes_in_circles(text: str) -> bool:
    """Whether the last whole sentence was written before, as small models do until a limit stops them."""
    said = [" ".join(text[start:end].split()) for start, end in sentences.split(text)]
    return len(said) > 2 and said[-2] in said[:-2]
