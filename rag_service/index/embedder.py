"""The embedding model: one class for chunks (in Spark's Python workers) and for questions (in the service)."""

import logging
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rag_service.index.model_files import BUNDLED, ModelFiles, with_runtime

__all__ = ["BUNDLED", "Embedder", "ModelFiles", "Network", "shared"]

log = logging.getLogger(__name__)


class Network(Protocol):
    """A loaded model in one of the runtimes; used by one thread at a time."""

    @property
    def dimension(self) -> int: ...
    @property
    def tokenizer(self) -> Any:
        """A tokenizer of the library `tokenizers`, of its own: neither truncating nor padding."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (texts, dimension)."""


class Embedder:
    """Texts to unit vectors in fp32. Safe to use from several threads; they take turns."""

    def __init__(self, files: ModelFiles, network: Network) -> None:
        self.id = files.id
        self.version = files.version
        self.dimension = network.dimension
        self._network = network
        self._tokenizer = network.tokenizer
        self._turn = threading.Lock()

    @classmethod
    def load(cls, name: str, chunk_tokens: int, threads: int | None = None) -> "Embedder":
        """Load the model `name` for chunks of at most `chunk_tokens` tokens, to run on `threads` (None: every core).

        Raises:
            ConfigurationError: it cannot be had or cannot take so many tokens; the message names CUVEE_EMBEDDER.
        """
        started = time.perf_counter()
        files = ModelFiles.locate(name, chunk_tokens)
        network = _network(files, threads)
        seconds, where = time.perf_counter() - started, f"{threads} threads" if threads else "every core"
        log.info("embedder %s on %s, loaded in %.1f s (%s)", files.version, where, seconds, files.why)
        return cls(files, network)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of `texts`, shape (texts, dimension)."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        with self._turn:
            return self._network.encode(texts)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of `text`, in order, without special tokens and without truncation."""
        return [(start, end) for start, end in self._tokenizer.encode(text, add_special_tokens=False).offsets]


def shared(name: str, chunk_tokens: int, threads: int | None = None) -> Embedder:
    """The embedder of this process, loaded at the first call; another one takes its place."""
    return _shared(with_runtime(name), chunk_tokens, threads)


@lru_cache(maxsize=1)
def _shared(name: str, chunk_tokens: int, threads: int | None) -> Embedder:
    return Embedder.load(name, chunk_tokens, threads)


def _network(files: ModelFiles, threads: int | None) -> Network:
    # Each runtime is imported where it is used: torch takes 10 seconds and 400 MB that OpenVINO does without.
    if files.runtime.startswith("openvino"):
        from rag_service.index.openvino_runtime import OpenVinoNetwork

        return OpenVinoNetwork.load(files, threads)
    from rag_service.index.torch_runtime import TorchNetwork

    return TorchNetwork.load(files, threads)
