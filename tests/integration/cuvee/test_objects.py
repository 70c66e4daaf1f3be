"""The object store on a real folder."""

import hashlib
import io
import os
from pathlib import Path

import pytest

from cuvee.errors import IntegrityError, NotFoundError
from cuvee.objects import ObjectStore

pytestmark = pytest.mark.integration

CONTENT = b"the same bytes\n" * 100_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_bytes_come_back_under_their_hash(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path / "objects"))

    stored = store.put(io.BytesIO(CONTENT))

    assert (stored.sha256, stored.size_bytes) == (SHA256, 1_500_000)
    assert store.read(SHA256) == CONTENT


def test_putting_the_same_bytes_twice_is_one_object_as_young_as_a_new_one(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    store.put(io.BytesIO(CONTENT))
    path = tmp_path / SHA256[:2] / SHA256
    os.utime(path, (1, 1))

    store.put(io.BytesIO(CONTENT))

    assert files(tmp_path) == [f"{SHA256[:2]}/{SHA256}"]
    assert path.stat().st_mtime > 1


def test_putting_the_bytes_of_a_damaged_object_again_mends_it(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    store.put(io.BytesIO(CONTENT))
    (tmp_path / SHA256[:2] / SHA256).write_bytes(CONTENT[:-1])

    store.put(io.BytesIO(CONTENT))

    assert store.read(SHA256) == CONTENT


def test_what_a_killed_put_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    store.put(io.BytesIO(CONTENT))
    for name, at in ((".incoming-old", 1), (".incoming-young", 2000)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (at, at))

    store.remove_unfinished(before=1000)

    assert files(tmp_path) == [".incoming-young", f"{SHA256[:2]}/{SHA256}"]


def test_old_objects_that_nobody_uses_are_named_and_can_be_removed(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    used, old, young = (store.put(io.BytesIO(content)).sha256 for content in (b"used", b"old", b"young"))
    for sha256 in (used, old):
        os.utime(tmp_path / sha256[:2] / sha256, (1, 1))

    assert list(store.unused({used}, before=1000)) == [old]
    store.remove(old)
    store.remove(old)

    assert (store.read(used), store.read(young)) == (b"used", b"young")
    assert list(store.unused({used}, before=1000)) == []
    assert list(ObjectStore(str(tmp_path / "none")).unused(set(), 1000)) == []


def test_no_bytes_at_all_are_an_object_too(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))

    stored = store.put(io.BytesIO(b""))

    assert (stored.sha256, store.read(stored.sha256)) == (hashlib.sha256(b"").hexdigest(), b"")


def test_changed_bytes_are_never_given_out(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    store.put(io.BytesIO(CONTENT))
    path = tmp_path / SHA256[:2] / SHA256
    path.write_bytes(CONTENT[:-1] + b"!")

    with pytest.raises(IntegrityError, match=SHA256):
        store.read(SHA256)


def test_an_object_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="ab" * 32):
        ObjectStore(str(tmp_path)).read("ab" * 32)


def test_a_stream_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise OSError("the disk was pulled out")
            return super().read(10)

    with pytest.raises(OSError, match="pulled out"):
        ObjectStore(str(tmp_path)).put(Breaking(CONTENT))

    assert files(tmp_path) == []


def test_a_store_by_url_holds_the_same_objects(tmp_path: Path) -> None:
    ObjectStore(f"file://{tmp_path}").put(io.BytesIO(CONTENT))

    assert ObjectStore(str(tmp_path)).read(SHA256) == CONTENT
