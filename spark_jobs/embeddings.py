"""Chunks and their statements to vectors, by the embedder that the service uses for questions.

Input: `chunk_id`, `ordinal`, `text`. Output (`EMBEDDED`): `chunk_id`, `embedding` (unit vector, fp32 bytes),
`statements`, `statement_embeddings` (their unit vectors one after the other, fp16 bytes).
Partitioning: even; the model is loaded once per Python worker, which runs on one core.
"""

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, BinaryType, IntegerType, StringType, StructField, StructType

from rag_service.documents.statements import statements
from rag_service.index.embedder import shared

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
    texts = chunks.select("chunk_id", "ordinal", "text").repartition(partitions)
    return texts.mapInArrow(partial(_embed_batches, embedder=embedder, chunk_tokens=chunk_tokens), EMBEDDED)


def _embed_batches(batches: Iterator[pa.RecordBatch], embedder: str, chunk_tokens: int) -> Iterator[pa.RecordBatch]:
    import torch

    torch.set_num_threads(1)  # Spark runs one Python worker per core
    model = shared(embedder, chunk_tokens)
    for batch in batches:
        texts = batch.column("text").to_pylist()
        said = [statements(text, at) for text, at in zip(texts, batch.column("ordinal").to_pylist(), strict=True)]
        # Chunks overlap, and a heading's first sentence is often said twice.
        different = list(dict.fromkeys([*texts, *(one.in_context for of_chunk in said for one in of_chunk)]))
        known = dict(zip(different, model.encode(different), strict=True))
        rows = [
            {
                "chunk_id": chunk_id,
                "embedding": known[text].astype(np.float32).tobytes(),
                "statements": [asdict(one) for one in of_chunk],
                "statement_embeddings": b"".join(
                    known[one.in_context].astype(np.float16).tobytes() for one in of_chunk
                ),
            }
            for chunk_id, text, of_chunk in zip(batch.column("chunk_id").to_pylist(), texts, said, strict=True)
        ]
        yield pa.RecordBatch.from_pylist(rows, _ARROW)
