"""Files sent in: what is refused before anything is stored."""

import io

import pytest

from cuvee.errors import InvalidInputError
from rag_service.documents import uploads
from rag_service.documents.details import Details
from rag_service.documents.readers import ReadLimits
from rag_service.documents.uploads import Upload


class NoStore:
    """Nothing may be put into it."""

    def put(self, stream):
        raise AssertionError("a file was stored")


@pytest.mark.parametrize("second", ["a.txt", "other/a.txt", "C:\\a.txt"])
def test_two_files_of_one_name_in_one_request_are_refused_before_anything_is_stored(second: str) -> None:
    files = [Upload(name, io.BytesIO(b"words"), 5) for name in ("a.txt", "b.txt", second)]

    with pytest.raises(InvalidInputError, match=r"^a\.txt: 2 files of this name"):
        uploads.take(files, "t", "s", Details(), None, NoStore(), ReadLimits(100, 100))  # type: ignore[arg-type]


def test_files_without_a_name_are_refused_one_by_one() -> None:
    files = [Upload("", io.BytesIO(b"words"), 5)] * 2

    taken, refused = uploads.take(files, "t", "s", Details(), None, NoStore(), ReadLimits(100, 100))  # type: ignore[arg-type]

    assert (taken, [refusal.reason for refusal in refused]) == ([], ["The file has no name."] * 2)
