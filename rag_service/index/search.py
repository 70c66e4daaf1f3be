"""Searching one generation, and holding the generation that is served while newer ones are published."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from cuvee.errors import CuveeError, IntegrityError, NotReadyError
from rag_service.index import hybrid
from rag_service.index.calibration import Calibration
from rag_service.index.filters import Condition
from rag_service.index.generation import MANIFEST, Generation, Manifest, current
from rag_service.index.hybrid import Hit
from rag_service.index.neighbours import merged
from rag_service.index.recency import ALWAYS_FRESH, Recency
from rag_service.index.reranker import RERANKED, Scorer, reranked

log = logging.getLogger(__name__)

Vectors = npt.NDArray[np.float32]


class Encoder(Protocol):
    """Turns texts into vectors; `rag_service.index.embedder.Embedder` is one."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    def encode(self, texts: Sequence[str]) -> Vectors:
        """Shape (texts, dimension), rows of length one."""


class CachingEncoder:
    """An encoder that remembers the vectors of the texts it met last: questions come back."""

    def __init__(self, encoder: Encoder, most_texts: int = 20_000) -> None:
        self._encoder = encoder
        self._most_texts = most_texts
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        return self._encoder.id

    @property
    def version(self) -> str:
        return self._encoder.version

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Shape (texts, dimension)."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        with self._lock:
            found = {text: self._known[text] for text in texts if text in self._known}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            # Not under the lock: several threads' texts may be embedded together.
            found.update(zip(missing, (vector.copy() for vector in self._encoder.encode(missing)), strict=True))
        with self._lock:
            for text in texts:
                self._known[text] = found[text]
                self._known.move_to_end(text)
            while len(self._known) > self._most_texts:
                self._known.popitem(last=False)
        return np.stack([found[text] for text in texts])


class Described(hybrid.Searchable, Protocol):
    """What a retriever needs of a generation."""

    @property
    def manifest(self) -> Manifest: ...


@dataclass(frozen=True)
class Found:
    """Result of one search: passages, best first, and how long its two steps took."""

    hits: list[Hit]
    embed_ms: float
    search_ms: float
    vector: Vectors
    """Of the question, shape (dimension,)."""


@dataclass(frozen=True)
class Retriever:
    """One generation together with the encoder that made its vectors."""

    generation: Described
    encoder: Encoder
    tuned: Calibration | None = None
    """Weights to try in place of the generation's own."""
    scorer: Scorer | None = None
    """Orders the best passages anew, where a reranker is set."""
    recency: Recency = ALWAYS_FRESH

    @cached_property
    def calibration(self) -> Calibration:
        return self.tuned or Calibration.of(self.generation.manifest.tuning)

    def search(self, query: str, top_k: int, where: Condition | None = None) -> Found:
        """The best passages for `query`; those that touch in one document are one passage, so there may be fewer."""
        started = time.perf_counter()
        vector = self.encoder.encode([query])[0]
        embedded = time.perf_counter()
        hits = merged(self.ranked(query, vector, top_k, where))
        return Found(hits, (embedded - started) * 1e3, (time.perf_counter() - embedded) * 1e3, vector)

    def ranked(self, query: str, vector: Vectors, top_k: int, where: Condition | None = None) -> list[Hit]:
        """The `top_k` chunks for a question whose vector is known, each as it is stored."""
        understood = hybrid.understood(self.generation, query, vector, self.calibration)
        if self.scorer is None:
            return hybrid.search(self.generation, understood, top_k, where, self.recency)
        hits = hybrid.search(self.generation, understood, max(top_k, RERANKED), where, self.recency)
        return reranked(self.scorer, query, hits)[:top_k]


class ServedIndex:
    """The published generation, loaded; swapped whole, so that a request sees one generation from end to end."""

    def __init__(
        self,
        engine: sa.Engine,
        index_dir: Path,
        encoder_of: Callable[[Manifest], Encoder],
        scorer: Scorer | None = None,
        recency: Recency = ALWAYS_FRESH,
    ) -> None:
        self._engine = engine
        self._index_dir = index_dir
        self._encoder_of = encoder_of
        self._scorer = scorer
        self._recency = recency
        self._manifest_bytes = b""
        self._retriever: Retriever | None = None
        self._problem: str | None = None
        self._lock = threading.Lock()

    @property
    def problem(self) -> str | None:
        """Why what is published is not what is served; None when all is well."""
        return self._problem

    def retriever(self) -> Retriever:
        """The generation that is served now.

        Raises:
            NotReadyError: nothing is indexed yet, or what is published cannot be served.
        """
        served = self._retriever
        if served is not None:
            return served
        raise NotReadyError(
            self._problem
            or "Nothing is indexed yet: put files into data/inbox/<topic>/<segment>/ and let the DAG "
            "index_documents run."
        )

    def refresh(self) -> None:
        """Serve what is published now, by the embedder that it was made with. A generation that cannot be served
        leaves the present one in place.
        """
        with self._lock:
            try:
                folder = current(self._engine, self._index_dir)
                if folder is not None and (published := (folder / MANIFEST).read_bytes()) != self._manifest_bytes:
                    self._retriever = self._load(folder)
                    self._manifest_bytes = published
                self._problem = None
            except (CuveeError, OSError, ValueError, RuntimeError) as error:
                self._fail(f"The published index generation cannot be served: {error}")
            except sa.exc.SQLAlchemyError as error:
                log.error("the database does not answer: %s", error)
                self._fail("The database does not answer, so it is not known which generation is published.")

    def _load(self, folder: Path) -> Retriever:
        started = time.perf_counter()
        generation = Generation.load(folder)
        encoder = self._encoder_for(generation.manifest)
        log.info("serving generation %d (loaded in %.2f s)", generation.manifest.number, time.perf_counter() - started)
        return Retriever(generation, encoder, scorer=self._scorer, recency=self._recency)

    def _encoder_for(self, manifest: Manifest) -> Encoder:
        """The one in use, with what it remembers, or another, loaded while the present generation is served."""
        served = self._retriever
        if served is not None and served.encoder.version == manifest.embedder_version:
            return served.encoder
        encoder = self._encoder_of(manifest)
        if manifest.chunks and encoder.version != manifest.embedder_version:
            raise IntegrityError(
                f"generation {manifest.number} was made with the embedder {manifest.embedder_version}, "
                f"and {encoder.version} is what was loaded for it."
            )
        return encoder

    def _fail(self, problem: str) -> None:
        self._problem = problem
        served = self._retriever.generation.manifest.number if self._retriever else None
        log.error("%s Served meanwhile: %s.", problem, f"generation {served}" if served is not None else "nothing")
