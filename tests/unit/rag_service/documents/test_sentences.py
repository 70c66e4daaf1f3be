"""The sentence splitter: where it cuts, where it must not, and that nothing is lost."""

# ruff: noqa: RUF001 - other scripts have marks and letters that look like ours

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.documents.sentences import is_heading, split


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The vat is full. Open the tap.", ["The vat is full.", "Open the tap."]),
        ("Is it sound? Taste it! Then decide.", ["Is it sound?", "Taste it!", "Then decide."]),
        ("Add 0.5 g/l at 12.5 % vol. Stir.", ["Add 0.5 g/l at 12.5 % vol. Stir."]),
        ("See Fig. 3, e.g. in spring. Ask Dr. Martin.", ["See Fig. 3, e.g. in spring.", "Ask Dr. Martin."]),
        ("Tank No. 5 leaks. They said no. Five came.", ["Tank No. 5 leaks.", "They said no.", "Five came."]),
        ("J. R. Smith wrote it. A. Jones read it.", ["J. R. Smith wrote it.", "A. Jones read it."]),
        ("Use tank B. 30 litres go in.", ["Use tank B.", "30 litres go in."]),
        ("1. Rinse the tank.\n2. Drain it. Dry it.", ["1. Rinse the tank.", "2. Drain it.", "Dry it."]),
        ("He said: “It is done.” Nobody moved.", ["He said: “It is done.”", "Nobody moved."]),
        ("It stopped (at last.) Then it ran.", ["It stopped (at last.)", "Then it ran."]),
        ("Wait ... and see. Yes.", ["Wait ... and see.", "Yes."]),
        ("Cleaning\n\nRinse first. Then wash.", ["Cleaning", "Rinse first.", "Then wash."]),
        ("Acid | 2 g | 5 min.\nBase | 3 g | 6 min.", ["Acid | 2 g | 5 min.", "Base | 3 g | 6 min."]),
        ("ワインは赤い。白もある。", ["ワインは赤い。", "白もある。"]),
        ("彼は「赤い。」と言った。終わり？！はい。", ["彼は「赤い。」", "と言った。", "終わり？！", "はい。"]),
        ("संग्रहालय बंद है। दुकान खुली है।", ["संग्रहालय बंद है।", "दुकान खुली है।"]),
        ("کیا دکان کھلی ہے؟ (دکان بند ہے۔) کل آئیں۔", ["کیا دکان کھلی ہے؟", "(دکان بند ہے۔)", "کل آئیں۔"]),
        ("  \n ", []),
    ],
)
def test_text_is_cut_where_a_sentence_ends(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet=st.sampled_from("aZ1.!? \n\t\"')e。？।é|-"), max_size=80))
def test_spans_are_ordered_apart_trimmed_and_leave_out_only_white_space(text: str) -> None:
    spans = split(text)

    outside, position = "", 0
    for start, end in spans:
        assert position <= start < end
        assert text[start:end] == text[start:end].strip()
        assert "\n" not in text[start:end]
        outside += text[position:start]
        position = end
    assert (outside + text[position:]).strip() == ""


@pytest.mark.parametrize("line", ["2. Filtration", "CLEAN FIRST, THEN DISINFECT", "Bottles and filling", "7 Stops"])
def test_a_short_line_without_a_full_stop_is_a_heading(line: str) -> None:
    assert is_heading(line)


@pytest.mark.parametrize("line", ["酒窖", "博物館の規則", "「赤ワイン」", "संग्रहालय के नियम", "عجائب گھر کے قواعد"])
def test_headings_are_known_in_other_scripts(line: str) -> None:
    assert is_heading(line)


@pytest.mark.parametrize(
    "line",
    [
        "博物馆星期一关闭。",
        "几点开门？",
        "小心！",
        "限度如下：",
        "第一，",
        "「閉館します。」",
        "संग्रहालय सोमवार को बंद रहता है।",
        "دکان بند ہے۔",
        "کیا دکان کھلی ہے؟",
    ],
)
def test_sentences_in_other_scripts_are_no_headings(line: str) -> None:
    assert not is_heading(line)


@pytest.mark.parametrize(
    "line", ["It leaks.", "Acid | 2 g", "- red caps", "and so on", "12 | 14", "3.5", "", "The limits are:"]
)
def test_sentences_rows_items_and_figures_are_no_headings(line: str) -> None:
    assert not is_heading(line)
