"""Rebuild the PDF and DOCX documents of the sample corpus from sources/*.md.

Needs reportlab and python-docx. The output is the same, byte for byte, on every
run with the same versions of the two libraries.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from docx import Document
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Pt
from reportlab.lib import colors
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

ROOT = Path(__file__).resolve().parent
AUTHOR = "Domaine de Sorbelune"
EDITION = datetime(2025, 3, 3, 9, 0, 0, tzinfo=UTC)
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
ACCENT = colors.HexColor("#722f37")
PADDING = 6  # points between the margin and the text, the default of reportlab

# Where long words may be broken at the end of a line of a PDF.
HYPHENATION = """
    acet-al-de-hyde al-co-holic ascor-bic bac-te-ria bar-rels bot-tling car-bon cel-lar
    con-cen-tra-tion con-di-tion con-scious-ness con-tain-er con-ver-sion crys-tals
    de-ter-gent di-ox-ide dis-solved emer-gency fer-men-ta-tion fer-mented fer-ment-ing fil-tra-tion
    hydro-gen inocu-la-tion lab-ora-tory malo-lac-tic mem-brane meta-bi-sul-phite
    micro-bial molecu-lar nitro-gen oxi-da-tion oxy-gen per-ma-nent potas-sium poten-tial
    pres-sure pro-ce-dure pro-tec-tion read-ing reduc-tion resus-ci-ta-tion satu-rated sepa-rate
    solu-tion sul-phide sul-phur tar-trate tech-ni-cian tem-pera-ture thresh-old thresh-olds
    treat-ment turbid-ity un-con-scious ves-sel ves-sels vola-tile vol-ume work-ing
"""
BREAKS = {word.replace("-", ""): word.split("-") for word in HYPHENATION.split()}

Span = tuple[str, str]  # text, and "b", "i" or "" for its style


@dataclass
class Block:
    """One piece of a document: a heading, a paragraph, a list or a table."""

    kind: str  # h1, h2, p, ul, ol or table
    text: str = ""
    items: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


@dataclass
class Source:
    """A source file: its front matter and its blocks."""

    title: str
    target: Path
    header: str
    blocks: list[Block]


def read_source(path: Path) -> Source:
    """Read one file of sources/."""
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    meta = dict(line.split(": ", 1) for line in front.splitlines())
    return Source(meta["title"], ROOT / meta["target"], meta["header"], parse(body))


def parse(body: str) -> list[Block]:
    """Parse the small part of Markdown that the sources use."""
    blocks: list[Block] = []
    for chunk in re.split(r"\n\s*\n", body.strip()):
        lines = chunk.splitlines()
        first = lines[0]
        if first.startswith("### "):
            blocks.append(Block("h2", first[4:]))
        elif first.startswith("## "):
            blocks.append(Block("h1", first[3:]))
        elif first.startswith("|"):
            rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
            blocks.append(Block("table", rows=[rows[0], *rows[2:]]))
        elif first.startswith("- "):
            blocks.append(Block("ul", items=[line[2:] for line in lines]))
        elif re.match(r"\d+\. ", first):
            blocks.append(Block("ol", items=[line.split(". ", 1)[1] for line in lines]))
        else:
            blocks.append(Block("p", " ".join(lines)))
    return blocks


def spans(text: str) -> list[Span]:
    """Split text at **bold** and *italic* marks."""
    found: list[Span] = []
    for part in re.split(r"(\*\*.+?\*\*|\*.+?\*)", text):
        if part.startswith("**"):
            found.append((part[2:-2], "b"))
        elif part.startswith("*"):
            found.append((part[1:-1], "i"))
        elif part:
            found.append((part, ""))
    return found


# PDF


def break_word(word: str) -> list[tuple[str, str]]:
    """The places where a word may be broken, the last one first."""
    parts = BREAKS.get(word.lower(), [])
    ends = [len("".join(parts[:count])) for count in range(len(parts) - 1, 0, -1)]
    return [(word[:end], word[end:]) for end in ends]


BODY = ParagraphStyle(
    "body",
    fontName="Times-Roman",
    fontSize=11,
    leading=15,
    spaceAfter=7,
    alignment=TA_JUSTIFY,
    hyphenationLang=break_word,
)
CELL = ParagraphStyle("cell", fontName="Helvetica", fontSize=8.5, leading=10.5)
CELL_HEAD = ParagraphStyle("cell-head", parent=CELL, fontName="Helvetica-Bold")
ITEM = ParagraphStyle("item", parent=BODY, leftIndent=16, bulletIndent=2, spaceAfter=3)
TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=20, leading=24, spaceAfter=12, textColor=ACCENT)
H1 = ParagraphStyle(
    "h1",
    fontName="Helvetica-Bold",
    fontSize=13,
    leading=16,
    spaceBefore=10,
    spaceAfter=5,
    keepWithNext=1,
    textColor=ACCENT,
)
H2 = ParagraphStyle("h2", parent=H1, fontSize=11, leading=14, spaceBefore=6, spaceAfter=3)


def markup(text: str) -> str:
    """Turn source text into the markup of a reportlab paragraph."""
    marked = ((escape(piece, quote=False), style) for piece, style in spans(text))
    return "".join(f"<{style}>{piece}</{style}>" if style else piece for piece, style in marked)


def column_widths(rows: list[list[str]], width: float) -> list[float]:
    """Give each column room for its longest word, and share the rest by length of text."""
    columns = list(zip(*rows, strict=True))
    words = [[word for cell in column for word in cell.split()] for column in columns]
    least = [max(stringWidth(word, CELL_HEAD.fontName, CELL.fontSize) for word in column) + 14 for column in words]
    weights = [min(max(len(cell) for cell in column), 40) for column in columns]
    spare = width - sum(least)
    return [room + spare * weight / sum(weights) for room, weight in zip(least, weights, strict=True)]


def pdf_table(rows: list[list[str]], width: float) -> Table:
    """A ruled table."""
    cells = [
        [Paragraph(markup(cell), CELL if number else CELL_HEAD) for cell in row] for number, row in enumerate(rows)
    ]
    table = Table(cells, column_widths(rows, width), repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
                ("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#efe3e4")),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table


def story(source: Source, width: float) -> list[Flowable]:
    """The flowables of one PDF."""
    flow: list[Flowable] = [Paragraph(escape(source.title, quote=False), TITLE)]
    for block in source.blocks:
        if block.kind in ("h1", "h2"):
            flow.append(Paragraph(markup(block.text), H1 if block.kind == "h1" else H2))
        elif block.kind == "table":
            flow += [Spacer(1, 3), pdf_table(block.rows, width), Spacer(1, 9)]
        elif block.kind == "p":
            flow.append(Paragraph(markup(block.text), BODY))
        else:
            for number, item in enumerate(block.items, 1):
                bullet = "•" if block.kind == "ul" else f"{number}."
                flow.append(Paragraph(markup(item), ITEM, bulletText=bullet))
            flow.append(Spacer(1, 4))
    return flow


def decorate(canvas: Any, document: Any, *, source: Source, pages: int) -> None:
    """Draw the header and the footer of one page."""
    left, right = document.leftMargin + PADDING, A4[0] - document.rightMargin - PADDING
    canvas.saveState()
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(colors.grey)
    canvas.drawString(left, A4[1] - 14 * mm, source.header)
    canvas.drawRightString(right, A4[1] - 14 * mm, f"{EDITION:%B %Y}")
    canvas.drawString(left, 12 * mm, source.title)
    canvas.drawRightString(right, 12 * mm, f"Page {document.page} of {pages}")
    canvas.restoreState()


def pdf(source: Source) -> bytes:
    """Set a PDF twice: once to count its pages, once to print the count on them."""
    pages = 0
    for _ in range(2):
        out = io.BytesIO()
        document = SimpleDocTemplate(
            out,
            pagesize=A4,
            leftMargin=28 * mm,
            rightMargin=28 * mm,
            topMargin=24 * mm,
            bottomMargin=24 * mm,
            title=source.title,
            author=AUTHOR,
            subject=source.header,
            creator=AUTHOR,
            invariant=1,
        )
        page = partial(decorate, source=source, pages=pages)
        document.build(story(source, document.width - 2 * PADDING), onFirstPage=page, onLaterPages=page)
        pages = document.page
    return out.getvalue()


# DOCX


def add_spans(paragraph: Any, text: str) -> None:
    """Append text to a paragraph, keeping bold and italic."""
    for piece, style in spans(text):
        run = paragraph.add_run(piece)
        run.bold = style == "b" or None
        run.italic = style == "i" or None


def add_table(document: Any, rows: list[list[str]]) -> None:
    """Append a table with a header row that repeats on each page."""
    table = document.add_table(rows=0, cols=len(rows[0]), style="Table Grid")
    for number, row in enumerate(rows):
        for cell, text in zip(table.add_row().cells, row, strict=True):
            add_spans(cell.paragraphs[0], text)
            for run in cell.paragraphs[0].runs:
                run.font.size = Pt(9)
                run.bold = number == 0 or run.bold
    table.rows[0]._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))
    document.add_paragraph()


def restart_numbering(document: Any, paragraph: Any) -> int:
    """Begin a new numbered list at this paragraph and return its id."""
    numbering = document.part.numbering_part.element
    style_id = paragraph.style.element.pPr.numPr.numId.val
    abstract = numbering.num_having_numId(style_id).abstractNumId.val
    num = numbering.add_num(abstract)
    num.add_lvlOverride(ilvl=0).add_startOverride(1)
    return int(num.numId)


def page_number(paragraph: Any) -> None:
    """Append a PAGE field to a paragraph."""
    element = OxmlElement("w:fldSimple")
    element.set(qn("w:instr"), "PAGE")
    paragraph._p.append(element)


def docx(source: Source) -> bytes:
    """Make one Word document."""
    document = Document()
    document.styles["Normal"].font.name = "Calibri"
    document.styles["Normal"].font.size = Pt(11)
    properties = document.core_properties
    properties.title, properties.subject = source.title, source.header
    properties.author = properties.last_modified_by = AUTHOR
    properties.created = properties.modified = EDITION
    properties.comments = ""
    section = document.sections[0]
    section.header.paragraphs[0].text = source.header
    section.footer.paragraphs[0].text = f"{source.title}, page "
    page_number(section.footer.paragraphs[0])

    document.add_heading(source.title, level=0)
    for block in source.blocks:
        if block.kind in ("h1", "h2"):
            document.add_heading(block.text, level=int(block.kind[1]))
        elif block.kind == "table":
            add_table(document, block.rows)
        elif block.kind == "p":
            add_spans(document.add_paragraph(), block.text)
        elif block.kind == "ul":
            for item in block.items:
                add_spans(document.add_paragraph(style="List Bullet"), item)
        else:
            number = 0
            for item in block.items:
                paragraph = document.add_paragraph(style="List Number")
                number = number or restart_numbering(document, paragraph)
                paragraph._p.get_or_add_pPr().get_or_add_numPr().get_or_add_numId().val = number
                add_spans(paragraph, item)
    out = io.BytesIO()
    document.save(out)
    return with_fixed_dates(out)


def with_fixed_dates(stored: io.BytesIO) -> bytes:
    """Write a zip archive again with the same date for each member."""
    out = io.BytesIO()
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            info = zipfile.ZipInfo(name, ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(info, old.read(name))
    return out.getvalue()


def main() -> None:
    """Build every document that has a source."""
    for path in sorted((ROOT / "sources").glob("*.md")):
        source = read_source(path)
        make = pdf if source.target.suffix == ".pdf" else docx
        source.target.parent.mkdir(parents=True, exist_ok=True)
        source.target.write_bytes(make(source))
        print(source.target.relative_to(ROOT))


if __name__ == "__main__":
    main()
