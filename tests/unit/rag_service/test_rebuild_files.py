"""What an interrupted rebuild goes on with."""

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rag_service.pipeline import rebuild_files
from rag_service.pipeline.rebuild_files import Rebuild


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of readers in place of ours."""
    (tmp_path / "plain.py").write_text("READ = 1")
    (tmp_path / "notes.md").write_text("not code")
    monkeypatch.setattr(rebuild_files.resources, "files", {"rag_service.documents": tmp_path}.__getitem__)
    return tmp_path


def rebuilt(*versions: str) -> str:
    run: Any = SimpleNamespace(wanted=SimpleNamespace(versions=versions))
    return Rebuild.of(run).id


def test_nothing_that_was_read_before_is_gone_on_with_once_a_reader_has_changed(code: Path) -> None:
    before = rebuilt("chunker", "embedder")
    assert rebuilt("chunker", "embedder") == before

    (code / "plain.py").write_text("READ = 2")
    changed = rebuilt("chunker", "embedder")
    (code / "pdf.py").touch()
    assert len({before, changed, rebuilt("chunker", "embedder"), rebuilt("chunker", "other")}) == 4

    (code / "plain.py").write_text("READ = 1")
    (code / "pdf.py").unlink()
    (code / "notes.md").write_text("still not code")
    assert rebuilt("chunker", "embedder") == before


def test_nor_once_a_library_has(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, known = rebuilt("chunker", "embedder"), metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == "PyPDF2" else known(name))
    assert rebuilt("chunker", "embedder") != before
