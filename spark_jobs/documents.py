"""Landed documents to chunks: read, clean, cut, on as many cores as there are.

Input (`LANDED`): one row per landed document; `slot` is its rank, the largest 0; `given` is JSON, what its sender says.
Output (`PREPARED`): one outcome row per document (`ordinal` null; `error` says why it failed) and one row per chunk.
Cleaned texts go to object storage. Partitioning: by slot, so that the largest documents are started first and apart.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from typing import Any
from urllib.parse import unquote

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as sf
from pyspark.sql.types import ArrayType, DateType, IntegerType, LongType, MapType, StringType, StructField, StructType

from cuvee.errors import IntegrityError, NotFoundError, UnreadableDocumentError
from cuvee.objects import ObjectStore
from rag_service.documents import readers
from rag_service.documents.bounds import OutOfTimeError, memory_limit, time_limit
from rag_service.documents.chunking import ChunkingRule, Passage, TokenSpans, chunk
from rag_service.documents.cleaning import clean
from rag_service.documents.details import Details
from rag_service.index.embedder import shared

log = logging.getLogger(__name__)

_MOST_READER_BYTES = 1 << 30

LANDED = StructType(
    [
        StructField("document_id", StringType(), False),
        StructField("topic", StringType(), False),
        StructField("segment", StringType(), False),
        StructField("uri", StringType(), False),
        StructField("sha256", StringType(), False),
        StructField("size_bytes", LongType(), False),
        StructField("slot", IntegerType(), False),
        StructField("source", StringType(), False),
        StructField("given", StringType(), False),
        StructField("landed_at", StringType(), False),
    ]
)
PREPARED = StructType(
    [
        StructField("document_id", StringType(), False),
        StructField("landed_at", StringType(), False),
        StructField("topic", StringType(), False),
        StructField("segment", StringType(), False),
        StructField("uri", StringType(), False),
        StructField("title", StringType()),
        StructField("media_type", StringType()),
        StructField("pages", IntegerType()),
        StructField("chars", IntegerType()),
        StructField("chunks", IntegerType()),
        StructField("text_sha256", StringType()),
        StructField("error", StringType()),
        StructField("ordinal", IntegerType()),
        StructField("chunk_id", StringType()),
        StructField("page", IntegerType()),
        StructField("start_char", IntegerType()),
        StructField("end_char", IntegerType()),
        StructField("text", StringType()),
        StructField("source", StringType(), False),
        StructField("author", StringType()),
        StructField("date", DateType()),
        StructField("metadata", MapType(StringType(), StringType())),
        StructField("page_breaks", ArrayType(IntegerType())),
    ]
)
_COLUMNS = PREPARED.fieldNames()


@dataclass(frozen=True)
class Preparation:
    """What the Python workers need to know; they read no settings of their own."""

    objects_url: str
    embedder: str
    rule: ChunkingRule
    limits: readers.ReadLimits
    timeout_seconds: float


def transform(landed: DataFrame, preparation: Preparation, partitions: int) -> DataFrame:
    """Rows of LANDED to rows of PREPARED."""
    spread = landed.repartitionById(partitions, sf.col("slot") % partitions)
    return spread.mapInPandas(partial(_prepare_batches, preparation=preparation), PREPARED)


def _prepare_batches(batches: Iterator[pd.DataFrame], preparation: Preparation) -> Iterator[pd.DataFrame]:
    store = ObjectStore(preparation.objects_url)
    token_spans = shared(preparation.embedder, preparation.rule.tokens, threads=1).token_spans
    for batch in batches:
        for document in batch.to_dict("records"):
            rows = prepare(document, store, token_spans, preparation)
            table = [[row.get(name) for name in _COLUMNS] for row in rows]
            yield pd.DataFrame(table, columns=_COLUMNS, dtype=object)


def prepare(
    document: Mapping[Any, Any], store: ObjectStore, token_spans: TokenSpans, preparation: Preparation
) -> list[dict[str, Any]]:
    """Outcome row and chunk rows of one document; whatever is wrong with it becomes the outcome's error.

    Errors of the store are raised: they are not the document's, and the task tries again.
    """
    place = _place(document)
    try:
        readers.check_bytes(document["size_bytes"], preparation.limits)
        content = store.read(document["sha256"])
        with time_limit(preparation.timeout_seconds), memory_limit(_MOST_READER_BYTES):
            read, text, passages = _read(content, unquote(document["uri"]), token_spans, preparation)
        if not passages:
            return [place | {"error": "There is no text in the document."}]
    except (UnreadableDocumentError, NotFoundError, IntegrityError) as error:
        return [place | {"error": str(error)}]
    except OutOfTimeError:
        setting = f"CUVEE_READ_TIMEOUT_SECONDS={preparation.timeout_seconds:g}"
        return [place | {"error": f"Reading the document took too long ({setting}); split it, or raise the limit."}]
    except MemoryError:
        return [place | {"error": "Reading the document took too much memory; split it."}]
    except _ReaderError as error:
        log.exception("document %s could not be read", document["document_id"])
        return [place | {"error": f"Could not be read: {type(error.__cause__).__name__}. Spark's log has the details."}]
    said = Details.of_json(json.loads(document["given"])).over(Details(read.author, read.date, dict(read.metadata)))
    about = {"title": read.title, **vars(said)}
    outcome = about | {
        "media_type": read.media_type,
        "pages": len(read.pages) if read.paged else None,
        "chars": len(text),
        "chunks": len(passages),
        "text_sha256": store.put(BytesIO(text.encode())).sha256,
    }
    chunks = [place | about | asdict(p) | {"chunk_id": f"{document['document_id']}:{p.ordinal}"} for p in passages]
    return [place | outcome, *chunks]


def failed(document: Mapping[Any, Any], error: str) -> tuple[Any, ...]:
    """Row of PREPARED for a document that no worker could say anything of."""
    row = _place(document) | {"error": error}
    return tuple(row.get(name) for name in _COLUMNS)


def _place(document: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: document[name] for name in ("document_id", "landed_at", "topic", "segment", "uri", "source")}


class _ReaderError(Exception):
    """A reader failed in a way that nobody foresaw; the cause says how."""


def _read(
    content: bytes, name: str, token_spans: TokenSpans, preparation: Preparation
) -> tuple[readers.ReadDocument, str, list[Passage]]:
    try:
        read = readers.read(content, name, preparation.limits)
        cleaned = clean(read.pages, read.paged)
        return read, cleaned.text, chunk(cleaned, token_spans, preparation.rule)
    except (UnreadableDocumentError, MemoryError):
        raise
    except Exception as error:
        # A defect that one document brings out must not stop the others.
        raise _ReaderError from error
