"""Word documents (.docx)."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml.etree import XMLSyntaxError  # type: ignore[import-untyped]

from cuvee.errors import UnreadableDocumentError
from rag_service.documents.details import Details, details
from rag_service.documents.extracted import Extracted, table_row

_MOST_UNPACKED_BYTES = 300_000_000


def extract(content: bytes) -> Extracted:
    """Headings, paragraphs and tables in the order of the document.

    Raises:
        UnreadableDocumentError: it is damaged, or would unpack to more than 300 MB.
    """
    _check_size(content)
    try:
        document = docx.Document(io.BytesIO(content))
        blocks = [text for text in _blocks(document) if text.strip()]
        title = document.core_properties.title or ""
    except (zipfile.BadZipFile, PackageNotFoundError, XMLSyntaxError, KeyError, ValueError, EOFError, OSError) as error:
        raise UnreadableDocumentError("The Word document is damaged and cannot be opened.") from error
    except (AttributeError, IndexError, TypeError) as error:
        # python-docx expects parts that a damaged document lacks.
        raise UnreadableDocumentError("The Word document lacks parts that it needs to be opened.") from error
    return Extracted(title or _heading(document), ("\n\n".join(blocks),), _details(document))


def _details(document: Any) -> Details:
    said = document.core_properties
    names = ("subject", "keywords", "category", "language")
    try:
        entries = [(name, getattr(said, name)) for name in names]
        return details(said.author, said.created, entries)
    except (ValueError, TypeError, AttributeError):
        return Details()  # its text is sound, which is what matters


def _check_size(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _MOST_UNPACKED_BYTES:
        raise UnreadableDocumentError(
            f"The Word document unpacks to {unpacked:,} bytes; at most {_MOST_UNPACKED_BYTES:,} are taken."
        )


def _blocks(document: Any) -> Iterator[str]:
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield "\n".join(row for row in _rows(block) if row)
        else:
            yield _paragraph(block)


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        cells, before = [], None
        for cell in row.cells:
            # A merged cell is listed once for every column that it spans.
            if cell._tc is not before:
                cells.append(cell.text)
            before = cell._tc
        yield table_row(cells)


def _paragraph(paragraph: Paragraph) -> str:
    text = paragraph.text.strip()
    style = (paragraph.style.name or "") if paragraph.style is not None else ""
    return f"- {text}" if text and style.startswith("List") else text


def _heading(document: Any) -> str:
    for paragraph in document.paragraphs:
        style = paragraph.style.name if paragraph.style is not None else ""
        if style in ("Title", "Heading 1") and paragraph.text.strip():
            return str(paragraph.text)
    return ""
