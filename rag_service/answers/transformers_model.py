"""Answer models run by transformers: sequence-to-sequence (T5) and causal chat models, also from GGUF files."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuvee.errors import ConfigurationError, InvalidInputError
from rag_service.answers import prompt
from rag_service.documents import sentences
from rag_service.index.hybrid import Hit

MAX_NEW_TOKENS = 96
MOST_PASSAGES = 3
"""Small models lose the thread beyond this, and reading a prompt is most of the time on a CPU."""


@dataclass(frozen=True)
class _Origin:
    """Where a model is loaded from; `arguments` are from_pretrained's."""

    name: str
    path: str
    version: str
    arguments: dict[str, Any]


class TransformersModel:
    """Greedy, so that the same question over the same passages gives the same draft."""

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self._seq2seq = bool(model.config.is_encoder_decoder)
        self._lock = threading.Lock()
        self._control_tokens = sorted(
            {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}, key=lambda token: (-len(token), token)
        )

    @classmethod
    def load(cls, where: str) -> "TransformersModel":
        """Load from a folder or .gguf file, else from the hub's cache or the hub.

        Raises:
            ConfigurationError: it cannot be had or is no model that writes text; names CUVEE_ANSWER_MODEL.
        """
        import torch
        import transformers

        origin = _origin(where)
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
        return cls(model.eval(), tokenizer, f"transformers:{origin.name}@{version}+prompt-{prompt.PROMPT_VERSION}")

    def draft(self, question: str, hits: Sequence[Hit]) -> list[str]:
        """The model's sentences; one that the token limit cut off is left out.

        Raises:
            InvalidInputError: the question alone is longer than the model's context.
        """
        passages = [prompt.quoted(hit.chunk.text, self._control_tokens) for hit in hits[:MOST_PASSAGES]]
        asked = prompt.quoted(question, self._control_tokens)
        with self._lock:
            text, finished = self._generate(self._fitting(asked, passages))
        spans = sentences.split(text)
        if not finished:
            spans = spans[:-1]
        return [" ".join(text[start:end].split()) for start, end in spans]

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

    def _tokens(self, question: str, passages: Sequence[str]) -> Any:
        """Input ids, shape (1, tokens), and attention mask of the whole prompt."""
        if self._seq2seq or self._tokenizer.chat_template is None:
            return self._tokenizer(prompt.plain(question, passages), return_tensors="pt")
        return self._tokenizer.apply_chat_template(
            prompt.chat(question, passages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )

    def _fitting(self, question: str, passages: Sequence[str]) -> Any:
        """The prompt with as many passages as fit whole; of the first one, as many words as fit."""
        for count in range(len(passages), 0, -1):
            tokens = self._tokens(question, passages[:count])
            if tokens["input_ids"].shape[1] <= self.context_tokens:
                return tokens
        words = passages[0].split() if passages else []
        low, high, best = 0, len(words), None
        while low <= high:
            middle = (low + high) // 2
            tokens = self._tokens(question, [" ".join(words[:middle])])
            if tokens["input_ids"].shape[1] <= self.context_tokens:
                best, low = tokens, middle + 1
            else:
                high = middle - 1
        if best is None:
            raise InvalidInputError(
                f"question: it is longer than the {self.context_tokens} tokens that the answer model reads at once."
            )
        return best

    def _generate(self, tokens: Any) -> tuple[str, bool]:
        """The text written for a prompt, and whether the model ended it itself."""
        import torch

        with torch.inference_mode():
            output = self._model.generate(**tokens, do_sample=False, max_new_tokens=MAX_NEW_TOKENS)[0]
        # A decoder of its own starts with one start token; a causal model repeats the prompt.
        written = output[1:] if self._seq2seq else output[tokens["input_ids"].shape[1] :]
        text = str(self._tokenizer.decode(written, skip_special_tokens=True)).strip()
        return text, len(written) < MAX_NEW_TOKENS


def _origin(where: str) -> _Origin:
    path = Path(where).expanduser()
    is_path = path.suffix == ".gguf" or where.startswith(("/", "./", "../", "~")) or path.exists()
    if not is_path:
        return _Origin(where, where, "", {})
    if not path.exists():
        raise ConfigurationError(f"CUVEE_ANSWER_MODEL names {path}, and there is no such file or folder.")
    local = {"local_files_only": True}
    if path.is_file():
        if path.suffix != ".gguf":
            raise ConfigurationError(f"CUVEE_ANSWER_MODEL names {path}, which is neither a folder nor a .gguf file.")
        return _Origin(path.name, str(path.parent), _checksum([path]), {**local, "gguf_file": path.name})
    return _Origin(path.name, str(path), _checksum(sorted(p for p in path.iterdir() if p.is_file())), local)


def _checksum(files: Sequence[Path]) -> str:
    """First twelve digits of the SHA-256 over names and contents."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]
