"""Passages in the order of a CrossEncoder that likes one word; what is no CrossEncoder is an error at start."""

import json
from pathlib import Path

import pytest

from cuvee.errors import ConfigurationError
from rag_service.index import reranker
from rag_service.index.hybrid import Hit
from rag_service.index.neighbours import merged
from rag_service.index.rows import Chunk
from tests.hits import made_hit
from tests.unit.rag_service.index.crossencoder import save_crossencoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_crossencoder(tmp_path_factory.mktemp("crossencoder"), "gold")


def hit(name: str, text: str, score: float, start: int = 0) -> Hit:
    chunk = Chunk(name, "d", "t", "s", "Title", "u", 0, None, start, start + len(text), text)
    return made_hit(chunk, score, "question")


def test_passages_stand_in_the_order_of_the_model_and_keep_the_scores_of_the_search(folder: Path) -> None:
    scorer = reranker.load(str(folder))
    assert scorer is not None
    hits = [hit("a", "no such word", 0.9), hit("b", "gold gold gold", 0.5), hit("c", "some gold here and there", 0.1)]

    found = reranker.reranked(scorer, "question", hits)

    assert [one.chunk.chunk_id for one in found] == ["b", "c", "a"]
    assert [one.score for one in found] == [0.5, 0.1, 0.9]
    assert found[0].order > found[1].order > found[2].order
    assert reranker.reranked(scorer, "question", []) == []


def test_equal_passages_stand_in_the_order_of_their_ids(folder: Path) -> None:
    scorer = reranker.load(str(folder))
    assert scorer is not None

    found = reranker.reranked(scorer, "question", [hit("b", "x", 0.1), hit("a", "y", 0.9)])

    assert [one.chunk.chunk_id for one in found] == ["a", "b"]


def test_passages_that_touch_keep_what_the_better_one_got(folder: Path) -> None:
    scorer = reranker.load(str(folder))
    assert scorer is not None
    hits = [hit("a", "plain.", 0.9), hit("b", "gold.", 0.2, start=6)]

    (whole,) = merged(reranker.reranked(scorer, "question", hits))

    assert whole.chunk.text == "plain.gold."
    assert whole.order == reranker.reranked(scorer, "question", hits)[0].order


def test_the_version_names_the_weights(folder: Path, tmp_path: Path) -> None:
    first, other = reranker.load(str(folder)), reranker.load(str(save_crossencoder(tmp_path / "other", "silver", 1)))
    assert first is not None and other is not None

    assert first.version.startswith(f"{folder}@") and len(first.version.rpartition("@")[2]) == 12
    # The word that is liked is in the vocabulary, the weights are the same.
    assert first.version.rpartition("@")[2] == other.version.rpartition("@")[2]


def test_none_is_no_reranker() -> None:
    assert reranker.load("none") is None


def test_what_is_no_crossencoder_is_an_error_that_names_the_setting(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    two = save_crossencoder(tmp_path / "two", "gold", labels=2)
    body = save_crossencoder(tmp_path / "body", "gold")
    config = json.loads((body / "config.json").read_text())
    (body / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))

    for name, reason in ((empty, "no weights"), (two, "gives 2 figures"), (body, "no CrossEncoder")):
        with pytest.raises(ConfigurationError, match=rf"CUVEE_RERANKER=.*{reason}"):
            reranker.load(str(name))


def test_a_model_that_cannot_be_had_is_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("nobody/no-such-reranker", "/nowhere/at/all"):
        with pytest.raises(ConfigurationError, match="CUVEE_RERANKER"):
            reranker.load(name)
