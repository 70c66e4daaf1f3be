"""Documents over which workers die are found by halves."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvee.errors import ProcessDiedError
from rag_service.documents.ledger import Landed
from rag_service.pipeline.reading import _reading_apart


def waiting(count: int) -> list[Landed]:
    return [Landed(str(n), "cellar", "safety", f"{n}.txt", "0", 1, "2026-01-01", "inbox", {}) for n in range(count)]


class Reader:
    """Dies over any part that holds one of some documents; over others only the first time."""

    def __init__(self, deadly: set[str], once: Iterable[str] = ()) -> None:
        self.deadly, self.once = deadly, set(once)
        self.prepared: Counter[str] = Counter()

    def __call__(self, part: Sequence[Landed]) -> None:
        ids = {document.document_id for document in part}
        unlucky = ids & self.once
        self.once -= unlucky
        if unlucky or ids & self.deadly:
            raise ProcessDiedError("A Python worker died.")
        self.prepared.update(ids)


@given(st.data())
def test_exactly_the_deadly_documents_are_named_and_each_other_one_is_prepared_once(data: st.DataObject) -> None:
    documents = waiting(data.draw(st.integers(1, 40)))
    ids = [document.document_id for document in documents]
    deadly = data.draw(st.sets(st.sampled_from(ids)))
    once = data.draw(st.sets(st.sampled_from(ids)))
    reader = Reader(deadly, once)

    named = _reading_apart(documents, reader, probe=lambda: None)

    assert {document.document_id for document in named} == deadly
    assert len(named) == len(deadly)
    assert reader.prepared == Counter(set(ids) - deadly)


def test_a_worker_that_dies_once_over_a_document_alone_is_no_proof() -> None:
    reader = Reader(set(), once={"0"})

    assert _reading_apart(waiting(1), reader, probe=lambda: None) == []
    assert reader.prepared == Counter({"0": 1})


@pytest.mark.parametrize("count", [1, 2, 40])
def test_where_workers_die_without_reading_no_document_is_blamed(count: int) -> None:
    documents = waiting(count)
    reader = Reader({document.document_id for document in documents})

    with pytest.raises(ProcessDiedError):
        _reading_apart(documents, reader, probe=lambda: reader(documents))


def test_another_failure_of_a_job_is_not_looked_into() -> None:
    def prepare(part: Sequence[Landed]) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        _reading_apart(waiting(4), prepare, probe=lambda: None)
