"""HTML and Markdown: what a reader of the page reads, without navigation, scripts and mark-up."""

import codecs
import re
from typing import Any

from bs4 import BeautifulSoup, Tag
from bs4.dammit import EncodingDetector
from bs4.element import Comment, Declaration, Doctype, NavigableString, ProcessingInstruction

from rag_service.documents import plain
from rag_service.documents.details import Details, details
from rag_service.documents.extracted import Extracted, raised, table_row
from rag_service.documents.front_matter import front_matter

_DROPPED = """
    script style noscript template nav header footer aside button input select option textarea svg canvas iframe object
    head
"""
_BLOCKS = """
    p div section article main h1 h2 h3 h4 h5 h6 ul ol dl dt dd blockquote pre table figure figcaption caption hr
    address details summary form fieldset legend body html
"""
_DROPPED_TAGS, _BLOCK_TAGS = _DROPPED.split(), frozenset(_BLOCKS.split())
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
_NOT_TEXT = (Comment, Declaration, Doctype, ProcessingInstruction)
_AUTHORS = ("author", "article:author", "dc.creator", "dcterms.creator")
_DATES = ("article:published_time", "date", "dc.date", "dcterms.created", "dcterms.date")
_MOST_META_TAGS = 200
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*$")
_UNDERLINE = re.compile(r"^ {0,3}(?:=+|-+)\s*$")
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_LINK = re.compile(r"\[([^\]]+)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)")
_STRONG = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")
_EMPHASIS = re.compile(r"(?<![\w*])\*(?=[^\s*])([^*\n]+?)(?<=\S)\*(?![\w*])")
_CODE = re.compile(r"`([^`\n]+)`")
_EMPTY_LINES = re.compile(r"\n\s*\n")
_HTML_COMMENT = re.compile(r"<!--.*?-->", re.S)


def extract_html(content: bytes) -> Extracted:
    """The text of a page, in the charset that it declares, else in one that a text file may have.

    Raises:
        UnreadableDocumentError: the bytes are no text.
    """
    soup = BeautifulSoup(_decoded(content), "lxml")
    title = soup.title.get_text() if soup.title else ""
    if not title.strip():
        heading = soup.find("h1")
        title = heading.get_text() if heading else ""
    said = _details(soup)
    for tag in soup.find_all(_DROPPED_TAGS):
        if not _holds_text(tag):
            tag.decompose()
    parts: list[str] = []
    _walk(soup, parts)
    return Extracted(title, (_EMPTY_LINES.sub("\n\n", "".join(parts)),), said)


def _holds_text(tag: Tag) -> bool:
    """Whether an element of the dropped kinds is text here: the header of an article, a heading that is a button."""
    return bool(
        (tag.name == "header" and tag.find_parent(["article", "main"]))
        or (tag.name == "button" and tag.find_parent(_HEADINGS))
    )


def _details(soup: BeautifulSoup) -> Details:
    """From the page's meta elements and the language of its root."""
    meta: dict[str, str] = {}
    for tag in soup.find_all("meta", limit=_MOST_META_TAGS):
        name = str(tag.get("name") or tag.get("property") or "").casefold()
        meta.setdefault(name, str(tag.get("content") or ""))
    authors = [meta[name] for name in _AUTHORS if meta.get(name) and "://" not in meta[name]]
    dates = [meta[name] for name in _DATES if meta.get(name)]
    root = soup.find("html")
    language = root.get("lang") if isinstance(root, Tag) else None
    entries = [("keywords", meta.get("keywords")), ("description", meta.get("description")), ("language", language)]
    return details(next(iter(authors), None), next(iter(dates), None), entries)


def _decoded(content: bytes) -> str:
    declared = EncodingDetector.find_declared_encoding(content, is_html=True)
    marked = content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"))
    if declared and not marked and not _is_read_as_plain(declared):
        try:
            return content.decode(declared)
        except (LookupError, UnicodeDecodeError):
            pass  # pages do declare what they are not
    return plain.decode(content)


def _is_read_as_plain(charset: str) -> bool:
    """Whether a page that declares `charset` is decoded as a text that declares none.

    By the HTML standard Latin-1 and ASCII are names of Windows-1252, as which text is read that is not UTF-8, and a
    declaration that can be read byte by byte is not in UTF-16.
    """
    try:
        name = codecs.lookup(charset).name
    except LookupError:
        return True
    return name in ("iso8859-1", "ascii") or name.startswith(("utf-16", "utf-32"))


def _walk(root: Tag, parts: list[str]) -> None:
    """Append the text under `root` in document order. Not recursive: pages can be nested deeper than Python's stack."""
    pending: list[Any] = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, str) and not isinstance(node, NavigableString):
            parts.append(node)
        elif isinstance(node, NavigableString):
            if not isinstance(node, _NOT_TEXT):
                parts.append(str(node) if _in_pre(node) else re.sub(r"\s+", " ", node))
        elif node.name == "sup":
            parts.append(raised(parts[-1] if parts else "", re.sub(r"\s+", " ", node.get_text())))
        elif node.name == "table" and not node.find("table"):
            rows = [table_row([_cell(caption)]) for caption in node.find_all("caption")]
            rows += [table_row(_cell(cell) for cell in row.find_all(["td", "th"])) for row in node.find_all("tr")]
            parts.append("\n\n" + "\n".join(row for row in rows if row) + "\n\n")
        else:
            before, after = _around(node.name)
            # Nothing empty is appended: the last part is what a superscript stands after.
            if before:
                parts.append(before)
            if after:
                pending.append(after)
            pending.extend(reversed(node.contents))


def _cell(cell: Tag) -> str:
    parts: list[str] = []
    _walk(cell, parts)  # a cell of a table that holds no table: this goes no deeper
    return "".join(parts)


def _around(name: str) -> tuple[str, str]:
    if name == "br":
        return "\n", ""
    if name == "li":
        return "\n- ", "\n"
    if name in ("tr", "td", "th"):
        return "\n", "\n"
    return ("\n\n", "\n\n") if name in _BLOCK_TAGS else ("", "")


def _in_pre(node: NavigableString) -> bool:
    return node.find_parent("pre") is not None


def extract_markdown(content: bytes) -> Extracted:
    """The text of a Markdown file: front matter gone, headings as lines of their own, tables as `a | b | c`.

    Raises:
        UnreadableDocumentError: the bytes are no text.
    """
    text = plain.decode(content)
    front = front_matter(text)
    lines, heading = _markdown_lines(_HTML_COMMENT.sub("", text[front.end :]).split("\n"))
    return Extracted(front.title or heading, ("\n".join(lines),), front.details)


def _markdown_lines(source: list[str]) -> tuple[list[str], str]:
    """Readable lines, and the first heading."""
    lines: list[str] = []
    first, fenced = "", False
    for line in source:
        if _FENCE.match(line):
            fenced = not fenced
            lines.append("")
        elif fenced:
            lines.append(line)
        elif found := _HEADING.match(line):
            heading = _inline(found.group(1))
            first = first or heading
            lines += ["", heading, ""]
        elif _UNDERLINE.match(line) and lines and lines[-1].strip():
            first = first or lines[-1]
            lines[-1:] = ["", lines[-1], ""]
        elif line.lstrip().startswith("|"):
            if not _TABLE_RULE.match(line):
                lines.append(table_row(_inline(cell) for cell in line.strip().strip("|").split("|")))
        else:
            lines.append(_inline(re.sub(r"^\s*>+ ?", "", line)))
    return lines, first


def _inline(text: str) -> str:
    text = _LINK.sub(r"\1", _IMAGE.sub(r"\1", text))
    return _CODE.sub(r"\1", _EMPHASIS.sub(r"\1", _STRONG.sub(r"\2", text)))
