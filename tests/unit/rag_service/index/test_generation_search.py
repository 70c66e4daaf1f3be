"""What a generation finds equals a search by hand over what is alive: after deletes and new versions, under filters."""

import datetime
import json
import math
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag_service.index import building, generation, lexical
from rag_service.index.alive import Alive
from rag_service.index.building import FoldingRule
from rag_service.index.filters import And, AnyOf, Condition, DateRange, Not, Or
from rag_service.index.generation import Generation
from rag_service.index.manifest import MANIFEST, read_manifest
from rag_service.index.rows import Rows
from tests.unit.rag_service.index.library import NEVER, RECIPE, WORDS, document_rows, unit

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass
class History:
    """Generations made one from the other, and by hand what should be in the last one."""

    index_dir: Path
    folders: list[Path] = field(default_factory=list)
    expected: dict[str, tuple[dict[str, Any], Any, Any]] = field(default_factory=dict)
    """Record, vector and statement vectors by chunk id."""

    def start(self, documents: range) -> None:
        rows = document_rows(documents)
        self.folders.append(building.build(self.index_dir, 1, rows, RECIPE))
        self._expect(rows)

    def change(self, deleted: set[int], fresh: set[int], rule: FoldingRule = NEVER, fold: bool = False) -> None:
        """A batch: documents that go, and documents that come or come again with other contents."""
        number = len(self.folders) + 1
        gone = {f"d{n:03d}" for n in deleted | fresh}
        living = {record["document_id"] for record, _, _ in self.expected.values()} - gone
        alive = Alive.of(self.index_dir, read_manifest(self.folders[-1]), living)
        rows = document_rows(sorted(fresh), seed=number) if fresh else None
        folder = (
            building.fold(number, alive, rows, RECIPE) if fold else building.extend(number, alive, rows, RECIPE, rule)
        )
        self.folders.append(folder)
        self.expected = {k: v for k, v in self.expected.items() if v[0]["document_id"] not in gone}
        if rows is not None:
            self._expect(rows)

    def _expect(self, rows: Rows) -> None:
        starts = rows.statement_starts()
        for n, record in enumerate(rows.chunks.to_pylist()):
            packed = rows.statement_vectors[starts[n] : starts[n + 1]]
            self.expected[record["chunk_id"]] = (record, rows.vectors[n], packed)

    def matching(self, wanted: Any) -> dict[str, Any]:
        return {k: vector for k, (record, vector, _) in self.expected.items() if wanted(record)}


def ids(loaded: Generation, rows: Any) -> list[str]:
    return [loaded.chunk(int(row)).chunk_id for row in rows]


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generation, History]:
    """A base, a delta, and dead rows in the base."""
    history = History(tmp_path_factory.mktemp("index"))
    history.start(range(60))
    history.change({3, 4, 11}, {7, 70, 71})
    history.change({12, 70}, {8, 72})
    loaded = Generation.load(history.folders[-1])
    assert loaded.manifest.delta is not None and loaded.manifest.dead > 0
    return loaded, history


def by_hand(condition: Condition | None, record: dict[str, Any]) -> bool:
    match condition:
        case None:
            return True
        case AnyOf("document", values):
            return record["document_id"] in values
        case AnyOf(name, values) if name.startswith("metadata."):
            return dict(record["metadata"]).get(name.removeprefix("metadata.")) in values
        case AnyOf(name, values):
            return record[name] in values
        case DateRange(start, end):
            day = record["date"]
            return day is not None and (start is None or start <= day) and (end is None or day <= end)
        case And(parts):
            return all(by_hand(part, record) for part in parts)
        case Or(parts):
            return any(by_hand(part, record) for part in parts)
        case Not(part):
            return not by_hand(part, record)


days = st.dates(datetime.date(2026, 1, 1), datetime.date(2026, 1, 31))
leaves = st.one_of(
    st.builds(lambda v: AnyOf("topic", tuple(v)), st.lists(st.sampled_from("abc"), min_size=1)),
    st.builds(lambda v: AnyOf("segment", (v,)), st.sampled_from("xyz")),
    st.builds(lambda v: AnyOf("source", (v,)), st.sampled_from(["inbox", "feed"])),
    st.builds(lambda v: AnyOf("author", (v,)), st.sampled_from(["author 0", "author 1", "nobody"])),
    st.builds(lambda v: AnyOf("document", tuple(f"d{n:03d}" for n in v)), st.lists(st.integers(0, 75), min_size=1)),
    st.builds(lambda v: AnyOf("metadata.vintage", (v,)), st.sampled_from(["2020", "2021", "1999"])),
    st.just(AnyOf("metadata.none", ("x",))),
    st.builds(DateRange, st.none() | days, st.none() | days),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: And(tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, min_size=1, max_size=3)),
        st.builds(Not, inner),
    ),
    max_leaves=6,
)


@QUICK
@given(condition=st.none() | conditions, seed=st.integers(0, 10_000), count=st.integers(1, 200))
def test_dense_search_is_exact_over_the_living_that_match(
    changed: tuple[Generation, History], condition: Condition | None, seed: int, count: int
) -> None:
    loaded, history = changed
    question = unit(seed)[0]
    truth = history.matching(lambda record: by_hand(condition, record))
    scores = {key: float(vector @ question) for key, vector in truth.items()}

    selection = loaded.select(condition)
    found = loaded.dense(question, count, selection)

    best = sorted(scores, key=lambda key: -scores[key])[:count]
    assert len(selection) == len(truth)
    assert ids(loaded, found.rows) == best
    assert found.scores.tolist() == pytest.approx([scores[key] for key in best], abs=1e-5)


@QUICK
@given(
    condition=st.none() | conditions,
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    count=st.integers(1, 200),
)
@pytest.mark.parametrize("listed_cost", [0, 1_000])
def test_lexical_search_ranks_the_living_that_match_by_the_scores_of_the_whole_index(
    changed: tuple[Generation, History], condition: Condition | None, words: list[str], count: int, listed_cost: int
) -> None:
    loaded, history = changed
    query = " ".join(words)
    rows = np.arange(loaded.manifest.rows)
    everywhere = dict(zip(rows.tolist(), loaded.lexical_of(query, rows).tolist(), strict=True))
    truth = history.matching(lambda record: by_hand(condition, record))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "_LISTED_COST", listed_cost)
        selection = loaded.select(condition)
        found = loaded.lexical(query, count, selection)

    assert set(ids(loaded, selection.rows)) == set(truth)
    scored = [(-everywhere[row], row) for row in selection.rows.tolist() if everywhere[row] > 0]
    assert found.rows.tolist() == [row for _, row in sorted(scored)][:count]
    assert found.scores.tolist() == [everywhere[row] for row in found.rows.tolist()]


changes = st.tuples(
    st.sets(st.integers(0, 30), max_size=6), st.sets(st.integers(0, 34), max_size=5), st.sampled_from([True, False])
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(changes, min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_after_any_batches_and_compactions_exactly_what_is_alive_is_there(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[set[int], set[int], bool]], seed: int
) -> None:
    history = History(tmp_path_factory.mktemp("story"))
    history.start(range(20))
    for deleted, fresh, fold in story:
        history.change(deleted, fresh, fold=fold)

    loaded = Generation.load(history.folders[-1])
    rows = loaded.select(None).rows

    assert sorted(ids(loaded, rows)) == sorted(history.expected)
    assert loaded.manifest.chunks == len(history.expected)
    assert loaded.manifest.documents == len({record["document_id"] for record, _, _ in history.expected.values()})
    vectors, packed = loaded.vectors(rows), loaded.statement_vectors(rows)
    for place, row in enumerate(rows):
        chunk = loaded.chunk(int(row))
        record, vector, statements = history.expected[chunk.chunk_id]
        assert (chunk.text, len(chunk.statements)) == (record["text"], len(record["statements"]))
        assert np.array_equal(vectors[place], vector)
        mine = packed[0][packed[1][place] : packed[1][place + 1]]
        assert np.array_equal(mine.astype(np.float16), statements)
    if len(rows):
        assert ids(loaded, loaded.dense(unit(seed)[0], 1, loaded.select(None)).rows)[0] in history.expected


def rarity_by_hand(history: History) -> dict[str, float]:
    texts = [set(lexical.stems(record["text"])) for record, _, _ in history.expected.values()]
    holding = {stem: sum(stem in text for text in texts) for stem in lexical.stems(" ".join(WORDS))}
    return {stem: math.log(1 + (len(texts) - n + 0.5) / (n + 0.5)) for stem, n in holding.items()}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(changes, min_size=1, max_size=4))
def test_after_any_batches_and_compactions_words_weigh_as_if_the_dead_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, story: list[tuple[set[int], set[int], bool]]
) -> None:
    history = History(tmp_path_factory.mktemp("story"))
    history.start(range(20))
    for deleted, fresh, fold in story:
        history.change(deleted, fresh, fold=fold)
    with_dead = Generation.load(history.folders[-1])
    history.change(set(), set(), fold=True)
    without = Generation.load(history.folders[-1])

    assert with_dead.rarity(lexical.stems(" ".join(WORDS))) == pytest.approx(rarity_by_hand(history))
    for question in ("barrel gas", "harvest of the vine in a running press"):
        found = []
        for loaded in (with_dead, without):
            rows = loaded.select(None).rows
            found.append(dict(zip(ids(loaded, rows), loaded.lexical_of(question, rows).tolist(), strict=True)))
        # The mean length still counts the dead.
        assert found[0] == pytest.approx(found[1], rel=0.25)


def test_a_generation_of_an_older_version_knows_no_dead_words_until_the_next_batch(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.start(range(20))
    history.change({1, 2, 3}, set())
    older = json.loads((history.folders[-1] / MANIFEST).read_text())
    del older["files"][older.pop("dead_words")]
    (history.folders[-1] / MANIFEST).write_text(json.dumps(older))
    words = lexical.stems(" ".join(WORDS))

    assert Generation.load(history.folders[-1]).rarity(words) != pytest.approx(rarity_by_hand(history))
    history.change({4}, {30})
    assert Generation.load(history.folders[-1]).rarity(words) == pytest.approx(rarity_by_hand(history))


def test_words_weigh_so_too_where_documents_vanish_before_it_is_published(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.start(range(20))
    history.change({1, 2}, {40, 41})
    gone = {"d003", "d041"}
    history.expected = {k: v for k, v in history.expected.items() if v[0]["document_id"] not in gone}

    trimmed = building.trim(history.folders[-1], {v[0]["document_id"] for v in history.expected.values()})

    assert Generation.load(trimmed).rarity(lexical.stems(" ".join(WORDS))) == pytest.approx(rarity_by_hand(history))


def test_of_the_dead_only_the_new_ones_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path)
    history.start(range(20))
    history.change({1, 2}, {40, 41})
    history.change({41}, set())  # dead within the delta, which the next batch writes anew
    read: list[int] = []
    known = Alive.titles_and_texts
    monkeypatch.setattr(Alive, "titles_and_texts", lambda self, rows: (read.append(len(rows)), known(self, rows))[1])
    before = read_manifest(history.folders[-1])
    history.change({3}, {42})

    after = read_manifest(history.folders[-1])
    assert read == [after.dead - before.dead + read[1], read[1]] and read[1] > 0
    loaded = Generation.load(history.folders[-1])
    assert loaded.rarity(lexical.stems(" ".join(WORDS))) == pytest.approx(rarity_by_hand(history))


def test_a_micro_batch_writes_delta_and_tombstones_and_leaves_the_base_alone(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.start(range(40))
    history.change({1, 2}, {50})
    history.change({3}, set())
    first, second, third = (read_manifest(folder) for folder in history.folders)

    assert first.base == second.base == third.base
    assert second.delta == third.delta
    assert (first.dead, second.dead > 0, third.dead > second.dead) == (0, True, True)
    assert len(list((tmp_path / "segments").iterdir())) == 2


def test_a_large_delta_or_many_dead_rows_are_folded_into_a_new_base(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.start(range(20))
    rule = FoldingRule(delta_share=0.2, delta_least_rows=4, delta_most_rows=1000, dead_share=0.3)
    history.change(set(), {30}, rule)
    assert read_manifest(history.folders[-1]).delta is not None
    history.change(set(), set(range(31, 41)), rule)
    assert read_manifest(history.folders[-1]).delta is None
    history.change({0, 1}, set(), rule)
    assert read_manifest(history.folders[-1]).dead > 0
    history.change(set(range(2, 18)), set(), rule)

    last = read_manifest(history.folders[-1])
    assert (last.delta, last.dead, last.chunks) == (None, 0, len(history.expected))


def test_folding_in_small_batches_gives_the_bytes_of_building_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "_BATCH_ROWS", 7)
    monkeypatch.setattr(lexical, "PART_ROWS", 10)
    history = History(tmp_path / "one")
    history.start(range(20))
    history.change({1, 19}, {2, 25})
    history.change(set(), set(), fold=True)
    whole = Rows.together([document_rows([n for n in range(20) if n not in (1, 2, 19)]), document_rows([2, 25], 2)])

    at_once = building.build(tmp_path / "two", 3, whole, RECIPE)

    assert (history.folders[-1] / MANIFEST).read_bytes() == (at_once / MANIFEST).read_bytes()
    assert len(read_manifest(at_once).base.lexical_rows) > 1  # type: ignore[union-attr]


def test_the_same_batch_on_the_same_generation_gives_a_byte_identical_manifest(tmp_path: Path) -> None:
    bytes_of = []
    for name in ("one", "two"):
        history = History(tmp_path / name)
        history.start(range(10))
        history.change({1}, {2, 12})
        bytes_of.append((history.folders[-1] / MANIFEST).read_bytes())

    assert bytes_of[0] == bytes_of[1]


def test_no_character_of_a_question_is_an_operator(changed: tuple[Generation, History]) -> None:
    loaded, _ = changed
    everything = loaded.select(None)

    def rows(query: str) -> list[int]:
        return sorted(loaded.lexical(query, 500, everything).rows.tolist())

    assert (
        rows("barrel AND press") == rows('text:barrel OR +press -"') == rows("(press barrel") == rows("press^2 barrel~")
    )
    assert rows("*") == rows("") == rows("the of and") == []


def test_words_are_stemmed_and_titles_are_searched(changed: tuple[Generation, History]) -> None:
    loaded, history = changed

    found = ids(loaded, loaded.lexical("Harvested barrels", 500, loaded.select(None)).rows)

    truth = [
        key
        for key, (record, _, _) in history.expected.items()
        if any(word in f"{record['title']} {record['text']}" for word in ("barrel", "harvest"))
    ]
    assert sorted(found) == sorted(truth)


def test_bm25_of_given_rows_keeps_their_order_and_is_zero_without_a_match(changed: tuple[Generation, History]) -> None:
    loaded, _ = changed
    rows = np.array([9, 2, 40, 2, 0])

    scores = loaded.lexical_of("barrel gas", rows)

    one_by_one = [loaded.lexical_of("barrel gas", rows[n : n + 1])[0] for n in range(5)]
    assert scores.tolist() == one_by_one
    assert loaded.lexical_of("unheard", rows).tolist() == [0.0] * 5


def test_selections_are_kept_but_not_without_bound(changed: tuple[Generation, History]) -> None:
    loaded, _ = changed

    assert loaded.select(AnyOf("topic", ("a",))) is loaded.select(AnyOf("topic", ("a",)))
    for n in range(100):
        loaded.select(AnyOf("document", (f"d{n:03d}",)))
    assert len(loaded._selections) <= generation._SELECTIONS_KEPT


def test_several_threads_may_search_one_generation(changed: tuple[Generation, History]) -> None:
    loaded, _ = changed
    question, where = unit(5)[0], AnyOf("topic", ("a",))
    alone = ids(loaded, loaded.dense(question, 5, loaded.select(where)).rows)
    words = loaded.lexical("barrel", 5, loaded.select(where)).rows.tolist()
    seen: list[bool] = []

    def search() -> None:
        for _ in range(30):
            selection = loaded.select(where)
            same = ids(loaded, loaded.dense(question, 5, selection).rows) == alone
            seen.append(same and loaded.lexical("barrel", 5, selection).rows.tolist() == words)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == [True] * 120


@pytest.mark.parametrize("name", ["tombstones.i64", "dead-words.arrow"])
def test_a_file_about_the_dead_that_was_touched_is_refused(name: str, tmp_path: Path) -> None:
    history = History(tmp_path)
    history.start(range(10))
    history.change({1}, set())
    (history.folders[-1] / name).write_bytes(b"\0" * 8)

    with pytest.raises(generation.IntegrityError, match=name):
        Generation.load(history.folders[-1])


def test_the_order_of_rows_is_by_document_and_ordinal() -> None:
    rows = Rows.together([document_rows([5, 3]), document_rows([4])])

    keys = list(zip(rows.chunks["document_id"].to_pylist(), rows.chunks["ordinal"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(pc.unique(rows.chunks["document_id"])) == 3
