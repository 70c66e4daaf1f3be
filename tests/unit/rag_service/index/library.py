"""Small sets of rows, drawn at random but reckonable: few topics, few words, random unit vectors."""

import datetime
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rag_service.index.building import FoldingRule, Recipe
from rag_service.index.rows import SCHEMA, Rows

RECIPE = Recipe("tiny", "tiny@0123/16", "sentences-1/10/4", 0.4)
DIMENSION = 8
NEVER = FoldingRule(delta_share=1.0, delta_least_rows=10_000, delta_most_rows=10_000, dead_share=1.0)
WORDS = ("barrel", "barrels", "press", "gas", "running", "the", "vine", "harvest", "cellar", "AND", "pump*", '"quoted"')


def unit(seed: int, count: int = 1) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def document_rows(documents: Iterable[int], seed: int = 0) -> Rows:
    """Documents `d000` and so on, one to four chunks each; another seed gives other contents."""
    records: list[dict[str, Any]] = []
    for document in documents:
        chance = np.random.default_rng([seed, document])
        about = {
            "document_id": f"d{document:03d}",
            "topic": "ab"[document % 2],
            "segment": "xyz"[document % 3],
            "title": " ".join(chance.choice(WORDS, 2)),
            "uri": f"{document}.txt",
            "source": "inbox" if document % 5 else "feed",
            "author": None if document % 4 == 0 else f"author {document % 3}",
            "date": None if document % 6 == 0 else datetime.date(2026, 1, 1 + document % 28),
            "metadata": {"vintage": str(2020 + document % 3)} if document % 7 else {},
        }
        for ordinal in range(1 + int(chance.integers(4))):
            text = " ".join(chance.choice(WORDS, 6))
            said = {"text": text, "context": "", "start": 0, "end": len(text)}
            records.append(
                about
                | {
                    "chunk_id": f"d{document:03d}:{ordinal}",
                    "ordinal": ordinal,
                    "page": None,
                    "start_char": 0,
                    "end_char": len(text),
                    "text": text,
                    "statements": [said] * int(chance.integers(3)),
                }
            )
    vectors = np.concatenate(
        [np.empty((0, DIMENSION), np.float32)] + [unit(zlib.crc32(f"{r['chunk_id']} {seed}".encode())) for r in records]
    )
    statements = np.repeat(vectors, [len(r["statements"]) for r in records], axis=0).astype(np.float16)
    return Rows(pa.Table.from_pylist(records, SCHEMA), vectors, statements)
