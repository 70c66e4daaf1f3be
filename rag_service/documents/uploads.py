"""Documents that people send in: checked, stored and landed at once, as the inbox's files are."""

import io
from collections import Counter
from dataclasses import dataclass
from typing import BinaryIO

import sqlalchemy as sa

from cuvee.errors import InvalidInputError, TooLargeError, UnreadableDocumentError
from cuvee.objects import ObjectStore
from rag_service.documents import ledger, readers
from rag_service.documents.details import Details
from rag_service.documents.ledger import Place
from rag_service.documents.readers import ReadLimits
from rag_service.sources.folder import passed_over, printable

_MOST_NAME_CHARS = 200


@dataclass(frozen=True)
class Upload:
    """One file that was sent."""

    name: str
    stream: BinaryIO
    size_bytes: int


@dataclass(frozen=True)
class Refusal:
    """Why a file was not taken, in words for its owner."""

    name: str
    reason: str
    too_large: bool


def take(
    files: list[Upload],
    topic: str,
    segment: str,
    given: Details,
    engine: sa.Engine,
    store: ObjectStore,
    limits: ReadLimits,
) -> tuple[list[str], list[Refusal]]:
    """Land `files`; one that cannot be taken does not stop the others. `given` is said of each of them.

    Returns:
        The ids of the documents, in the order of the files that were taken, and the refusals.

    Raises:
        InvalidInputError: topic or segment cannot be a place, or two files have one name; nothing is stored then.
    """
    place = _folder("topic", topic), _folder("segment", segment)
    _check_names(files)
    taken, refused = [], []
    for file in files:
        try:
            taken.append(_take_one(file, Place(*place, _file_name(file.name)), given, engine, store, limits))
        except (TooLargeError, InvalidInputError) as error:
            refused.append(Refusal(file.name, str(error), isinstance(error, TooLargeError)))
    return taken, refused


def _check_names(files: list[Upload]) -> None:
    """The later of two files of one name would at once supersede the other, whose id was given to its owner."""
    counts = Counter(_last_part(file.name) for file in files)
    for name, count in counts.items():
        if name and count > 1:
            raise InvalidInputError(f"{name}: {count} files of this name were sent; give each a name of its own.")


def _take_one(
    file: Upload, place: Place, given: Details, engine: sa.Engine, store: ObjectStore, limits: ReadLimits
) -> str:
    try:
        readers.check_bytes(file.size_bytes, limits)
    except UnreadableDocumentError as error:
        raise TooLargeError(str(error)) from error
    content = file.stream.read()
    readers.media_type(content, place.uri)
    stored = store.put(io.BytesIO(content))
    with engine.begin() as connection:
        ledger.land(connection, place, stored, source=ledger.UPLOAD, given=given)
    return place.document_id(stored.sha256)


def _folder(kind: str, name: str) -> str:
    """A topic or segment, as a folder of the inbox would name it."""
    safe = printable(name.strip())
    if not safe or "/" in safe or "\\" in safe or passed_over(safe) or len(safe) > _MOST_NAME_CHARS:
        raise InvalidInputError(
            f"{kind}: give a name of 1 to {_MOST_NAME_CHARS} characters without slashes that does not begin with a dot."
        )
    return safe


def _last_part(name: str) -> str:
    return printable(name.replace("\\", "/").rsplit("/", 1)[-1].strip())


def _file_name(name: str) -> str:
    """The last part of `name`, as the inbox would name it."""
    safe = _last_part(name)
    if not safe:
        raise InvalidInputError("The file has no name.")
    if passed_over(safe):
        raise InvalidInputError("Hidden and unfinished files are not taken; give it another name.")
    if len(safe) > _MOST_NAME_CHARS:
        raise InvalidInputError(f"The name of the file is too long; at most {_MOST_NAME_CHARS} characters are taken.")
    return safe
