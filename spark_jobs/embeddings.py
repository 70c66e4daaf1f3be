"""Chunks and their statements to vectors, by the embedder that the service uses for questions.

Input: `chunk_id`, `title`, `ordinal`, `text`. Output (`EMBEDDED`): `chunk_id`, `embedding` (unit vector, fp32 bytes),
`statements`, `statement_embeddings` (their vectors one after the other, fp16 bytes; see `index/representation.py`).
Partitioning: even; the model is loaded once per Python worker, which runs on one core.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, BinaryType, IntegerType, StringType, StructField, StructType

from rag_service.index.embedder import shared
from rag_service.index.representation import Text, represent

_STATEMENT = StructType(
    [
        StructField("text", StringType()),
        StructField("context", StringType()),
        StructField("start", IntegerType()),
        StructField("end", IntegerType()),
    ]
)
EMBEDDED = StructType(
    [
        StructField("chunk_id", StringType()),
        StructField("embedding", BinaryType()),
        StructField("statements", ArrayType(_STATEMENT)),
        StructField("statement_embeddings", BinaryType()),
    ]
)
_ARROW = pa.schema(
    [
        ("chunk_id", pa.string()),
        ("embedding", pa.binary()),
        (
            "statements",
            pa.list_(
                pa.struct([("text", pa.string()), ("context", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
            ),
        ),
        ("statement_embeddings", pa.binary()),
    ]
)


def transform(chunks: DataFrame, embedder: str, chunk_tokens: int, partitions: int) -> DataFrame:
    """One row of EMBEDDED per chunk."""
    texts = chunks.select("chunk_id", "title", "ordinal", "text").repartition(partitions)
    return texts.mapInArrow(partial(_embed_batches, embedder=embedder, chunk_tokens=chunk_tokens), EMBEDDED)


def _embed_batches(batches: Iterator[pa.RecordBatch], embedder: str, chunk_tokens: int) -> Iterator[pa.RecordBatch]:
    model = shared(embedder, chunk_tokens, threads=1)  # Spark runs one Python worker per core
    for batch in batches:
        columns = batch.to_pydict()
        texts = [Text(*row) for row in zip(columns["title"], columns["text"], columns["ordinal"], strict=True)]
        rows = [
            {
                "chunk_id": chunk_id,
                "embedding": found.vector.astype(np.float32).tobytes(),
                "statements": [asdict(one) for one in found.statements],
                "statement_embeddings": found.statement_vectors.tobytes(),
            }
            for chunk_id, found in zip(columns["chunk_id"], represent(texts, model.encode), strict=True)
        ]
        yield pa.RecordBatch.from_pylist(rows, _ARROW)
