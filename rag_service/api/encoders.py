"""The embedder that questions are embedded with: the one of the generation that is served."""

import logging

from rag_service.index.embedder import Embedder, shared
from rag_service.index.making import Making
from rag_service.index.manifest import Manifest
from rag_service.index.microbatch import MicroBatcher
from rag_service.index.search import CachingEncoder, Encoder

log = logging.getLogger(__name__)


class Encoders:
    """One embedder at a time, with what it remembers; another one where a generation was made with another."""

    def __init__(self, wanted: Making) -> None:
        """Loads what the settings ask for only where nothing else is asked for before `tokens`."""
        self._wanted = wanted
        self._embedder: Embedder | None = None
        self._encoder: Encoder | None = None

    def of(self, manifest: Manifest) -> Encoder:
        """What a generation was made with. Raises ConfigurationError where it cannot be had."""
        if differs := self._wanted.differs(manifest):
            log.warning(differs)
        return self.by(Making.of(manifest) if manifest.chunks else self._wanted)

    def by(self, making: Making) -> Encoder:
        embedder = shared(making.embedder, making.rule.tokens)
        if self._encoder is None or embedder is not self._embedder:
            self._embedder, self._encoder = embedder, CachingEncoder(MicroBatcher(embedder))
        return self._encoder

    def tokens(self, text: str) -> int:
        """How many tokens the embedder makes of a text."""
        if self._embedder is None:
            self.by(self._wanted)
        assert self._embedder is not None
        return len(self._embedder.token_spans(text))
