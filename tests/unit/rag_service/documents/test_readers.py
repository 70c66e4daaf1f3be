"""Readers on bytes made here: what comes out of each format, and why a file is refused."""

import io
import zipfile
from collections.abc import Callable

import docx
import pytest
from PyPDF2 import PdfReader, PdfWriter
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfgen import canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate, Table

from cuvee.errors import UnreadableDocumentError
from rag_service.documents import word
from rag_service.documents.cleaning import clean
from rag_service.documents.readers import ReadDocument, ReadLimits, read

LIMITS = ReadLimits(max_document_bytes=1_000_000, max_document_chars=10_000)


def pdf(*pages: str) -> bytes:
    out = io.BytesIO()
    drawing = canvas.Canvas(out)
    drawing.setTitle("The Manual")
    for page in pages:
        for number, line in enumerate(page.split("\n")):
            drawing.drawString(72, 720 - 14 * number, line)
        drawing.showPage()
    drawing.save()
    return out.getvalue()


def locked(content: bytes, password: str) -> bytes:
    writer, out = PdfWriter(), io.BytesIO()
    writer.append_pages_from_reader(PdfReader(io.BytesIO(content)))
    writer.encrypt(user_password=password, owner_password="owner")
    writer.write(out)
    return out.getvalue()


def word_file() -> bytes:
    document, out = docx.Document(), io.BytesIO()
    document.core_properties.title = ""
    document.add_heading("Barrels", 1)
    document.add_paragraph("Fill them up.")
    table = document.add_table(rows=2, cols=3)
    for at, text in enumerate(["Wine", "Age", "Oak", "Red", "2 years", "French\noak"]):
        table.cell(at // 3, at % 3).text = text
    document.add_paragraph("Every month.", style="List Bullet")
    document.save(out)
    return out.getvalue()


def text_of(document: ReadDocument) -> str:
    return clean(document.pages, document.paged).text


def test_a_pdf_gives_its_title_and_the_text_of_each_page() -> None:
    document = read(pdf("Rinse the tank.", "Drain it."), "x.pdf", LIMITS)

    assert (document.title, document.media_type, document.paged) == ("The Manual", "application/pdf", True)
    assert document.pages == ("Rinse the tank.", "Drain it.")


def test_headings_paragraphs_and_table_rows_of_a_pdf_are_told_from_its_layout() -> None:
    out, styles = io.BytesIO(), getSampleStyleSheet()
    body = "The limits are measured in the bottling tank within five days of filling, and written on the sheet. " * 2
    wrapped = Paragraph("Turbidity before the last filtration", styles["Normal"])
    cells = [
        ["Measurement", "White", "Red"],
        ["Dissolved oxygen", "at most 0.5", "at most 0.8"],
        [wrapped, "1.0", Paragraph("2.0 after a week", styles["Normal"])],
    ]
    story = [
        Paragraph("Limits", styles["Heading2"]),
        Paragraph(body, styles["Normal"]),
        Table(cells, colWidths=[90, 60, 60], style=[("VALIGN", (0, 0), (-1, -1), "TOP")]),
    ]
    SimpleDocTemplate(out).build(story)

    assert text_of(read(out.getvalue(), "x.pdf", LIMITS)).split("\n\n") == [
        "Limits",
        body.strip(),
        "Measurement | White | Red\n"
        "Dissolved oxygen | at most 0.5 | at most 0.8\n"
        "Turbidity before the last filtration | 1.0 | 2.0 after a week",
    ]


def test_a_pdf_that_is_encrypted_without_a_password_is_read() -> None:
    assert read(locked(pdf("Open secret."), ""), "x.pdf", LIMITS).pages == ("Open secret.",)


def test_word_gives_headings_paragraphs_and_tables_in_their_order() -> None:
    document = read(word_file(), "barrels.docx", LIMITS)

    assert document.title == "Barrels"
    assert document.pages[0].split("\n\n") == [
        "Barrels",
        "Fill them up.",
        "Wine | Age | Oak\nRed | 2 years | French oak",
        "- Every month.",
    ]


def test_html_gives_what_a_visitor_reads_without_navigation_and_scripts() -> None:
    page = (
        "<html><head><title>Tasting\n notes</title><meta charset='latin-1'><script>var x</script></head><body>"
        "<header>Logo</header><nav>Home</nav><main><h1>Ros\u00e9</h1><p>Pale <b>pink</b>,\nfresh.</p>"
        "<ul><li>cold</li><li>dry</li></ul><table><tr><th>g/l</th><th>pH</th></tr><tr><td>4</td><td>3.2</td></tr></table>"
        "<!-- hidden --><form><input value='?'><button>Find</button></form></main><footer>Imprint</footer>"
    )

    document = read(page.encode("latin-1"), "page", LIMITS)

    assert (document.title, document.media_type) == ("Tasting notes", "text/html")
    assert text_of(document) == "Rosé\n\nPale pink, fresh.\n\n- cold\n- dry\n\ng/l | pH\n4 | 3.2"


def body_of(*html: str, head: str = "") -> str:
    return text_of(read(f"<html><head>{head}</head><body>{''.join(html)}</body></html>".encode("cp1252"), "x", LIMITS))


def test_html_within_a_form_is_read_without_the_forms_controls() -> None:
    controls = (
        "<input type='text' value='a'><select><option>red</option></select><textarea>Say</textarea><button>Go</button>"
    )

    assert body_of(f"<form><h1>Rules</h1><p>Locked at ten.</p><label>Wine</label>{controls}</form>") == (
        "Rules\n\nLocked at ten.\n\nWine"
    )


def test_a_button_in_a_heading_of_html_is_the_heading() -> None:
    assert body_of("<h3><button>When is it locked?</button></h3><div>At ten.</div><button>More</button>") == (
        "When is it locked?\n\nAt ten."
    )


@pytest.mark.parametrize("charset", ["iso-8859-1", "latin1", "US-ASCII", "windows-1252", "no-such-charset"])
def test_html_that_declares_latin_1_or_ascii_is_windows_1252(charset: str) -> None:
    said = "The winemaker\u2019s \u201creserve\u201d of 1990\u20131995 is \u20ac50."

    assert body_of(f"<p>{said}</p>", head=f"<meta charset='{charset}'>") == said


@pytest.mark.parametrize("charset", ["utf-16", "UTF-16LE", "utf-32"])
@pytest.mark.parametrize("blanks", range(4))
def test_html_that_declares_utf_16_in_single_bytes_is_not_believed(charset: str, blanks: int) -> None:
    page = f"<?xml version='1.0' encoding='{charset}'?><html><body><p>Rosé.</p></body></html>" + " " * blanks

    assert text_of(read(page.encode(), "x.html", LIMITS)) == "Rosé."


def test_the_caption_of_a_table_of_html_stands_before_its_rows() -> None:
    rows = "<tr><th>Wine</th><th>Limit</th></tr><tr><td>red</td><td>150</td></tr>"

    assert body_of(f"<p>See:</p><table><caption>Sulphur\n<b>dioxide</b></caption>{rows}</table>") == (
        "See:\n\nSulphur dioxide\nWine | Limit\nred | 150"
    )


SUPERSCRIPTS = [
    ("10", "6", " cells", "10^6 cells"),
    ("10", "-6", " mol", "10^-6 mol"),
    ("45 mg/l", "2", " of", "45 mg/l 2 of"),
    ("wine", "12", ", red", "wine 12, red"),
    ("150", "1)", "", "150 1)"),
    ("150", "1,2", "", "150 1,2"),
    ("9 g s", "\u22121", " at", "9 g s^\u22121 at"),
    ("30 m", "2", " of", "30 m2 of"),
    ("rum", "2", "", "rum 2"),
    ("the 1", "st", " day", "the 1st day"),
    ("see ", "3", " below", "see 3 below"),
    ("Cuv\u00e9e", "\u2122", "", "Cuv\u00e9e\u2122"),
]


@pytest.mark.parametrize(("before", "superscript", "after", "line"), SUPERSCRIPTS)
def test_a_superscript_changes_no_figure(before: str, superscript: str, after: str, line: str) -> None:
    html = f"<b>{before}</b><a href='#n'><sup>{superscript}</sup></a>{after}".replace("\u2212", "&minus;")
    document, out = docx.Document(), io.BytesIO()
    paragraph = document.add_paragraph(before)
    for part in superscript:  # Word breaks text into runs anywhere
        paragraph.add_run(part).font.superscript = True
    paragraph.add_run(after)
    document.save(out)

    assert body_of(f"<p>{html}</p>") == line
    assert body_of(f"<table><caption>{html}</caption><tr><td>{html}</td><td>a</td></tr></table>") == (
        f"{line}\n{line} | a"
    )
    assert text_of(read(out.getvalue(), "x.docx", LIMITS)) == line


def test_html_nested_deeper_than_the_stack_is_read() -> None:
    assert "deep" in read(b"<html><body>" + b"<div>" * 20_000 + b"deep", "x.html", LIMITS).pages[0]


def test_markdown_keeps_its_words_and_drops_its_marks_and_front_matter() -> None:
    source = (
        '---\ntitle: "Picking"\ntags: [a]\n---\n# Ripeness ##\nTake *200* **berries**, see [the sheet](http://x/y).\n\n'
        "| Block | pH |\n|---|:-:|\n| Murgers | `3.2` |\n\nTargets\n-------\n> snake_case stays\n"
    )

    document = read(source.encode(), "x.md", LIMITS)

    assert document.title == "Picking"
    assert text_of(document) == (
        "Ripeness\n\nTake 200 berries, see the sheet.\n\nBlock | pH\nMurgers | 3.2\n\nTargets\n\nsnake_case stays"
    )


def test_the_title_of_markdown_is_its_first_heading_and_of_text_its_file_name() -> None:
    assert read(b"intro\n\n## Rot and rain\n", "x.md", LIMITS).title == "Rot and rain"
    assert read(b"words", "sub/cellar_log-2025.txt", LIMITS).title == "Cellar log 2025"


@pytest.mark.parametrize(
    "content",
    [
        "naïve rosé €".encode(),
        "\ufeffnaïve rosé €".encode(),
        "naïve rosé €".encode("utf-16"),
        "naïve rosé €".encode("cp1252"),
    ],
)
def test_text_is_decoded_from_the_encodings_that_editors_write(content: bytes) -> None:
    assert read(content, "x.txt", LIMITS).pages == ("naïve rosé €",)


@pytest.mark.parametrize("name", ["x.txt", "x.md", "x.html"])
def test_a_damaged_character_spoils_no_other_of_utf_8(name: str) -> None:
    text = "Le château fondé à Saint-Émilion. "
    cut = (text + "à").encode()[:-1]
    broken = b"A \xe2\x80 b. " + text.encode()

    assert text_of(read(cut, name, LIMITS)) == text + "\ufffd"
    assert text_of(read(broken, name, LIMITS)) == "A \ufffd b. " + text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "Le château a été fondé à Saint-Émilion, où l'on élève ce rosé naïf.",
        "«ÉTÉ» et «CAFÉ» : «GELÉ», «ROSÉ»",
        "À É Ü ß “Größe”, „Süße“ €",
    ],
)
def test_windows_1252_with_many_accents_is_not_taken_for_damaged_utf_8(text: str) -> None:
    assert text_of(read(text.encode("cp1252"), "x.txt", LIMITS)) == text


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_text_has_the_same_lines_whatever_ends_them(end: str, encoding: str) -> None:
    lines = ["Rinse it.", "", "Name\tValue", "red\t150"]

    text = read(end.join(lines).encode(encoding), "x.txt", LIMITS).pages[0]

    assert text == "Rinse it.\n\nName | Value\nred | 150"


def test_columns_set_apart_by_spaces_become_rows_and_two_spaces_after_a_full_stop_do_not() -> None:
    table = b"Product     Dose      Time\n-------   ------   -----\nSoda        2 %       20 min\n\n"
    source = table + b"It dries.  Then stop.\nIt cools.  Then go."

    assert text_of(read(source, "x.txt", LIMITS)) == (
        "Product | Dose | Time\nSoda | 2 % | 20 min\n\nIt dries. Then stop. It cools. Then go."
    )


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 2_000_000)
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("word/document.xml", "<w:broken")
    return out.getvalue()


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (lambda: b"", "x.txt", "The file is empty."),
        (lambda: b" \n\t ", "x.txt", "There is no text in the document."),
        (lambda: pdf("text")[:400], "x.pdf", "The PDF is broken and cannot be read; try to open it and save it anew."),
        (
            lambda: b"%PDF-1.7\nnothing",
            "x.pdf",
            "The PDF is broken and cannot be read; try to open it and save it anew.",
        ),
        (lambda: b"words", "x.pdf", "The name ends in .pdf, but this is not a PDF file."),
        (lambda: locked(pdf("x"), "key"), "x.pdf", "The PDF is protected by a password; save it without one."),
        (
            lambda: pdf(""),
            "x.pdf",
            "There is no text in the PDF. If it was scanned, run it through text recognition (OCR) first.",
        ),
        (lambda: b"no zip", "x.docx", "The name ends in .docx, but this is not a Word document."),
        (lambda: word_file()[:-200], "x.docx", "The name ends in .docx, but this is not a Word document."),
        (_zip, "x.docx", "The Word document is damaged and cannot be opened."),
        (
            lambda: b"\x89PNG\r\n",
            "x.png",
            "Files of the type '.png' are not supported. "
            "Supported are PDF, Word (.docx), HTML, Markdown and plain text.",
        ),
        (
            lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "x.doc",
            "This is a file of an old Office version; save it as .docx or PDF.",
        ),
        (
            lambda: bytes(range(256)) * 4,
            "x.txt",
            "This is not a text file: its bytes are no text in UTF-8, UTF-16 or Windows-1252.",
        ),
        (lambda: b"\xff\xfeab\x00", "x.txt", "The text is marked as UTF-16 but is damaged."),
        (
            lambda: b"a" * 1_000_001,
            "x.txt",
            "The file has 1,000,001 bytes; at most 1,000,000 are taken (CUVEE_MAX_DOCUMENT_BYTES). "
            "Split it, or raise the limit.",
        ),
        (
            lambda: b"a" * 10_001,
            "x.txt",
            "The document has 10,001 characters of text; at most 10,000 are taken (CUVEE_MAX_DOCUMENT_CHARS). "
            "Split it, or raise the limit.",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_why_in_its_owners_words(
    make: Callable[[], bytes], name: str, reason: str
) -> None:
    with pytest.raises(UnreadableDocumentError) as refused:
        read(make(), name, LIMITS)

    assert str(refused.value) == reason


def test_a_word_file_that_would_unpack_to_too_much_is_refused_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word, "_MOST_UNPACKED_BYTES", 1_000_000)

    with pytest.raises(UnreadableDocumentError, match="unpacks to 2,000,000 bytes; at most 1,000,000"):
        read(_bomb(), "x.docx", LIMITS)


@pytest.mark.parametrize("cut", range(50, 1400, 90))
def test_a_pdf_cut_off_anywhere_is_refused_or_read_and_breaks_nothing(cut: int) -> None:
    content = pdf("First page.", "Second page.")[:cut]

    try:
        assert "page." in "".join(read(content, "x.pdf", LIMITS).pages)
    except UnreadableDocumentError as error:
        assert len(str(error)) > 10
