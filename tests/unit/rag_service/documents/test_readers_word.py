"""What is read of a Word document beyond plain paragraphs: revisions, content controls, fields, text boxes, cells."""

import io
import time
import zipfile

import docx
import pytest

from cuvee.errors import UnreadableDocumentError
from rag_service.documents.readers import ReadLimits, read

LIMITS = ReadLimits(max_document_bytes=10_000_000, max_document_chars=10_000_000)
NAMESPACES = (
    'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
    'xmlns:v="urn:schemas-microsoft-com:vml" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
)


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def paragraph(*content: str, style: str = "") -> str:
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}{''.join(content)}</w:p>"


def control(content: str, properties: str = "") -> str:
    return f"<w:sdt><w:sdtPr>{properties}</w:sdtPr><w:sdtContent>{content}</w:sdtContent></w:sdt>"


def cell(*content: str, properties: str = "") -> str:
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{''.join(content)}</w:tc>"


def table(*rows: str) -> str:
    return f"<w:tbl><w:tblPr/>{''.join(rows)}</w:tbl>"


def row(*cells: str) -> str:
    return f"<w:tr>{''.join(cells)}</w:tr>"


def word_file(body: str) -> bytes:
    """A document made by python-docx with `body` in place of its own."""
    empty, out = io.BytesIO(), io.BytesIO()
    document = docx.Document()
    document.core_properties.title = ""
    document.save(empty)
    with zipfile.ZipFile(empty) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            xml = f"<w:document {NAMESPACES}><w:body>{body}<w:sectPr/></w:body></w:document>".encode()
            target.writestr(name, xml if name == "word/document.xml" else source.read(name))
    return out.getvalue()


def blocks(*body: str) -> list[str]:
    return read(word_file("".join(body)), "x.docx", LIMITS).pages[0].split("\n\n")


def test_inserted_text_is_read_and_deleted_text_and_field_codes_are_not() -> None:
    revised = paragraph(
        run("The limit is "),
        "<w:del><w:r><w:delText>30</w:delText></w:r></w:del>",
        f"<w:ins>{run('45')}</w:ins>",
        f"<w:moveFrom>{run(' g')}</w:moveFrom>",
        f"<w:moveTo>{run(' mg/l')}</w:moveTo>",
        run(" of sulphur dioxide."),
    )
    issued = paragraph(
        run("Issued on "),
        f'<w:fldSimple w:instr="DATE">{run("1 May 2026")}</w:fldSimple>',
        '<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText> PAGE </w:instrText></w:r>',
        f'<w:r><w:fldChar w:fldCharType="separate"/></w:r>{run(", page 7")}',
    )

    assert blocks(revised, issued) == ["The limit is 45 mg/l of sulphur dioxide.", "Issued on 1 May 2026, page 7"]


def test_content_controls_are_read_in_a_line_in_a_cell_and_around_blocks_and_rows() -> None:
    nested = control(control(paragraph(run("A whole paragraph."))) + paragraph(run("Rinse."), style="ListBullet"))
    line = paragraph(run("Responsible: "), control(run("Ada Lovelace")))
    rows = row(cell(control(paragraph(run("Red")))), control(cell(paragraph(run("150")))))

    assert blocks(nested, line, table(rows, control(row(cell(paragraph(run("White"))))))) == [
        "A whole paragraph.",
        "- Rinse.",
        "Responsible: Ada Lovelace",
        "Red | 150\nWhite",
    ]


def test_a_control_that_asks_to_be_filled_in_and_a_table_of_contents_say_nothing() -> None:
    asks = paragraph(run("Date: "), control(run("Click here to enter a date."), "<w:showingPlcHdr/>"))
    contents = control(
        paragraph(run("Rinsing ... 7")),
        '<w:docPartObj><w:docPartGallery w:val="Table of Contents"/></w:docPartObj>',
    )

    assert blocks(contents, asks) == ["Date:"]


def test_a_text_box_is_read_once_after_the_paragraph_that_it_is_anchored_in() -> None:
    content = f"<w:txbxContent>{paragraph(run('Never enter alone.'))}{paragraph(run('Ask.'))}</w:txbxContent>"
    drawn = f'<mc:Choice Requires="wps"><w:drawing>{content}</w:drawing></mc:Choice>'
    old = f"<w:pict><v:shape><v:textbox>{content}</v:textbox></v:shape></w:pict>"
    both = f"<w:r><mc:AlternateContent>{drawn}<mc:Fallback>{old}</mc:Fallback></mc:AlternateContent></w:r>"

    expected = ["The press is locked.", "Never enter alone.", "Ask."]
    assert blocks(paragraph(run("The press "), both, run("is locked."))) == expected
    assert blocks(paragraph(run("The press "), f"<w:r>{old}</w:r>", run("is locked."))) == expected


def test_the_rows_of_a_table_in_a_cell_follow_the_row_that_they_stand_in() -> None:
    inner = table(
        row(cell(paragraph(run("Red"))), cell(paragraph(run("150")))),
        row(cell(paragraph(run("White"))), cell(paragraph(run("200")))),
    )
    outer = row(cell(paragraph(run("Limits"))), cell(paragraph(run("by colour")), inner, paragraph(run("in mg/l"))))

    assert blocks(table(outer, row(cell(paragraph(run("End")))))) == [
        "Limits | by colour in mg/l\nRed | 150\nWhite | 200\nEnd"
    ]


def test_a_merged_cell_stands_once_in_each_row_that_it_reaches() -> None:
    merged = table(
        row(cell(paragraph(run("Wine")), properties='<w:gridSpan w:val="2"/>'), cell(paragraph(run("mg/l")))),
        row(cell(paragraph(run("Red")), properties='<w:vMerge w:val="restart"/>'), *[cell(paragraph(run("a")))] * 2),
        row(cell(paragraph(), properties="<w:vMerge/>"), *[cell(paragraph(run("b")))] * 2),
    )

    assert blocks(merged) == ["Wine | mg/l\nRed | a | a\nRed | b | b"]


def test_the_title_is_the_first_heading_also_where_it_was_inserted_later() -> None:
    content = word_file(
        paragraph(run("Draft"))
        + paragraph(f"<w:ins>{run('Rinsing')}</w:ins>", style="Heading1")
        + paragraph(run("Drying"), style="Heading1")
    )

    assert read(content, "x.docx", LIMITS).title == "Rinsing"


@pytest.mark.parametrize(
    "body",
    [
        control("", "") * 60_000 + paragraph(run("end")),
        "<w:sdt><w:sdtContent>" * 100 + paragraph(*[run("end")] * 60_000) + "</w:sdtContent></w:sdt>" * 100,
        "<w:tbl><w:tr><w:tc>" * 80 + paragraph(run("end")) * 60_000 + "</w:tc></w:tr></w:tbl>" * 80,
        table(row(cell(paragraph(run("end")), properties='<w:gridSpan w:val="1000000000"/>'))),
        table(
            row(cell(paragraph(run("end" * 10_000)), properties='<w:vMerge w:val="restart"/>')),
            row(cell(paragraph(), properties="<w:vMerge/>")) * 2_000,
        ),
    ],
    ids=["many controls", "deep controls", "deep tables", "a wide cell", "a long merged cell"],
)
def test_a_file_that_nests_repeats_or_spans_without_measure_is_read_in_time(body: str) -> None:
    content = word_file(body)

    started = time.process_time()
    assert "end" in read(content, "x.docx", LIMITS).pages[0]
    assert time.process_time() - started < 20


def test_a_property_without_its_value_is_refused_in_the_owners_words() -> None:
    content = word_file(table(row(cell(paragraph(run("end")), properties="<w:gridSpan/>"))))

    with pytest.raises(UnreadableDocumentError, match="lacks parts that it needs"):
        read(content, "x.docx", LIMITS)
