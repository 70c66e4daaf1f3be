"""Chunks to vectors, by the embedder that the service uses for questions.

Input: `chunk_id`, `text`. Output (`EMBEDDED`): `chunk_id`, `embedding` (unit vector, fp32).
Partitioning: even; the model is loaded once per Python worker, which runs on one core.
"""

from collections.abc import Iterator
from functools import partial

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql.types import ArrayType, FloatType, StringType, StructField, StructType

from rag_service.index.embedder import shared

EMBEDDED = StructType(
    [
        StructField("chunk_id", StringType(), False),
        StructField("embedding", ArrayType(FloatType(), False), False),
    ]
)


def transform(chunks: DataFrame, embedder: str, chunk_tokens: int, partitions: int) -> DataFrame:
    """One row of EMBEDDED per chunk."""
    texts = chunks.select("chunk_id", "text").repartition(partitions)
    return texts.mapInPandas(partial(_embed_batches, embedder=embedder, chunk_tokens=chunk_tokens), EMBEDDED)


def _embed_batches(batches: Iterator[pd.DataFrame], embedder: str, chunk_tokens: int) -> Iterator[pd.DataFrame]:
    model = shared(embedder, chunk_tokens, threads=1)  # Spark runs one Python worker per core
    for batch in batches:
        vectors = model.encode(batch["text"].tolist())
        yield pd.DataFrame({"chunk_id": batch["chunk_id"], "embedding": list(vectors)})
