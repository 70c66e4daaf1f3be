"""The object store on a real folder."""

import hashlib
import io
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


def test_putting_the_same_bytes_twice_is_one_object_left_as_it_was(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    store.put(io.BytesIO(CONTENT))
    path = tmp_path / SHA256[:2] / SHA256
    before = path.stat()

    store.put(io.BytesIO(CONTENT))

    assert files(tmp_path) == [f"{SHA256[:2]}/{SHA256}"]
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


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
