"""Bytes of a document to its text: the kind is told from the content first, from the name where that says nothing."""

import datetime
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from cuvee.errors import UnreadableDocumentError
from rag_service.documents import markup, pdf, plain, word
from rag_service.documents.cleaning import clean_query
from rag_service.documents.extracted import Extracted

SUPPORTED = "PDF, Word (.docx), HTML, Markdown and plain text"
_TEXT_SUFFIXES = frozenset({"", ".txt", ".text", ".log", ".rst", ".asc"})
_MARKDOWN_SUFFIXES = frozenset({".md", ".markdown", ".mdown"})
_HTML_SUFFIXES = frozenset({".html", ".htm", ".xhtml"})
_HTML_STARTS = (b"<!doctype html", b"<html")
_MOST_TITLE_CHARS = 300
_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MEDIA_TYPES = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "html": "text/html",
    "markdown": "text/markdown",
    "text": "text/plain",
}


@dataclass(frozen=True)
class ReadLimits:
    """Bounds on one document; the fields are settings of the same names."""

    max_document_bytes: int
    max_document_chars: int


@dataclass(frozen=True)
class ReadDocument:
    """Text as it was extracted, not cleaned yet."""

    title: str
    media_type: str
    pages: tuple[str, ...]
    """One text per page of a PDF; one text where the format has no pages."""
    paged: bool
    author: str | None = None
    date: datetime.date | None = None
    """Day on which it was written or published, as far as the file says."""
    metadata: dict[str, str] = field(default_factory=dict)
    """What else the file says of itself, such as `keywords` or `language`; bounded as `Details` are."""


def read(content: bytes, name: str, limits: ReadLimits) -> ReadDocument:
    """Extract the text of a document.

    Args:
        content: the whole file.
        name: its file name, for its extension and as the title where the content has none.
        limits: on bytes and characters.

    Raises:
        UnreadableDocumentError: with the reason, in words for the document's owner.
    """
    if not content:
        raise UnreadableDocumentError("The file is empty.")
    check_bytes(len(content), limits)
    kind = _kind(content, PurePosixPath(name).suffix.lower())
    extracted = _READERS[kind](content)
    chars = sum(map(len, extracted.pages))
    if chars > limits.max_document_chars:
        raise UnreadableDocumentError(
            f"The document has {chars:,} characters of text; at most {limits.max_document_chars:,} are taken "
            "(CUVEE_MAX_DOCUMENT_CHARS). Split it, or raise the limit."
        )
    if not any(page.strip() for page in extracted.pages):
        raise UnreadableDocumentError(_NO_TEXT.get(kind, "There is no text in the document."))
    title = clean_query(extracted.title)[:_MOST_TITLE_CHARS] or title_from(name)
    said = extracted.details
    return ReadDocument(
        title,
        _MEDIA_TYPES[kind],
        extracted.pages,
        paged=kind == "pdf",
        author=said.author,
        date=said.date,
        metadata=said.metadata,
    )


def media_type(content: bytes, name: str) -> str:
    """As what `content` would be read.

    Raises:
        UnreadableDocumentError: as nothing; with the reason, in words for the document's owner.
    """
    if not content:
        raise UnreadableDocumentError("The file is empty.")
    return _MEDIA_TYPES[_kind(content, PurePosixPath(name).suffix.lower())]


def check_bytes(size_bytes: int, limits: ReadLimits) -> None:
    """Raises UnreadableDocumentError when a file is too big; before its bytes are fetched."""
    if size_bytes > limits.max_document_bytes:
        raise UnreadableDocumentError(
            f"The file has {size_bytes:,} bytes; at most {limits.max_document_bytes:,} are taken "
            "(CUVEE_MAX_DOCUMENT_BYTES). Split it, or raise the limit."
        )


def title_from(name: str) -> str:
    """A readable title out of a file name."""
    stem = clean_query(PurePosixPath(name).stem.replace("_", " ").replace("-", " "))[:_MOST_TITLE_CHARS]
    return stem[:1].upper() + stem[1:] or "Untitled"


def _kind(content: bytes, suffix: str) -> str:
    head = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if b"%PDF-" in content[:1024]:
        return "pdf"
    if content.startswith(b"PK\x03\x04") and _is_word(content):
        return "docx"
    if content.startswith(_OLD_OFFICE):
        raise UnreadableDocumentError("This is a file of an old Office version; save it as .docx or PDF.")
    if content.startswith(b"{\\rtf"):
        raise UnreadableDocumentError("This is a Rich Text (.rtf) file; save it as .docx or PDF.")
    if suffix == ".pdf":
        raise UnreadableDocumentError("The name ends in .pdf, but this is not a PDF file.")
    if suffix == ".docx":
        raise UnreadableDocumentError("The name ends in .docx, but this is not a Word document.")
    if head.lower().startswith(_HTML_STARTS) or suffix in _HTML_SUFFIXES:
        return "html"
    if suffix in _MARKDOWN_SUFFIXES:
        return "markdown"
    if suffix in _TEXT_SUFFIXES:
        return "text"
    raise UnreadableDocumentError(
        f"Files of the type '{clean_query(suffix)[:20]}' are not supported. Supported are {SUPPORTED}."
    )


def _is_word(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return "word/document.xml" in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False


_READERS: dict[str, Callable[[bytes], Extracted]] = {
    "pdf": pdf.extract,
    "docx": word.extract,
    "html": markup.extract_html,
    "markdown": markup.extract_markdown,
    "text": plain.extract,
}
_NO_TEXT = {
    "pdf": "There is no text in the PDF. If it was scanned, run it through text recognition (OCR) first.",
}
