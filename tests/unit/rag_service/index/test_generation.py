"""Index generations: exact search, byte-identical files, and damage that is noticed."""

import datetime
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import IntegrityError
from rag_service.documents.statements import Statement
from rag_service.index import filters, lexical, manifest
from rag_service.index.alive import Alive
from rag_service.index.building import FoldingRule, extend, fold
from rag_service.index.generation import Generation, Recipe, build
from rag_service.index.manifest import MANIFEST, file_info, index_dir_of, read_manifest
from rag_service.index.rows import SCHEMA, Chunk, Rows
from tests.unit.rag_service.index.library import NEVER

RECIPE = Recipe("tiny", "tiny@0123/16", "sentences-1/10/4", 0.4)
DIMENSION = 8


def rows(count: int, seed: int = 1, dimension: int = DIMENSION) -> Rows:
    """`count` chunks, three to a document, over two topics with two segments each, with random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    records = [
        {
            "chunk_id": f"d{n // 3:03d}:{n % 3}",
            "document_id": f"d{n // 3:03d}",
            "topic": "ab"[n // 3 % 2],
            "segment": "xy"[n // 6 % 2],
            "title": f"Title {n // 3}",
            "uri": f"{n // 3}.txt",
            "ordinal": n % 3,
            "page": None if n % 2 else n % 3 + 1,
            "start_char": n,
            "end_char": n + 5,
            "text": f"text {n}",
            "source": "inbox",
            "author": None,
            "date": datetime.date(2026, 1, 1 + n // 3 % 28),
            "metadata": {"vintage": str(2020 + n // 3 % 3)},
            "statements": [{"text": f"text {n}", "context": "", "start": 0, "end": 5}] * (n % 3),
            "page_breaks": [n % 5] * (n % 2),
        }
        for n in range(count)
    ]
    statements = np.repeat(vectors, [n % 3 for n in range(count)], axis=0).astype(np.float16)
    return Rows(pa.Table.from_pylist(records, SCHEMA), vectors, statements)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("index"), 1, rows(60), RECIPE)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), top_k=st.integers(1, 70), topic=st.sampled_from([None, "a", "b", "none"]),
       segment=st.sampled_from([None, "x", "y"]))  # fmt: skip
def test_search_equals_brute_force_over_what_matches(
    built: Path, seed: int, top_k: int, topic: str | None, segment: str | None
) -> None:
    question = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)
    question /= np.linalg.norm(question)
    expected = rows(60)
    records = expected.chunks.to_pylist()
    matching = [
        n for n in range(60) if topic in (None, records[n]["topic"]) and segment in (None, records[n]["segment"])
    ]
    scores = expected.vectors @ question

    loaded = Generation.load(built)
    found = loaded.dense(question, top_k, loaded.select(filters.place(topic, segment)))

    best = sorted(matching, key=lambda n: -scores[n])[:top_k]
    assert [loaded.chunk(int(row)).chunk_id for row in found.rows] == [records[n]["chunk_id"] for n in best]
    assert found.scores.tolist() == pytest.approx([float(scores[n]) for n in best], abs=1e-6)


def test_what_is_found_has_the_whole_chunk(built: Path) -> None:
    loaded = Generation.load(built)
    found = loaded.dense(rows(60).vectors[7], 1, loaded.select(None))

    assert loaded.chunk(int(found.rows[0])) == Chunk(
        *("d002:1", "d002", "a", "y", "Title 2", "2.txt", 1, None, 7, 12, "text 7"),
        date=datetime.date(2026, 1, 3),
        metadata={"vintage": "2022"},
        statements=(Statement("text 7", "", 0, 5),),
        page_breaks=(2,),
    )
    assert found.scores[0] == pytest.approx(1.0, abs=1e-6)


def test_the_manifest_says_what_the_generation_is(built: Path) -> None:
    made = Generation.load(built).manifest
    assert made.base is not None

    assert built.name == "00000001"
    assert (made.number, made.documents, made.chunks, made.dimension) == (1, 20, 60, DIMENSION)
    assert (made.embedder, made.embedder_version, made.metric) == ("tiny", "tiny@0123/16", "cosine")
    assert (made.chunker, made.refusal_threshold) == ("sentences-1/10/4", 0.4)
    assert (made.base.rows, made.base.statements, made.delta, made.dead) == (60, 60, None, 0)
    assert sorted(Path(name).name for name in made.files) == [
        "chunks.arrow",
        *(f"lexical-0.{ending}" for ending in lexical.FILES),
        "statements.f16",
        "vectors.faiss",
    ]
    for name, info in made.files.items():
        assert info.bytes == (index_dir_of(built) / name).stat().st_size


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    whole = rows(30)
    parts = [whole.only({f"d{n:03d}" for n in chosen}) for chosen in ({7, 2, 9}, {0, 1, 3, 4, 5, 6, 8})]

    first = build(tmp_path / "one", 4, Rows.together([whole]), RECIPE)
    second = build(tmp_path / "two", 4, Rows.together(parts), RECIPE)

    assert (first / MANIFEST).read_bytes() == (second / MANIFEST).read_bytes()
    for name in read_manifest(first).files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_vectors_of_rows_and_of_their_statements_come_back_as_they_went_in(built: Path) -> None:
    expected, generation = rows(60), Generation.load(built)

    chosen = np.array([8, 3, 59, 7, 4])
    assert np.array_equal(generation.vectors(chosen), expected.vectors[chosen])
    vectors, offsets = generation.statement_vectors(chosen)
    assert offsets.tolist() == [0, 2, 2, 4, 5, 6]
    near = np.repeat(expected.vectors[chosen], [2, 0, 2, 1, 1], axis=0)
    np.testing.assert_allclose(vectors, near, atol=1e-3)
    assert (vectors.dtype, offsets.dtype) == (np.float32, np.int64)


def test_a_generation_may_be_empty(tmp_path: Path) -> None:
    empty = Generation.load(build(tmp_path, 2, rows(9).only([]), RECIPE))

    assert (empty.manifest.documents, empty.manifest.chunks, empty.manifest.dimension) == (0, 0, DIMENSION)
    assert len(empty.dense(rows(9).vectors[0], 5, empty.select(None)).rows) == 0
    assert len(empty.dense(rows(9).vectors[0], 5, empty.select(filters.place("a", None))).rows) == 0
    assert len(empty.lexical("text", 5, empty.select(None)).rows) == 0


@pytest.mark.parametrize("folds_by_itself", [True, False])
def test_once_all_is_deleted_another_embedder_may_have_another_dimension(tmp_path: Path, folds_by_itself: bool) -> None:
    rule = FoldingRule(0.2, 10, 100, dead_share=0.3 if folds_by_itself else 1.0)
    first = read_manifest(build(tmp_path, 1, rows(9), RECIPE))
    nothing = read_manifest(extend(2, Alive.of(tmp_path, first, ()), None, RECIPE, rule))

    wider = Recipe("wide", "wide@0123/16", RECIPE.chunker, 0.4)
    folder = extend(3, Alive.of(tmp_path, nothing, ()), rows(6, dimension=16), wider, rule)

    loaded = Generation.load(folder)
    assert (loaded.manifest.dimension, loaded.manifest.chunks) == (16, 6)


def test_vectors_of_two_dimensions_are_never_written_into_one_segment(tmp_path: Path) -> None:
    first = read_manifest(build(tmp_path, 1, rows(9), RECIPE))

    with pytest.raises(IntegrityError, match="16 numbers"):
        extend(2, Alive.of(tmp_path, first, ("d000",)), rows(6, dimension=16), RECIPE, FoldingRule(1, 10, 100, 1.0))


def test_what_a_killed_build_left_is_replaced(tmp_path: Path) -> None:
    build(tmp_path, 1, rows(3, seed=2), RECIPE)
    (tmp_path / "generations" / ".building-old").mkdir()
    (tmp_path / "segments" / ".building-old").mkdir()

    folder = build(tmp_path, 1, rows(6), RECIPE)

    assert Generation.load(folder).manifest.chunks == 6
    assert sorted(path.name for path in folder.parent.iterdir()) == ["00000001"]
    assert not list((tmp_path / "segments").glob(".*"))


def test_a_segment_that_was_written_before_is_taken_as_it_is_and_a_damaged_one_is_written_anew(tmp_path: Path) -> None:
    build(tmp_path, 1, rows(6), RECIPE)
    (folder,) = (tmp_path / "segments").iterdir()
    inode = folder.stat().st_ino

    build(tmp_path, 2, rows(6), RECIPE)
    assert folder.stat().st_ino == inode

    (folder / "vectors.faiss").write_bytes(b"torn")
    assert Generation.load(build(tmp_path, 3, rows(6), RECIPE)).manifest.chunks == 6
    assert folder.stat().st_ino != inode


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """The generation's folder in a copy of the whole index."""
    return Path(shutil.copytree(index_dir_of(built), tmp_path / "copy")) / "generations" / built.name


def file_of(folder: Path, name: str) -> Path:
    named = [path for path in read_manifest(folder).files if path.endswith(f"/{name}")]
    return index_dir_of(folder) / named[0]


FILES = ["chunks.arrow", "vectors.faiss", "statements.f16", *(f"lexical-0.{ending}" for ending in lexical.FILES)]


@pytest.mark.parametrize("name", FILES)
def test_one_altered_byte_is_noticed_and_the_file_is_named(copy: Path, name: str) -> None:
    Generation.load(copy)
    path = file_of(copy, name)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(IntegrityError, match=name):
        Generation.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    file_of(copy, name).unlink()

    with pytest.raises(IntegrityError, match=name):
        Generation.load(copy)


def test_a_missing_manifest_is_named(copy: Path) -> None:
    (copy / MANIFEST).unlink()

    with pytest.raises(IntegrityError, match=MANIFEST):
        Generation.load(copy)


def alter(folder: Path, **changes: object) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_counts_that_disagree_with_the_manifest_are_noticed(copy: Path) -> None:
    base = json.loads((copy / MANIFEST).read_text())["base"]

    for changes, named in (
        ({"chunks": 61}, "says 61 chunks; 60 are alive"),
        ({"dimension": 9}, "vectors.faiss has 60 vectors of 8 numbers"),
        ({"base": {**base, "rows": 61}}, "chunks.arrow has 60 chunks"),
        ({"base": {**base, "statements": 61}}, "chunks.arrow has 60 statements"),
    ):
        before = (copy / MANIFEST).read_text()
        alter(copy, **changes)
        with pytest.raises(IntegrityError, match=named):
            Generation.load(copy)
        (copy / MANIFEST).write_text(before)


def test_an_arrow_file_with_other_columns_is_refused(copy: Path) -> None:
    path = file_of(copy, "chunks.arrow")
    table = pa.table({"chunk_id": ["x"]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    files = json.loads((copy / MANIFEST).read_text())["files"]
    name = next(name for name in files if name.endswith("chunks.arrow"))
    alter(copy, files={**files, name: file_info(path).model_dump()})

    with pytest.raises(IntegrityError, match="other columns"):
        Generation.load(copy)


def before_page_breaks(folder: Path) -> Path:
    """The generation as versions wrote it that did not know where further pages begin."""
    path = file_of(folder, "chunks.arrow")
    table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all().drop_columns("page_breaks")
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    name = next(name for name in files if name.endswith("chunks.arrow"))
    alter(folder, files={**files, name: file_info(path).model_dump()})
    return folder


def test_a_generation_without_page_breaks_is_read_extended_and_folded(copy: Path) -> None:
    old = before_page_breaks(copy)
    kept, fresh = {f"d{n:03d}" for n in range(2, 20)}, rows(63).only({"d020"})
    index_dir = index_dir_of(old)

    extended = extend(2, Alive.of(index_dir, read_manifest(old), kept), fresh, RECIPE, NEVER)
    again = extend(3, Alive.of(index_dir, read_manifest(extended), kept | {"d020"}), None, RECIPE, NEVER)
    folded = fold(4, Alive.of(index_dir, read_manifest(again), kept | {"d020"}), None, RECIPE)

    def known(folder: Path) -> dict[str, tuple[int, ...]]:
        loaded = Generation.load(folder)
        chunks = map(loaded.chunk, loaded.select(None).rows.tolist())
        return {chunk.chunk_id: chunk.page_breaks for chunk in chunks}

    assert known(old) == {f"d{n // 3:03d}:{n % 3}": () for n in range(60)}
    living = {f"d{n // 3:03d}:{n % 3}": () for n in range(6, 60)}
    for folder in (extended, again, folded):
        assert known(folder) == living | {"d020:0": (), "d020:1": (1,), "d020:2": ()}


def test_a_batch_without_page_breaks_is_taken_too() -> None:
    whole = rows(6)
    batch = whole.chunks.drop_columns("page_breaks")
    packed = np.split(whole.statement_vectors, whole.statement_starts()[1:-1])
    batch = batch.append_column("embedding", pa.array([vector.tobytes() for vector in whole.vectors], pa.binary()))
    batch = batch.append_column("statement_embeddings", pa.array([part.tobytes() for part in packed], pa.binary()))

    taken = Rows.of_batch(batch)

    assert taken.chunks.column("page_breaks").to_pylist() == [None] * 6
    assert taken.chunks.drop_columns("page_breaks").equals(whole.chunks.drop_columns("page_breaks"))


def test_a_file_that_was_not_touched_is_not_hashed_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Generation.load(copy)
    hashed: list[Path] = []
    monkeypatch.setattr(manifest, "sha256", lambda path: hashed.append(path) or "")

    Generation.load(copy)
    assert hashed == []
