"""Hits made by hand, with the statements and matches that a search would give them."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from rag_service.answers.claims import claims
from rag_service.answers.models import GenerativeModel
from rag_service.documents.statements import statements
from rag_service.index.calibration import Calibration
from rag_service.index.hybrid import Hit, Query, Signals, matched
from rag_service.index.lexical import stems
from rag_service.index.rows import Chunk
from rag_service.index.search import Encoder


def made_hit(
    chunk: Chunk,
    score: float,
    question: str = "",
    encoder: Encoder | None = None,
    similarities: Sequence[float] | None = None,
) -> Hit:
    """All words are equally rare; without an encoder or given similarities all statements are equally alike."""
    words = stems(question)
    vector = encoder.encode([question])[0] if encoder else np.zeros(1, dtype=np.float32)
    query = Query(question, vector, dict.fromkeys(words, 1.0), frozenset(pairwise(words)), Calibration())
    whole = replace(chunk, statements=tuple(statements(chunk.text, chunk.ordinal)))
    if similarities is None and encoder:
        texts = [one.in_context for one in whole.statements]
        similarities = (encoder.encode(texts) @ vector).tolist() if texts else []
    alike = similarities if similarities is not None else [0.5] * len(whole.statements)
    matches, phrases = matched(query, whole.title, [one.text for one in whole.statements], alike)
    return Hit(whole, score, Signals(score, max(alike, default=score), 0.0, 0.0, phrases), matches, query)


def drafted(model: GenerativeModel, question: str, hits: Sequence[Hit]) -> list[str]:
    """The sentences that a model writes; one that a limit cut off is left out."""
    pieces, text = model.stream(question, hits), ""
    while True:
        try:
            text += next(pieces)
        except StopIteration as end:
            return [claim.text for claim in claims(text, bool(end.value), len(hits))]
