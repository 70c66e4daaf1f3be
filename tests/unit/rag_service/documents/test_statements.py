"""Statements know their place in the chunk."""

from rag_service.documents.statements import statements


def test_each_statement_has_the_span_of_its_sentence_or_row() -> None:
    text = "Doses\n\npH | White\n3.3 | 26\n\nThe  siren sounds. Everyone\xa0leaves."

    found = statements(text, 0)

    assert [(one.text, one.context, text[one.start : one.end]) for one in found] == [
        ("pH | White\n3.3 | 26", "Doses", "3.3 | 26"),
        ("The siren sounds.", "Doses", "The  siren sounds."),
        ("Everyone leaves.", "Doses", "Everyone\xa0leaves."),
    ]
    assert found[0].in_context == "Doses: pH | White\n3.3 | 26"
