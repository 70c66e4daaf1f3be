"""A small library, indexed for real but without Spark, for the tests of the served app."""

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from cuvee.settings import Settings
from rag_service.documents.chunking import ChunkingRule, chunk
from rag_service.documents.cleaning import clean
from rag_service.index import generation
from rag_service.index.embedder import shared
from rag_service.index.representation import Text, represent
from rag_service.index.rows import SCHEMA, Rows
from rag_service.index.search import CachingEncoder

MUSEUM = "The cellar museum keeps an iron press from 1871. It opens on the first Sunday of March, from ten to four."
GAS = "Seven fixed detectors measure carbon dioxide in the cellar, each 40 cm above the floor."
LIBRARY = {
    "museum": (
        ("visits", "museum", "The cellar museum"),
        f"The cellar museum\n\n{MUSEUM} Tickets are sold at the gate.",
    ),
    "gas": (
        ("cellar", "safety", "Gas in the cellar"),
        f"Gas in the cellar\n\n{GAS} After a red alarm nobody goes back until the reading has stayed below 3,000 ppm "
        "for 10 minutes.\n\nStage | Reading | Action\nAmber | 5,000 ppm | Finish the work\nRed | 15,000 ppm | Leave",
    ),
    "barrels": (
        ("cellar", "ageing", "Barrels"),
        "Barrels\n\nBarrels are topped up every week. Empty barrels get a sulphur disc every four weeks. "
        + "A barrel is rinsed with hot water, drained, and looked into with a lamp before it is filled again. " * 8,
    ),
}


@dataclass(frozen=True)
class Library:
    """What was indexed, and the key that may ask."""

    passages: list[dict[str, Any]]
    key_id: int


def passages(library: dict[str, tuple[tuple[str, str, str], str]], settings: Settings) -> list[dict[str, Any]]:
    """Rows of the chunk schema, in the order in which they are indexed."""
    encoder = shared(settings.embedder, settings.chunk_tokens)
    rule = ChunkingRule(settings.chunk_tokens, settings.chunk_overlap_tokens)
    return [
        {
            "chunk_id": f"doc-{name}:{passage.ordinal}",
            "document_id": f"doc-{name}",
            "topic": topic,
            "segment": segment,
            "title": title,
            "uri": f"{name}.txt",
            "ordinal": passage.ordinal,
            "page": passage.page,
            "start_char": passage.start_char,
            "end_char": passage.end_char,
            "text": passage.text,
        }
        for name, ((topic, segment, title), text) in library.items()
        for passage in chunk(clean([text], False), encoder.token_spans, rule)
    ]


@lru_cache(maxsize=1)
def _remembering(embedder: str, chunk_tokens: int) -> CachingEncoder:
    """Every test indexes the same passages; they are embedded once."""
    return CachingEncoder(shared(embedder, chunk_tokens))


def build(records: list[dict[str, Any]], settings: Settings, number: int, version: str | None = None) -> Path:
    encoder = _remembering(settings.embedder, settings.chunk_tokens)
    rule = ChunkingRule(settings.chunk_tokens, settings.chunk_overlap_tokens)
    texts = [Text(record["title"], record["text"], record["ordinal"]) for record in records]
    represented = represent(texts, encoder.encode)
    said = [{"statements": [asdict(one) for one in found.statements]} for found in represented]
    rows = Rows(
        pa.Table.from_pylist([record | more for record, more in zip(records, said, strict=True)], SCHEMA),
        np.stack([found.vector for found in represented]),
        np.concatenate([found.statement_vectors for found in represented]),
    )
    recipe = generation.Recipe(encoder.id, version or encoder.version, rule.version, settings.refusal_threshold)
    return generation.build(settings.index_dir, number, rows, recipe)


def publish(engine: sa.Engine, folder: Path) -> None:
    with engine.begin() as connection:
        generation.publish(connection, folder)
