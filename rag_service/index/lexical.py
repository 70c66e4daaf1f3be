"""Words on disk and BM25 over them, by tantivy: English stems, no stop words, the fields title and text.

A part is what one tantivy writer makes of some consecutive rows: the files of exactly one tantivy segment, whose bytes
depend on the rows only. Parts of several segments are put together when they are opened: a folder of links with a
`meta.json` that names them all is an index to tantivy. So a micro-batch never writes the base's words again.
"""

import json
import math
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tantivy
from numpy.typing import NDArray

from cuvee.errors import IntegrityError

VERSION = "english-1"
PART_ROWS = 50_000
FILES = ("fast", "fieldnorm", "idx", "pos", "store", "term")
FIELDS = ("title", "text")
_ANALYZER = "english"
_LONGEST_WORD = 40
# Enough that no part is flushed before it is whole: a second tantivy segment would be merged at its own time.
_HEAP_BYTES = 512_000_000


@dataclass(frozen=True)
class DeadWords:
    """How many of the `rows` dead rows hold each word."""

    rows: int = 0
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By field, then stem."""

    def holding(self, name: str, stem: str) -> int:
        """How many of them hold this stem in the field of this name."""
        return self.counts[name].get(stem, 0) if self.rows else 0


@dataclass(frozen=True)
class Part:
    """`path` with the endings of FILES holds `rows` rows; `id` is a name for tantivy, 32 hexadecimal digits."""

    id: str
    path: Path
    rows: int


def write_part(path: Path, first_row: int, titles: Iterable[str], texts: Iterable[str]) -> None:
    """Write the rows from `first_row` on as the files `path` + "." + ending.

    Raises:
        IntegrityError: tantivy made several segments of them.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".lexical-") as aside:
        index = tantivy.Index(_schema(), path=aside)
        index.register_tokenizer(_ANALYZER, _analyzer())
        writer = index.writer(heap_size=_HEAP_BYTES, num_threads=1)
        for row, (title, text) in enumerate(zip(titles, texts, strict=True), first_row):
            document = tantivy.Document()
            document.add_text("title", title)
            document.add_text("text", text)
            document.add_unsigned("row", row)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        segments = json.loads((Path(aside) / "meta.json").read_text())["segments"]
        if len(segments) != 1:
            raise IntegrityError(f"{path}: tantivy made {len(segments)} segments of one part.")
        made = segments[0]["segment_id"].replace("-", "")
        for ending in FILES:
            (Path(aside) / f"{made}.{ending}").rename(f"{path}.{ending}")


class Lexical:
    """The words of all parts; it never changes, and searching it is safe from several threads."""

    def __init__(self, parts: Sequence[Part], dead: DeadWords) -> None:
        """Words weigh as if the rows of `dead` were not there.

        Raises:
            IntegrityError: tantivy cannot read the files.
        """
        self._dead = dead
        # Tantivy maps every file when it opens the index, so the links to them can go at once.
        # On a busy machine it may just be making its lock file: a folder that is left must not stop what was opened.
        with tempfile.TemporaryDirectory(prefix="cuvee-lexical-", ignore_cleanup_errors=True) as folder:
            meta = _empty_meta(Path(folder))
            meta["segments"] = [
                {"segment_id": str(uuid.UUID(part.id)), "max_doc": part.rows, "deletes": None} for part in parts
            ]
            for part in parts:
                for ending in FILES:
                    (Path(folder) / f"{part.id}.{ending}").symlink_to(Path(f"{part.path}.{ending}").resolve())
            (Path(folder) / "meta.json").write_text(json.dumps(meta))
            try:
                index = tantivy.Index.open(folder)
                index.register_tokenizer(_ANALYZER, _analyzer())
                index.config_reader("manual")
                self._searcher = index.searcher()
            except ValueError as error:
                names = ", ".join(str(part.path) for part in parts)
                raise IntegrityError(f"{names} is not an index that tantivy reads: {error}") from error
        self._schema = index.schema

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def search(self, text: str, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The `count` best rows for the words of `text` and their BM25, best first, equal ones by row."""
        query = self._query(text)
        return self._found(query, min(count, len(self))) if query is not None else _nothing()

    def search_among(
        self, text: str, count: int, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The same among `rows` only; their scores are those that `search` gives them."""
        query = self._query(text)
        if query is None or not len(rows):
            return _nothing()
        # A set query over as many rows takes twice as long: it goes through the terms of all rows.
        listed = [tantivy.Query.term_query(self._schema, "row", row) for row in rows.tolist()]
        among = tantivy.Query.boolean_query([(tantivy.Occur.Should, one) for one in listed])
        silent = tantivy.Query.const_score_query(among, 0.0)
        both = tantivy.Query.boolean_query([(tantivy.Occur.Must, query), (tantivy.Occur.Must, silent)])
        return self._found(both, min(count, len(rows)))

    def rarity(self, stems: Sequence[str]) -> dict[str, float]:
        """Inverse document frequency of each stem in the texts, as BM25 weighs it (Robertson and Zaragoza 2009)."""
        return {stem: self._rarity("text", stem) for stem in dict.fromkeys(stems)}

    def _rarity(self, field: str, stem: str) -> float:
        holding = self._searcher.doc_freq(field, stem)
        return _idf(len(self) - self._dead.rows, holding - self._dead.holding(field, stem))

    def _query(self, text: str) -> Any:
        """Built from the words themselves: no character of `text` is ever an operator. None: it has no words."""
        words = list(dict.fromkeys(stems(text)))
        terms = [(tantivy.Occur.Should, self._term(field, word)) for word in words for field in FIELDS]
        return tantivy.Query.boolean_query(terms) if terms else None

    def _term(self, field: str, word: str) -> Any:
        term = tantivy.Query.term_query(self._schema, field, word, "freq")
        if not self._dead.rows:
            return term
        # Tantivy weighs it by its rarity among all rows.
        among_all = _idf(len(self), self._searcher.doc_freq(field, word))
        return tantivy.Query.boost_query(term, self._rarity(field, word) / among_all)

    def _found(self, query: Any, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if count <= 0:
            return _nothing()
        hits = self._searcher.search(query, count, count=False).hits
        rows = self._searcher.fast_field_values("row", [address for _, address in hits])
        return np.array(rows, dtype=np.int64), np.array([score for score, _ in hits], dtype=np.float32)


def _idf(rows: int, holding: int) -> float:
    return math.log(1 + (rows - holding + 0.5) / (holding + 0.5))


def stems(text: str) -> list[str]:
    """The words of `text` as they are indexed, in order, repeats kept."""
    found: list[str] = _analyzer().analyze(text)
    return found


def _nothing() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    return np.empty(0, np.int64), np.empty(0, np.float32)


@cache
def _analyzer() -> Any:
    chain = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    for step in (
        tantivy.Filter.remove_long(_LONGEST_WORD),
        tantivy.Filter.lowercase(),
        tantivy.Filter.stopword("english"),
        tantivy.Filter.stemmer("english"),
    ):
        chain = chain.filter(step)
    return chain.build()


def _schema() -> Any:
    builder = tantivy.SchemaBuilder()
    for name in FIELDS:
        builder.add_text_field(name, tokenizer_name=_ANALYZER, index_option="freq")
    builder.add_unsigned_field("row", indexed=True, fast=True)
    return builder.build()


def _empty_meta(folder: Path) -> dict[str, Any]:
    """What tantivy writes about an index of ours that has no rows."""
    tantivy.Index(_schema(), path=str(folder))
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    return meta
