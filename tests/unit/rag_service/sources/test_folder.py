"""The inbox: which files are taken, and how their places are named."""

import os
import unicodedata
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag_service.sources.folder import list_settled, printable

LATER = 10.0


def put(inbox: Path, name: str | bytes) -> Path:
    path = Path(os.fsdecode(os.path.join(os.fsencode(inbox), os.fsencode(name))))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")
    return path


def listed(inbox: Path) -> list[tuple[str, str, str]]:
    now = inbox.stat().st_ctime + LATER
    return [(file.topic, file.segment, file.uri) for file in list_settled(inbox, 1.0, now)]


def test_folders_give_topic_and_segment_and_files_outside_of_them_are_unsorted(tmp_path: Path) -> None:
    for name in ("cellar/safety/co2.pdf", "cellar/safety/old/2019/a.txt", "cellar/b.txt", "c.txt"):
        put(tmp_path, name)

    assert listed(tmp_path) == [
        ("unsorted", "unsorted", "c.txt"),
        ("cellar", "unsorted", "b.txt"),
        ("cellar", "safety", "co2.pdf"),
        ("cellar", "safety", "old/2019/a.txt"),
    ]


def test_hidden_and_unfinished_files_links_and_pipes_are_left_alone(tmp_path: Path) -> None:
    for name in (".hidden", ".git/config", "a.part", "b.TMP", "c.crdownload", "~$letter.docx"):
        put(tmp_path, f"t/s/{name}")
    secret = put(tmp_path.parent, "secret.txt")
    (tmp_path / "t/s/link.txt").symlink_to(secret)
    (tmp_path / "t/linked").symlink_to(tmp_path.parent)
    os.mkfifo(tmp_path / "t/s/pipe")

    assert listed(tmp_path) == []


def test_a_file_is_taken_once_neither_its_content_nor_its_name_changed_for_a_while(tmp_path: Path) -> None:
    path = put(tmp_path, "t/s/a.txt")
    changed = path.stat().st_ctime
    os.utime(path, (1, 1))  # copied with its old modification time just now

    assert list_settled(tmp_path, 2.0, changed + 1.9) == []
    assert [file.modified_at for file in list_settled(tmp_path, 2.0, path.stat().st_ctime + 2.0)] == [1.0]


def test_a_modification_time_in_the_future_does_not_keep_a_file_for_ever(tmp_path: Path) -> None:
    path = put(tmp_path, "t/s/a.txt")
    os.utime(path, (path.stat().st_ctime + 1e8,) * 2)

    assert listed(tmp_path) == [("t", "s", "a.txt")]


def test_no_inbox_is_an_empty_inbox(tmp_path: Path) -> None:
    assert list_settled(tmp_path / "none", 0) == []


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        (b"plain name (2).txt", "plain name (2).txt"),
        ("Grüße 🍷.txt".encode(), "Grüße 🍷.txt"),
        (b'a "b"\n%\t\'c.txt', 'a "b"%0A%25%09\'c.txt'),
        (b"latin-\xe9.txt", "latin-%E9.txt"),
        ("x\u202etxt.exe".encode(), "x%E2%80%AEtxt.exe"),
        ("e\u0301.txt".encode(), "e%CC%81.txt"),
        (b"x" * 255, "x" * 255),
    ],
)
def test_odd_names_become_printable_places(tmp_path: Path, name: bytes, uri: str) -> None:
    put(tmp_path, b"t/s/" + name)

    assert listed(tmp_path) == [("t", "s", uri)]


@given(st.binary(min_size=1, max_size=30))
def test_a_place_can_be_turned_back_into_the_one_name_it_came_from(name: bytes) -> None:
    place = printable(os.fsdecode(name))

    assert unquote_to_bytes(place) == name
    assert place.isprintable() and unicodedata.is_normalized("NFC", place)
