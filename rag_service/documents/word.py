"""Word documents (.docx)."""

import io
import zipfile
from dataclasses import dataclass, field
from typing import Any

import docx
from docx.opc.exceptions import PackageNotFoundError
from docx.oxml.exceptions import InvalidXmlError
from docx.oxml.ns import qn
from lxml.etree import XMLSyntaxError, iterwalk  # type: ignore[import-untyped]

from cuvee.errors import UnreadableDocumentError
from rag_service.documents.details import Details, details
from rag_service.documents.extracted import Extracted, raised, table_row

_MOST_UNPACKED_BYTES = 300_000_000
# A merged cell is said again in each of its rows, as their label; a long text in all of them would fill the memory.
_MOST_REPEATED_CHARS = 1_000
_FRAMES = frozenset(qn(f"w:{name}") for name in ("p", "tbl", "tr", "tc", "txbxContent"))
_PARAGRAPH, _TABLE, _ROW, _CELL, _CONTROL = (qn(f"w:{name}") for name in ("p", "tbl", "tr", "tc", "sdt"))
_TEXT = frozenset(qn(f"w:{name}") for name in ("t", "tab", "ptab", "br", "cr", "noBreakHyphen"))
# Text that was deleted or moved away, codes of fields, how ruby is pronounced, and properties, whose tabs are no text.
_NOT_READ = frozenset(
    qn(f"w:{name}")
    for name in ("del", "moveFrom", "instrText", "rt", "pPr", "rPr", "tblPr", "trPr", "tcPr", "sdtPr", "sectPr")
) | {"{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}


def extract(content: bytes) -> Extracted:
    """Headings, paragraphs and tables in the order of the document.

    Raises:
        UnreadableDocumentError: it is damaged, or would unpack to more than 300 MB.
    """
    _check_size(content)
    try:
        document = docx.Document(io.BytesIO(content))
        body = _read(document)
        blocks = [text for text in body.texts if text.strip()]
        title = document.core_properties.title or ""
    except (zipfile.BadZipFile, PackageNotFoundError, XMLSyntaxError, KeyError, ValueError, EOFError, OSError) as error:
        raise UnreadableDocumentError("The Word document is damaged and cannot be opened.") from error
    except (InvalidXmlError, AttributeError, IndexError, TypeError) as error:
        # python-docx expects parts that a damaged document lacks.
        raise UnreadableDocumentError("The Word document lacks parts that it needs to be opened.") from error
    return Extracted(title or body.heading, ("\n\n".join(blocks),), _details(document))


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


@dataclass
class _Frame:
    """What has been read of an element that is still open: the body, a text box, table, row, cell or paragraph."""

    tag: str
    texts: list[str] = field(default_factory=list)
    """Its blocks, rows, cells, paragraphs or parts of a line."""
    below: list[str] = field(default_factory=list)
    """What stands within it and comes after it: text boxes of a paragraph, rows of the tables in a cell."""
    merged: dict[int, str] = field(default_factory=dict)
    """Of a table: the cells that reach over further rows, by their first column."""
    column: int = 0
    """Of a row: where its next cell begins."""
    heading: str = ""
    """Of the body: its first title or heading."""
    superscript: list[str] = field(default_factory=list)
    """Of a paragraph: the superscript that the line ends with so far; Word breaks one into runs anywhere."""

    def add(self, text: str, is_raised: bool) -> None:
        if is_raised:
            self.superscript.append(text)
        elif text:
            self.settle()
            self.texts.append(text)

    def settle(self) -> None:
        """Take the superscript into the line."""
        if self.superscript:
            self.texts.append(raised(self.texts[-1] if self.texts else "", "".join(self.superscript)))
            self.superscript.clear()


def _read(document: Any) -> _Frame:
    """The body, whose blocks are its texts.

    The tree is walked, because python-docx passes over what stands in a tracked insertion, a content control, a field
    or a text box. One pass without recursion: a file may nest these at will.
    """
    styles = {style.styleId: (style.name_val or "").casefold() for style in document.styles.element.style_lst}
    frames = [_Frame("")]
    walk = iterwalk(document.element.body, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if event == "end":
            if tag in _FRAMES:
                _close(element, frames, styles)
        elif tag in _NOT_READ or (tag == _CONTROL and _says_nothing(element)):
            walk.skip_subtree()
        elif tag in _FRAMES:
            frames.append(_Frame(tag))
        elif tag in _TEXT:
            frames[-1].add(str(element), _is_raised(element.getparent()))
    return frames[0]


def _says_nothing(control: Any) -> bool:
    """Whether a content control only asks to be filled in, or lists the headings that the document has anyway."""
    gallery = control.find("/".join(map(qn, ("w:sdtPr", "w:docPartObj", "w:docPartGallery"))))
    asks = control.find("/".join(map(qn, ("w:sdtPr", "w:showingPlcHdr"))))
    return asks is not None or (gallery is not None and gallery.get(qn("w:val")) == "Table of Contents")


def _is_raised(run: Any) -> bool:
    align = run.find("/".join(map(qn, ("w:rPr", "w:vertAlign"))))
    return align is not None and align.get(qn("w:val")) == "superscript"


def _close(element: Any, frames: list[_Frame], styles: dict[str, str]) -> None:
    """Hand what was read of an element to the one that it stands in."""
    frame, parent = frames.pop(), frames[-1]
    frame.settle()
    if frame.tag == _PARAGRAPH:
        style = styles.get(element.style or "", "")
        text = "".join(frame.texts).strip()
        if parent is frames[0] and style in ("title", "heading 1"):
            parent.heading = parent.heading or text
        listed = text and style.startswith("list") and parent.tag != _CELL
        parent.texts += [f"- {text}" if listed else text, *frame.below]
    elif frame.tag == _CELL:
        parent.texts.append(_cell_text(element, "\n".join(frame.texts), parent, frames[-2]))
        parent.below += frame.below
    elif frame.tag == _ROW:
        parent.texts += [line for line in (table_row(frame.texts), *frame.below) if line]
    elif frame.tag == _TABLE and parent.tag == _CELL:
        parent.below += frame.texts
    elif frame.tag == _TABLE:
        parent.texts.append("\n".join(frame.texts))
    else:
        parent.below += frame.texts


def _cell_text(cell: Any, text: str, row: _Frame, table: _Frame) -> str:
    """The text of a cell; of one that a cell above reaches into, the text of that cell."""
    column, reach = row.column, cell.vMerge
    row.column += cell.grid_span
    if reach == "continue":
        return table.merged.get(column, "")
    table.merged[column] = text if reach and len(text) <= _MOST_REPEATED_CHARS else ""
    return text
