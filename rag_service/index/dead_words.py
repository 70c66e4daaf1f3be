"""How many dead rows hold each word. Taken off the counts of all rows, words are as rare as if these rows were gone.

The mean length of titles and texts, the other thing that BM25 knows of the whole, counts dead rows until the next base.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from cuvee.errors import IntegrityError
from rag_service.index.lexical import FIELDS, DeadWords, stems
from rag_service.index.manifest import Manifest, verify

_SCHEMA = pa.schema([("field", pa.string()), ("stem", pa.string()), ("rows", pa.int64())])

Counts = dict[str, Counter[str]]
"""By field, then stem: rows that hold it."""


def count(rows: Iterable[tuple[str, str]]) -> Counts:
    """Words of rows, given as title and text."""
    counts: Counts = {name: Counter() for name in FIELDS}
    for row in rows:
        for name, text in zip(FIELDS, row, strict=True):
            counts[name].update(set(stems(text)))
    return counts


def write_dead_words(path: Path, counts: Counts) -> None:
    """The bytes depend on the counts only."""
    listed = [(name, stem, rows) for name in FIELDS for stem, rows in sorted(counts[name].items()) if rows]
    columns = list(zip(*listed, strict=True)) or [(), (), ()]
    table = pa.table([pa.array(column, kind.type) for column, kind in zip(columns, _SCHEMA, strict=True)], _SCHEMA)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_table(table)


def read_dead_words(index_dir: Path, manifest: Manifest) -> DeadWords:
    """None are known where nothing is dead, or an older version wrote the generation.

    Raises:
        IntegrityError: the file is not what the manifest says.
    """
    if manifest.dead_words is None:
        return DeadWords()
    path = index_dir / manifest.dead_words
    verify(path, manifest.files[manifest.dead_words])
    try:
        with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
            table = reader.read_all()
        columns = [table.column(name).to_pylist() for name in _SCHEMA.names]
    except (pa.ArrowInvalid, KeyError) as error:
        raise IntegrityError(f"{path} is no list of words: {error}") from error
    counts: Counts = {name: Counter() for name in FIELDS}
    for name, stem, rows in zip(*columns, strict=True):
        counts[name][stem] = rows
    return DeadWords(manifest.dead, counts)
