"""Statements know their place in the chunk."""

# ruff: noqa: RUF001 - other scripts have marks and letters that look like ours

import pytest

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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "酒窖\n\n红葡萄酒应在十二度储存。白葡萄酒应在八度储存。",
            ["酒窖: 红葡萄酒应在十二度储存。", "酒窖: 白葡萄酒应在八度储存。"],
        ),
        ("नियम\n\nसंग्रहालय सोमवार को बंद रहता है।", ["नियम: संग्रहालय सोमवार को बंद रहता है।"]),
        ("قواعد\n\nعجائب گھر پیر کو بند رہتا ہے۔", ["قواعد: عجائب گھر پیر کو بند رہتا ہے۔"]),
        ("規則\n\n限度は次の通り：\n\n- 赤は十二度。", ["規則 限度は次の通り：: - 赤は十二度。"]),
    ],
)
def test_sentences_of_every_script_are_statements(text: str, expected: list[str]) -> None:
    assert [one.in_context for one in statements(text, 0)] == expected
