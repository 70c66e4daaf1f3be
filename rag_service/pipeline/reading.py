"""What Spark does for documents: reading and cutting them, and embedding what was cut."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cuvee.errors import ProcessDiedError
from rag_service.documents.ledger import Landed
from rag_service.documents.readers import ReadLimits
from rag_service.index.making import Making
from rag_service.pipeline.run import Run

log = logging.getLogger(__name__)

_CHUNKS_PER_PARTITION = 32
_MOST_PARTITIONS = 64
_NOBODYS = Landed("probe", "probe", "probe", "probe", "0" * 64, 1, "1970-01-01T00:00:00+00:00", "probe", {})
"""A document that is not in the store: a worker does all for it but read it."""
_DEADLY = (
    "Reading the document ended the process that read it, twice: it took too much memory, or a library failed. Split "
    "it, or convert it to another format. Spark's log has the details."
)


def prepare(run: Run, making: Making, waiting: Sequence[Landed], folder: str) -> None:
    """Read and cut the documents into the Parquet folder, rows of `spark_jobs.documents.PREPARED`.

    Raises:
        NotReadyError: Spark does not answer.
        ProcessDiedError: its workers die, whatever they read.
    """
    from spark_jobs import documents
    from spark_jobs.session import attached, deaths_told

    settings = run.settings
    limits = ReadLimits(settings.max_document_bytes, settings.max_document_chars)
    preparation = documents.Preparation(
        settings.resolved_objects_url, making.embedder, making.rule, limits, settings.read_timeout_seconds
    )
    with attached(settings.resolved_spark_url) as spark:

        def read(some: Sequence[Landed]) -> None:
            landed = spark.createDataFrame(_landed_rows(some), documents.LANDED)
            prepared = documents.transform(landed, preparation, _partitions(len(some), 1))
            with deaths_told():
                prepared.write.mode("append").parquet(folder)

        def probe() -> None:
            landed = spark.createDataFrame(_landed_rows([_NOBODYS]), documents.LANDED)
            with deaths_told():
                documents.transform(landed, preparation, 1).write.format("noop").mode("overwrite").save()

        deadly = _reading_apart(waiting, read, probe)
        if deadly:
            rows = [documents.failed(vars(document), _DEADLY) for document in deadly]
            spark.createDataFrame(rows, documents.PREPARED).write.mode("append").parquet(folder)


def _reading_apart(
    waiting: Sequence[Landed], prepare: Callable[[Sequence[Landed]], None], probe: Callable[[], None]
) -> list[Landed]:
    """Prepare all, in halves where a worker dies over them; returns those that it dies over twice, each alone.

    Raises:
        ProcessDiedError: a worker dies over the probe too, which reads nothing: it is not the documents' doing.
    """
    deadly: list[Landed] = []
    parts = [list(waiting)]
    while parts:
        part = parts.pop()
        try:
            prepare(part)
        except ProcessDiedError as error:
            log.warning("a worker died while it read %d of %d documents: %s", len(part), len(waiting), error)
            if len(part) > 1:
                middle = len(part) // 2
                parts += [part[middle:], part[:middle]]
            elif not _survived(part, prepare):
                probe()
                deadly += part
    return deadly


def _survived(part: Sequence[Landed], prepare: Callable[[Sequence[Landed]], None]) -> bool:
    """Whether all goes well this time; the system may have been out of memory for another's sake."""
    try:
        prepare(part)
    except ProcessDiedError:
        return False
    return True


def _landed_rows(documents: Sequence[Landed]) -> list[tuple[Any, ...]]:
    largest_first = sorted(documents, key=lambda document: (-document.size_bytes, document.document_id))
    return [
        (
            d.document_id,
            d.topic,
            d.segment,
            d.uri,
            d.sha256,
            d.size_bytes,
            slot,
            d.source,
            json.dumps(d.given),
            d.landed_at,
        )
        for slot, d in enumerate(largest_first)
    ]


def embed(run: Run, making: Making, prepared: Path, chunks: int, folder: str) -> None:
    """Vectors of the `chunks` chunks in `prepared` into the Parquet folder, rows of `spark_jobs.embeddings.EMBEDDED`.

    Raises:
        NotReadyError: Spark does not answer.
    """
    from spark_jobs import embeddings
    from spark_jobs.session import attached

    with attached(run.settings.resolved_spark_url) as spark:
        rows = spark.read.parquet(str(prepared)).where("ordinal is not null")
        partitions = _partitions(chunks, _CHUNKS_PER_PARTITION)
        embeddings.transform(rows, making.embedder, making.rule.tokens, partitions).write.parquet(folder)


def _partitions(rows: int, rows_each: int) -> int:
    return max(1, min(_MOST_PARTITIONS, -(-rows // rows_each)))
