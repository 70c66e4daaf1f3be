"""Passages and an encoder small enough to reckon by hand."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from rag_service.answers.words import terms
from rag_service.index.hybrid import Hit
from rag_service.index.rows import Chunk
from tests.hits import made_hit


class CountingEncoder:
    """Cosine of two texts = cosine of their counts of content words; counts how many texts it encoded."""

    id, version, dimension = "counting", "counting@1", 512

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self.encoded: list[str] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.encoded += texts
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for term in terms(text):
                vectors[row, self._places.setdefault(term, len(self._places))] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)


class AgreeingEncoder(CountingEncoder):
    """Finds all texts alike, so that words, figures and names alone decide."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        vectors[:, 0] = 1
        return vectors


MakeHit = Callable[..., Hit]


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


@pytest.fixture
def agreeing() -> AgreeingEncoder:
    return AgreeingEncoder()


@pytest.fixture
def hit() -> MakeHit:
    def make(
        text: str,
        score: float = 0.6,
        document: str = "d1",
        start: int = 0,
        ordinal: int = 0,
        title: str = "Cellar rules",
        question: str = "",
        encoder: CountingEncoder | None = None,
        page_breaks: tuple[int, ...] = (),
    ) -> Hit:
        chunk = Chunk(
            chunk_id=f"{document}-{start}",
            document_id=document,
            topic="cellar",
            segment="safety",
            title=title,
            uri=f"{document}.pdf",
            ordinal=ordinal,
            page=2,
            start_char=start,
            end_char=start + len(text),
            text=text,
            page_breaks=page_breaks,
        )
        return made_hit(chunk, score, question, encoder)

    return make
