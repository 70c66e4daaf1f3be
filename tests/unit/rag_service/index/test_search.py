"""Searching with one generation, remembering vectors, and which generation is served."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cuvee.errors import ConfigurationError, IntegrityError, NotReadyError
from rag_service.index import search
from rag_service.index.generation import MANIFEST, Chunk, Manifest, Scored, Selection
from rag_service.index.rows import Outline
from rag_service.index.search import CachingEncoder, Retriever, ServedIndex


class LengthEncoder:
    """A text's vector is its length and a one; counts its calls."""

    id, version, dimension = "length", "length@1", 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def encode(self, texts):
        self.calls.append(list(texts))
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def manifest(number: int, version: str = "length@1") -> Manifest:
    return Manifest(
        number=number,
        embedder=version.split("@")[0],
        embedder_version=version,
        dimension=2,
        documents=1,
        chunks=1,
        chunker="sentences",
        refusal_threshold=0.4,
        files={},
    )


class OneChunk:
    """A generation of one chunk, whose cosine is the vector's first number, and whose words are never found."""

    def __init__(self, made: Manifest) -> None:
        self.manifest = made

    def select(self, where):
        return Selection(np.ones(1, dtype=np.bool_), 1)

    def dense(self, vector, count, selection):
        return Scored(np.array([0]), np.array([vector[0]], dtype=np.float32))

    def lexical(self, query, count, selection):
        return Scored(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))

    def lexical_of(self, query, rows):
        return np.zeros(len(rows), dtype=np.float32)

    def rarity(self, stems):
        return dict.fromkeys(stems, 1.0)

    def vectors(self, rows):
        raise AssertionError("the one row was found by its vector")

    def statement_vectors(self, rows):
        return np.empty((0, 2), dtype=np.float32), np.zeros(len(rows) + 1, dtype=np.int64)

    def outline(self, row):
        return Outline("c", "T", [])

    def chunk(self, row):
        return Chunk("c", "d", "t", "s", "T", "u", 0, None, 0, 1, "x")


def test_a_text_met_before_is_not_encoded_again() -> None:
    inner = LengthEncoder()
    encoder = CachingEncoder(inner)

    first = encoder.encode(["aa", "b", "aa"])
    second = encoder.encode(["b", "ccc"])

    assert inner.calls == [["aa", "b"], ["ccc"]]
    np.testing.assert_array_equal(first, [[2, 1], [1, 1], [2, 1]])
    np.testing.assert_array_equal(second, [[1, 1], [3, 1]])


def test_what_was_met_longest_ago_is_forgotten_first() -> None:
    inner = LengthEncoder()
    encoder = CachingEncoder(inner, most_texts=2)

    for text in ("a", "bb", "a", "ccc", "a", "bb"):
        encoder.encode([text])

    assert inner.calls == [["a"], ["bb"], ["ccc"], ["bb"]]


def test_more_texts_at_once_than_are_remembered_are_all_encoded() -> None:
    vectors = CachingEncoder(LengthEncoder(), most_texts=2).encode(["a", "bb", "ccc", "dddd"])

    np.testing.assert_array_equal(vectors[:, 0], [1, 2, 3, 4])


def test_no_texts_have_no_vectors() -> None:
    assert CachingEncoder(LengthEncoder()).encode([]).shape == (0, 2)


def test_a_search_gives_hits_and_how_long_both_steps_took() -> None:
    found = Retriever(OneChunk(manifest(1)), LengthEncoder()).search("four", 8)

    assert [hit.signals.dense for hit in found.hits] == [4.0]
    np.testing.assert_array_equal(found.vector, [4, 1])
    assert found.embed_ms > 0 and found.search_ms > 0


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Manifest | None], None]:
    """Make a generation the published one, without a database."""

    def do(made: Manifest | None) -> None:
        folder = tmp_path / f"{made.number:08d}" if made else None
        if folder is not None and made is not None:
            folder.mkdir(exist_ok=True)
            (folder / MANIFEST).write_text(made.model_dump_json())
        monkeypatch.setattr(search, "current", lambda engine, index_dir: folder)

    class Loaded:
        loads: list[str] = []  # noqa: RUF012

        @classmethod
        def load(cls, folder: Path) -> OneChunk:
            cls.loads.append(folder.name)
            made = Manifest.model_validate_json((folder / MANIFEST).read_text())
            if made.chunks == 0:
                raise IntegrityError(f"{folder} was tampered with.")
            return OneChunk(made)

    Loaded.loads = []
    monkeypatch.setattr(search, "Generation", Loaded)
    do.loads = Loaded.loads  # type: ignore[attr-defined]
    return do


@pytest.fixture
def served(tmp_path: Path) -> ServedIndex:
    def encoder_of(made: Manifest) -> LengthEncoder:
        if made.embedder == "lost":
            raise ConfigurationError("the embedder lost@1 cannot be had here")
        encoder = LengthEncoder()
        encoder.id, encoder.version = made.embedder, made.embedder_version
        return encoder

    return ServedIndex(None, tmp_path, encoder_of)  # type: ignore[arg-type]


def number(served: ServedIndex) -> int:
    return served.retriever().generation.manifest.number


def test_before_the_first_generation_a_search_is_told_what_to_do(publish, served: ServedIndex) -> None:
    publish(None)
    served.refresh()

    with pytest.raises(NotReadyError, match="Nothing is indexed yet: put files into"):
        served.retriever()
    assert served.problem is None


def test_the_published_generation_is_served_and_loaded_once(publish, served: ServedIndex) -> None:
    publish(manifest(1))
    served.refresh()
    served.refresh()

    assert (number(served), served.problem, publish.loads) == (1, None, ["00000001"])


def test_a_newer_generation_takes_over_and_a_search_under_way_keeps_its_own(publish, served: ServedIndex) -> None:
    publish(manifest(1))
    served.refresh()
    under_way = served.retriever()
    publish(manifest(2))
    served.refresh()

    assert number(served) == 2
    assert under_way.generation.manifest.number == 1


def test_a_generation_published_anew_under_an_old_number_is_loaded(publish, served: ServedIndex) -> None:
    publish(manifest(1))
    served.refresh()
    publish(manifest(1).model_copy(update={"documents": 5}))
    served.refresh()

    assert served.retriever().generation.manifest.documents == 5


def test_a_generation_that_cannot_be_loaded_leaves_the_present_one_and_says_why(publish, served: ServedIndex) -> None:
    publish(manifest(1))
    served.refresh()
    publish(manifest(2).model_copy(update={"chunks": 0}))
    served.refresh()

    assert number(served) == 1
    assert "tampered" in (served.problem or "")

    publish(manifest(3))
    served.refresh()
    assert (number(served), served.problem) == (3, None)


def test_each_generation_is_asked_by_the_embedder_that_it_was_made_with(publish, served: ServedIndex) -> None:
    publish(manifest(1))
    served.refresh()
    first = served.retriever()
    publish(manifest(2))
    served.refresh()
    same = served.retriever()
    publish(manifest(3, "other@1"))
    served.refresh()

    assert same.encoder is first.encoder
    assert (first.encoder.version, served.retriever().encoder.version) == ("length@1", "other@1")


def test_a_generation_whose_embedder_cannot_be_had_leaves_the_present_one_and_says_why(
    publish, served: ServedIndex
) -> None:
    publish(manifest(1))
    served.refresh()
    publish(manifest(2, "lost@1"))
    served.refresh()

    assert number(served) == 1
    assert "lost@1 cannot be had here" in (served.problem or "")


def test_a_generation_is_never_asked_by_another_embedder_than_its_own(publish, tmp_path: Path) -> None:
    served = ServedIndex(None, tmp_path, lambda _: LengthEncoder())  # type: ignore[arg-type]
    publish(manifest(1, "length@2"))
    served.refresh()

    with pytest.raises(NotReadyError, match="made with the embedder length@2, and length@1 is what was loaded"):
        served.retriever()


def test_an_empty_generation_is_served_whatever_it_was_made_with(
    publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "Generation", SimpleNamespace(load=lambda folder: OneChunk(empty)))
    empty = manifest(1, "other@1").model_copy(update={"documents": 0, "chunks": 0})
    served = ServedIndex(None, tmp_path, lambda _: LengthEncoder())  # type: ignore[arg-type]
    publish(empty)
    served.refresh()

    assert (served.problem, number(served)) == (None, 1)
