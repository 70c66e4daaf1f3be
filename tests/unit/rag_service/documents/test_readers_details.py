"""What the readers find out about a document beside its text."""

import datetime
import io
from typing import Any

import docx
import pytest
from PyPDF2 import PdfReader, PdfWriter
from PyPDF2.generic import ArrayObject, NameObject, NumberObject
from reportlab.pdfgen import canvas

from rag_service.documents.details import MOST_KEYS, date_of, details
from rag_service.documents.readers import ReadDocument, ReadLimits, read

LIMITS = ReadLimits(max_document_bytes=1_000_000, max_document_chars=100_000)


def pdf(**info: Any) -> bytes:
    page, out = io.BytesIO(), io.BytesIO()
    drawing = canvas.Canvas(page)
    drawing.drawString(72, 720, "Rinse the tank.")
    drawing.save()
    writer = PdfWriter()
    writer.append_pages_from_reader(PdfReader(page))
    writer.add_metadata({f"/{name}": value for name, value in info.items()})
    writer.write(out)
    return out.getvalue()


def word(**properties: Any) -> bytes:
    document, out = docx.Document(), io.BytesIO()
    for name, value in properties.items():
        setattr(document.core_properties, name, value)
    document.add_paragraph("Rinse the tank.")
    document.save(out)
    return out.getvalue()


def said(content: bytes, name: str) -> tuple[str | None, datetime.date | None, dict[str, str]]:
    found: ReadDocument = read(content, name, LIMITS)
    return found.author, found.date, found.metadata


def test_a_pdf_says_its_author_its_date_and_its_subject() -> None:
    content = pdf(Author="Ada  Brun", CreationDate="D:20240229101500+01'00'", Keywords="tank, rinse", Subject="Cellar")

    assert said(content, "x.pdf") == (
        "Ada Brun",
        datetime.date(2024, 2, 29),
        {"subject": "Cellar", "keywords": "tank, rinse"},
    )


def test_word_says_its_core_properties() -> None:
    content = word(
        author="Ada Brun",
        created=datetime.datetime(2023, 5, 4, 9, 0, tzinfo=datetime.UTC),
        keywords="tank",
        subject="",
        language="fr",
    )

    assert said(content, "x.docx") == (
        "Ada Brun",
        datetime.date(2023, 5, 4),
        {"keywords": "tank", "language": "fr"},
    )


def test_html_says_what_its_meta_elements_say() -> None:
    page = (
        "<html lang='fr'><head><meta name='Author' content='Ada Brun'><meta name='keywords' content='cuve, eau'>"
        "<meta property='article:published_time' content='2024-01-31T08:00:00Z'><meta name='date' content='1999-01-01'>"
        "<meta property='article:author' content='https://example.org/ada'></head><body><p>Rincer.</p></body></html>"
    )

    assert said(page.encode(), "x.html") == (
        "Ada Brun",
        datetime.date(2024, 1, 31),
        {"keywords": "cuve, eau", "language": "fr"},
    )


def test_front_matter_says_it_and_is_no_text() -> None:
    source = (
        "---\ntitle: 'Rinsing: a guide'\nauthor: Ada Brun # head of the cellar\ndate: 2024-03-01\ntags:\n  - tank\n"
        "  - \"rinse\"\nvintage: 2021\nkinds: [red, 'white']\nSerial No: 7\nabstract: |\n  Long text\nnested:\n"
        "  key: value\n---\nRinse the tank.\n"
    )

    found = read(source.encode(), "x.md", LIMITS)

    assert (found.title, found.author, found.date) == ("Rinsing: a guide", "Ada Brun", datetime.date(2024, 3, 1))
    assert found.metadata == {"tags": "tank, rinse", "vintage": "2021", "kinds": "red, white", "serial_no": "7"}
    assert found.pages == ("Rinse the tank.\n",)


@pytest.mark.parametrize(
    "source", ["---\nRinse the tank.\n---\nDrain it.\n", "---\nauthor: Ada\nRinse the tank.", "--- \n\n---\nRinse."]
)
def test_rules_that_enclose_text_are_no_front_matter(source: str) -> None:
    found = read(source.encode(), "x.md", LIMITS)

    assert (found.author, found.metadata) == (None, {})
    assert "Rinse" in found.pages[0]


def test_plain_text_says_nothing_of_itself() -> None:
    assert said(b"author: Ada Brun\n\nRinse the tank.", "x.txt") == (None, None, {})


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024-02-29", (2024, 2, 29)),
        ("2024-02-29T23:59:59+14:00", (2024, 2, 29)),
        ("D:2024", (2024, 1, 1)),
        ("20240229T101500", (2024, 2, 29)),
        ("29 February 2024", (2024, 2, 29)),
        ("Feb 29, 2024", (2024, 2, 29)),
        ("29.02.2024", (2024, 2, 29)),
        ("2023-02-29", None),
        ("D:20241399", None),
        ("0000-00-00", None),
        ("9999-12-31", None),
        ("yesterday", None),
        ("", None),
        ("2" * 5000, None),
    ],
)
def test_a_date_is_read_in_the_usual_forms_and_a_bad_one_is_none(text: str, day: tuple[int, int, int] | None) -> None:
    assert date_of(text) == (datetime.date(*day) if day else None)


@pytest.mark.parametrize("author", ["", "  ", "Unknown", "(anonymous)", "python-docx", "\x00\x07"])
def test_a_name_that_names_nobody_is_none(author: str) -> None:
    assert details(author).author is None


def test_details_are_bounded_on_one_line_and_without_control_characters() -> None:
    many = [(f"Key {n}!", f"a\nb\x00{'c' * 5000}") for n in range(100)]

    found = details("A" * 5000, None, [("", "x"), ("!?", "x"), ("empty", " "), *many])

    assert found.author == "A" * 200
    assert len(found.metadata) == MOST_KEYS
    assert found.metadata["key_0"].startswith("a b c") and len(found.metadata["key_0"]) == 200
    assert list(found.metadata)[:2] == ["key_0", "key_1"]


def test_garbage_in_a_pdfs_information_spoils_nothing_else() -> None:
    writer = PdfWriter()
    writer.append_pages_from_reader(PdfReader(io.BytesIO(pdf(Author="Ada"))))
    writer.add_metadata({"/Title": "Tanks"})
    information: Any = writer._info.get_object()
    information[NameObject("/Author")] = ArrayObject([NumberObject(1)])
    information[NameObject("/CreationDate")] = NumberObject(-5)
    out = io.BytesIO()
    writer.write(out)

    found = read(out.getvalue(), "x.pdf", LIMITS)

    assert (found.title, found.author, found.date) == ("Tanks", None, None)
    assert found.pages == ("Rinse the tank.",)
