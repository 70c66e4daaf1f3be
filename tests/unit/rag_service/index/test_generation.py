"""Index generations: exact search, byte-identical files, and damage that is noticed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuvee.errors import IntegrityError
from rag_service.index import generation
from rag_service.index.generation import Generation, Recipe, build, read_manifest
from rag_service.index.rows import SCHEMA, Chunk, Rows, write_chunks

RECIPE = Recipe("tiny", "tiny@0123/16", "sentences-1/10/4", 0.4)
DIMENSION = 8


def rows(count: int, seed: int = 1) -> Rows:
    """`count` chunks, three to a document, over two topics with two segments each, with random unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, DIMENSION)).astype(np.float32)
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
        }
        for n in range(count)
    ]
    return Rows(pa.Table.from_pylist(records, SCHEMA), vectors)


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

    hits = Generation.load(built).search(question, top_k, topic, segment)

    best = sorted(matching, key=lambda n: -scores[n])[:top_k]
    assert [hit.chunk.chunk_id for hit in hits] == [records[n]["chunk_id"] for n in best]
    assert [hit.score for hit in hits] == pytest.approx([float(scores[n]) for n in best], abs=1e-6)


def test_a_hit_carries_the_whole_chunk(built: Path) -> None:
    hits = Generation.load(built).search(rows(60).vectors[7], 1)

    assert hits[0].chunk == Chunk("d002:1", "d002", "a", "y", "Title 2", "2.txt", 1, None, 7, 12, "text 7")
    assert hits[0].score == pytest.approx(1.0, abs=1e-6)


def test_the_manifest_says_what_the_generation_is(built: Path) -> None:
    manifest = Generation.load(built).manifest

    assert built.name == "00000001"
    assert (manifest.number, manifest.documents, manifest.chunks, manifest.dimension) == (1, 20, 60, DIMENSION)
    assert (manifest.embedder, manifest.embedder_version, manifest.metric) == ("tiny", "tiny@0123/16", "cosine")
    assert (manifest.chunker, manifest.refusal_threshold) == ("sentences-1/10/4", 0.4)
    assert sorted(manifest.files) == ["chunks.arrow", "vectors.faiss"]
    assert manifest.files["chunks.arrow"].bytes == (built / "chunks.arrow").stat().st_size


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    whole = rows(30)
    parts = [whole.only({f"d{n:03d}" for n in chosen}) for chosen in ({7, 2, 9}, {0, 1, 3, 4, 5, 6, 8})]

    first = build(tmp_path / "one", 4, Rows.together([whole]), RECIPE)
    second = build(tmp_path / "two", 4, Rows.together(parts), RECIPE)

    assert [(first / name).read_bytes() for name in ("generation.json", "chunks.arrow", "vectors.faiss")] == [
        (second / name).read_bytes() for name in ("generation.json", "chunks.arrow", "vectors.faiss")
    ]


def test_rows_come_back_as_they_went_in(built: Path) -> None:
    back = Generation.load(built).rows()

    assert back.chunks.equals(rows(60).chunks)
    assert np.array_equal(back.vectors, rows(60).vectors)


def test_a_generation_may_be_empty(tmp_path: Path) -> None:
    empty = Generation.load(build(tmp_path, 2, rows(9).only([]), RECIPE))

    assert (empty.manifest.documents, empty.manifest.chunks, empty.manifest.dimension) == (0, 0, DIMENSION)
    assert empty.search(rows(9).vectors[0], 5) == []
    assert empty.search(rows(9).vectors[0], 5, topic="a") == []


def test_what_a_killed_build_left_is_replaced(tmp_path: Path) -> None:
    build(tmp_path, 1, rows(3, seed=2), RECIPE)
    (tmp_path / "generations" / ".building-old").mkdir()

    folder = build(tmp_path, 1, rows(6), RECIPE)

    assert Generation.load(folder).manifest.chunks == 6
    assert sorted(path.name for path in folder.parent.iterdir()) == ["00000001"]


def test_old_generations_go_and_the_last_three_stay(tmp_path: Path) -> None:
    for number in range(1, 6):
        build(tmp_path, number, rows(3), RECIPE)

    generation.remove_old(tmp_path, 5)

    assert sorted(path.name for path in (tmp_path / "generations").iterdir()) == ["00000003", "00000004", "00000005"]


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["chunks.arrow", "vectors.faiss"])
def test_one_altered_byte_is_noticed_and_the_file_is_named(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)

    with pytest.raises(IntegrityError, match=name):
        Generation.load(copy)


@pytest.mark.parametrize("name", ["chunks.arrow", "vectors.faiss", "generation.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(IntegrityError, match=name):
        Generation.load(copy)


@pytest.mark.parametrize(("field", "named"), [("chunks", "chunks.arrow has 60"), ("dimension", "vectors.faiss has 60")])
def test_counts_that_disagree_with_the_manifest_are_noticed(copy: Path, field: str, named: str) -> None:
    path = copy / "generation.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, field: manifest[field] + 1}))

    with pytest.raises(IntegrityError, match=named):
        Generation.load(copy)


def test_an_arrow_file_with_other_columns_is_refused(copy: Path) -> None:
    write_chunks(copy / "chunks.arrow", rows(60).chunks)
    table = pa.table({"chunk_id": ["x"]})
    with pa.OSFile(str(copy / "chunks.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    info = generation.FileInfo(
        sha256=generation._sha256(copy / "chunks.arrow"), bytes=(copy / "chunks.arrow").stat().st_size
    )
    manifest = read_manifest(copy)
    altered = manifest.model_copy(update={"files": {**manifest.files, "chunks.arrow": info}})
    (copy / "generation.json").write_text(altered.model_dump_json())

    with pytest.raises(IntegrityError, match="other columns"):
        Generation.load(copy)
