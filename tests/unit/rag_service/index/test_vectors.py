"""The FAISS index: its files, its kinds, and how many groups a search looks at."""

from pathlib import Path
from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from cuvee.errors import IntegrityError
from rag_service.index import ivf, vectors
from rag_service.index.vectors import Vectors, best, build


def _clustered(count: int, dimension: int = 48) -> np.ndarray:
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((40, dimension))
    made = centres[rng.integers(0, 40, count)] + 0.8 * rng.standard_normal((count, dimension))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    return _clustered(vectors.FLAT_ROWS + 2_000)


@pytest.fixture(scope="module")
def grouped(many: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Vectors:
    path = tmp_path_factory.mktemp("vectors") / "vectors.faiss"
    build(path, (many[at : at + 999] for at in range(0, len(many), 999)), *many.shape)
    return Vectors.read(path)


def test_few_vectors_are_kept_flat_and_come_back_unchanged(tmp_path: Path) -> None:
    few = _clustered(500)

    kind = build(tmp_path / "v", few, *few.shape)

    for memory_map in (True, False):
        index = Vectors.read(tmp_path / "v", memory_map)
        assert (kind, index.kind, len(index), index.dimension) == ("Flat", "Flat", 500, 48)
        assert np.array_equal(index.all(), few)


def test_many_vectors_are_grouped_and_come_back_to_fp16(many: np.ndarray, grouped: Vectors) -> None:
    rows = np.array([7, 0, 11_999, 7])

    assert (grouped.kind, len(grouped)) == ("IVF32,SQ8", 12_000)
    assert np.array_equal(grouped.reconstruct(rows), many[rows].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("kept", [1.0, 0.95, 0.5, 0.1, 0.001])
def test_search_among_many_finds_what_exact_search_finds(many: np.ndarray, grouped: Vectors, kept: float) -> None:
    rng = np.random.default_rng(5)
    alive, chosen = rng.random(len(many)) > 0.1, np.flatnonzero(rng.random(len(many)) < kept)
    shared = 0.0
    for query in _clustered(12_040)[-40:]:
        rows, scores = grouped.search(query, 10, None if kept == 1.0 else chosen, alive)
        may = chosen[alive[chosen]]
        expected = may[np.argsort(-(many[may] @ query), kind="stable")[:10]]
        shared += len(np.intersect1d(rows, expected)) / min(10, len(may))
        assert np.isin(rows, may).all()
        assert scores == pytest.approx(many[rows] @ query, abs=5e-4)

    assert shared / 40 >= 0.99


def test_rows_far_from_the_query_are_found_where_a_filter_keeps_only_them(
    many: np.ndarray, grouped: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ivf, "_ROWS_SEEN_OF_FEW", 0)
    monkeypatch.setattr(ivf, "_ROWS_ALWAYS_SEEN", 0)
    monkeypatch.setattr(vectors, "LISTED_ROWS", 0)
    far = np.argsort(many @ many[0])[:300]

    rows, _ = grouped.search(many[0], 10, far)

    assert len(rows) == 10
    assert np.isin(rows, far).all()


def test_the_same_vectors_give_the_same_file(many: np.ndarray, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build(tmp_path / name, many, *many.shape)

    for ending in ("", ".f16"):
        assert (tmp_path / f"one{ending}").read_bytes() == (tmp_path / f"two{ending}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "one.f16", "two", "two.f16"]


@pytest.mark.parametrize("count", [499, 501])
def test_another_number_of_vectors_than_promised_is_an_error(tmp_path: Path, count: int) -> None:
    with pytest.raises(IntegrityError, match=f"came instead of {count}"):
        build(tmp_path / "v", _clustered(500), count, 48)


def test_a_file_that_is_no_index_or_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "torn").write_bytes(b"IxFI" + b"\0" * 10)
    faiss.write_index(faiss.IndexHNSWFlat(8, 4), str(tmp_path / "other"))

    with pytest.raises(IntegrityError, match="is not a FAISS index"):
        Vectors.read(tmp_path / "torn")
    with pytest.raises(IntegrityError, match="of another kind"):
        Vectors.read(tmp_path / "other")


def test_an_index_of_a_quantizer_that_no_version_wrote_is_refused_although_its_halves_are_there(
    many: np.ndarray, tmp_path: Path
) -> None:
    build(tmp_path / "v", many, *many.shape)
    eight = faiss.ScalarQuantizer.QT_8bit
    other = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(48), 48, 32, eight, faiss.METRIC_INNER_PRODUCT, False)
    other.train(many)
    other.add(many)
    faiss.write_index(other, str(tmp_path / "v"))

    with pytest.raises(IntegrityError, match="of another kind"):
        Vectors.read(tmp_path / "v")


def test_many_vectors_without_their_halves_or_with_torn_ones_are_refused(many: np.ndarray, tmp_path: Path) -> None:
    build(tmp_path / "v", many, *many.shape)
    halves = vectors.halves_of(tmp_path / "v")

    halves.write_bytes(halves.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"v\.f16 does not hold 12000 vectors of 48 numbers"):
        Vectors.read(tmp_path / "v")
    halves.unlink()
    with pytest.raises(IntegrityError, match=r"v\.f16 cannot be read"):
        Vectors.read(tmp_path / "v")


def test_an_index_as_the_first_version_wrote_it_is_still_read(many: np.ndarray, tmp_path: Path) -> None:
    quantizer, halves = faiss.IndexFlatIP(48), many.astype(np.float16).astype(np.float32)
    fp16 = faiss.ScalarQuantizer.QT_fp16
    old = faiss.IndexIVFScalarQuantizer(quantizer, 48, 32, fp16, faiss.METRIC_INNER_PRODUCT, False)
    old.train(halves)
    old.add(halves)
    old.nprobe = 32
    faiss.write_index(old, str(tmp_path / "old"))

    index = Vectors.read(tmp_path / "old")

    assert np.array_equal(index.all(), halves)
    for query in _clustered(12_020)[-20:]:
        rows, scores = index.search(query, 10)
        assert rows.tolist() == np.argsort(-(halves @ query), kind="stable")[:10].tolist()
        assert scores == pytest.approx(halves[rows] @ query, abs=1e-6)


def test_a_search_looks_at_more_groups_the_fewer_rows_are_alive() -> None:
    million = SimpleNamespace(ntotal=1_000_000, nlist=2048, nprobe=16)

    assert ivf.probes(million, 10, 1_000_000) == 52  # 25,000 rows
    assert ivf.probes(SimpleNamespace(ntotal=1_000_000, nlist=2048, nprobe=256), 100, 1_000_000) == 256
    assert ivf.probes(SimpleNamespace(ntotal=1_000_000, nlist=2048, nprobe=256), 100, 250_000) == 512
    assert ivf.probes(million, 10, 45_000) == 2048
    assert ivf.probes(SimpleNamespace(ntotal=12_000, nlist=32, nprobe=4), 10, 12_000) == 32


def test_equal_scores_stand_in_row_order_also_where_some_are_cut_off() -> None:
    rows, scores = best(np.array([9, 4, 7, 2]), np.array([0.5, 0.5, 0.9, 0.5], np.float32), 3)

    assert (rows.tolist(), scores.tolist()) == ([7, 2, 4], [pytest.approx(0.9), 0.5, 0.5])
    assert len(best(rows, scores, 0)[0]) == 0
