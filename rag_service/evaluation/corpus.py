"""Indexing the passages of a golden set apart, in a folder of its own, without Spark."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from rag_service.documents.cleaning import clean
from rag_service.evaluation.golden import Passage
from rag_service.index import representation
from rag_service.index.building import Recipe, build
from rag_service.index.generation import Generation
from rag_service.index.representation import Text
from rag_service.index.rows import SCHEMA, Rows
from rag_service.index.search import Encoder

_GAP_CHARS = 2
"""Passages of one document do not touch: they were given apart, so they are judged apart."""


def indexed(passages: tuple[Passage, ...], encoder: Encoder, folder: Path) -> Generation:
    """A generation in `folder` whose chunks are the passages, one each; a chunk's id is its passage's."""
    texts = [Text(p.title, clean([p.text], False).text, 0) for p in passages]
    represented = representation.represent(texts, encoder.encode)
    ends: dict[str, int] = {}
    records = []
    for passage, text, found in zip(passages, texts, represented, strict=True):
        start = ends.get(passage.document, 0)
        ends[passage.document] = start + len(text.text) + _GAP_CHARS
        records.append(
            {
                "chunk_id": passage.passage_id,
                "document_id": passage.document,
                "topic": "golden",
                "segment": "golden",
                "title": passage.title,
                "uri": passage.document,
                "ordinal": 0,
                "page": None,
                "start_char": start,
                "end_char": start + len(text.text),
                "text": text.text,
                "source": "golden",
                "statements": [vars(statement) for statement in found.statements],
            }
        )
    rows = Rows(
        pa.Table.from_pylist(records, SCHEMA),
        np.stack([one.vector for one in represented]),
        np.concatenate([one.statement_vectors for one in represented]),
    )
    recipe = Recipe(encoder.id, encoder.version, "passages", 0.5)
    return Generation.load(build(folder, 1, rows, recipe))
