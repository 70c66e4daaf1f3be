"""Plain text: the encoding, and tables drawn with spaces."""

import codecs
import re

from cuvee.errors import UnreadableDocumentError
from rag_service.documents.extracted import Extracted, table_row

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MOST_CONTROL_SHARE = 0.01
# Typists leave two spaces after a full stop; columns are further apart or follow something else.
_GAP = re.compile(r"(?<=\S)(?: {3,}|(?<![.!?:]) {2}|\t+)(?=\S)")
_RULE = re.compile(r"^[\s\-=_+|*~]{3,}$")
_SURELY_CELLS = 3


def extract(content: bytes) -> Extracted:
    """Raises UnreadableDocumentError when the bytes are no text."""
    return Extracted("", (_with_tables(decode(content)),))


def decode(content: bytes) -> str:
    """Text in UTF-8, in UTF-16 or UTF-32 with a byte order mark, or in Windows-1252 (which includes Latin-1's letters).

    Lines end in a line feed, whatever they ended in.

    Raises:
        UnreadableDocumentError: the bytes are no text in any of these.
    """
    return _decoded(content).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(content: bytes) -> str:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            try:
                return content.decode(encoding).removeprefix("\ufeff")
            except UnicodeDecodeError as error:
                raise UnreadableDocumentError(f"The text is marked as {encoding.upper()} but is damaged.") from error
    # What stands for a damaged character is no sign that the bytes are no text; other control characters are.
    text = content.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd") - content.count("\ufffd".encode())
    if damaged and not _is_damaged_utf8(text, damaged):
        # The five bytes that Windows-1252 leaves open are Latin-1 control characters; the check below counts them.
        text, damaged = content.decode("cp1252", errors="replace"), 0
    controls = sum(1 for c in text if (c < " " and c not in "\t\n\r\f\v\x1b") or "\x7f" <= c <= "\x9f" or c == "\ufffd")
    if controls - damaged > _MOST_CONTROL_SHARE * len(text):
        raise UnreadableDocumentError(
            "This is not a text file: its bytes are no text in UTF-8, UTF-16 or Windows-1252."
        )
    return text


def _is_damaged_utf8(text: str, damaged: int) -> bool:
    """Whether most of what is not ASCII is sound, in a text that has `damaged` characters replaced.

    In Windows-1252 an accented letter is sound UTF-8 only where the next character happens to complete it, as in `É»`:
    letters follow most.
    """
    return sum(1 for c in text if c > "\x7f" and c != "\ufffd") > damaged


def _with_tables(text: str) -> str:
    """Rows of columns set apart by spaces or tabs become `a | b | c`; ruling lines go.

    Three columns make a row; two only beside another row, because a wide gap may be a slip.
    """
    source = [line for line in text.split("\n") if not line.strip() or not _RULE.match(line)]
    cells = [_GAP.split(line.strip()) for line in source]
    wide = [0, *(len(row) for row in cells), 0]
    lines = []
    for at, line in enumerate(source):
        count = len(cells[at])
        is_row = count >= _SURELY_CELLS or (count > 1 and max(wide[at], wide[at + 2]) > 1)
        lines.append(table_row(cells[at]) if is_row else line)
    return "\n".join(lines)
