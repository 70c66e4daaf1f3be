"""Embedding by sentence-transformers: every model it knows, on a GPU where there is one; slower on processors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuvee.errors import ConfigurationError
from rag_service.index.model_files import ModelFiles

_BATCH_TEXTS = {"cpu": 32, "cuda": 256}


class TorchNetwork:
    """A sentence-transformers model in fp32."""

    def __init__(self, model: Any) -> None:
        from tokenizers import Tokenizer

        self.dimension = int(model.get_embedding_dimension())
        self._model = model
        # A copy of its own: the model's tokenizer is switched to truncation and padding by every encode.
        self.tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()

    @classmethod
    def load(cls, files: ModelFiles, threads: int | None) -> "TorchNetwork":
        """Raises ConfigurationError when the files are no model that can be used."""
        import torch

        if threads:
            torch.set_num_threads(threads)
        return cls(sentence_transformer(files, "cuda" if files.runtime == "torch-cuda" else "cpu"))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (texts, dimension)."""
        vectors = self._model.encode(
            list(texts),
            batch_size=_BATCH_TEXTS[self._model.device.type],
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def sentence_transformer(files: ModelFiles, device: str) -> Any:
    """The model as sentence-transformers loads it, in fp32.

    Raises:
        ConfigurationError: it cannot be loaded, or has no fast tokenizer; the message names CUVEE_EMBEDDER.
    """
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # it would end up in every log
    try:
        model = SentenceTransformer(str(files.folder), device=device, local_files_only=True)
    except (SafetensorError, OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError) as error:
        raise ConfigurationError(f"CUVEE_EMBEDDER={files.id} cannot be loaded from {files.folder}: {error}") from error
    if not getattr(model.tokenizer, "is_fast", False):
        raise ConfigurationError(f"CUVEE_EMBEDDER={files.id} has no fast tokenizer; chunks need its token offsets.")
    model.float().eval()
    model.max_seq_length = files.max_tokens
    return model
