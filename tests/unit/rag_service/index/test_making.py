"""What chunks and vectors are made with: by the settings, and by what is published."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuvee.errors import ConfigurationError, IntegrityError
from cuvee.settings import Settings
from rag_service.documents.chunking import ChunkingRule
from rag_service.index import model_files
from rag_service.index.making import Making
from rag_service.index.manifest import Manifest


@pytest.fixture
def wanted() -> Making:
    return Making.wanted(Settings(chunk_tokens=240, chunk_overlap_tokens=40))


def manifest(made: Making, **changed: object) -> Manifest:
    described = {
        "number": 7,
        "embedder": made.model.id,
        "embedder_version": made.model.version,
        "dimension": 384,
        "documents": 1,
        "chunks": 1,
        "chunker": made.chunker,
        "refusal_threshold": 0.2,
        "files": {},
    }
    return Manifest.model_validate(described | changed)


@given(st.integers(200, 500), st.integers(0, 100), st.sampled_from(["", "/statements-1", "/statements-9"]))
def test_the_rule_is_had_from_its_version(tokens: int, overlap: int, rest: str) -> None:
    rule = ChunkingRule(tokens, overlap)
    assert ChunkingRule.of(rule.version + rest) == rule


@pytest.mark.parametrize("version", ["", "sentences", "sentences-1/240", "sentences-1/many/40"])
def test_what_is_no_rule_is_refused(version: str) -> None:
    with pytest.raises(IntegrityError, match="is not how chunks are cut"):
        ChunkingRule.of(version)


def test_a_generation_is_gone_on_with_as_it_was_made(wanted: Making) -> None:
    again = Making.of(manifest(wanted, chunker="sentences-0/220/20/statements-0"))

    assert (again.model.version, again.embedder) == (wanted.model.version, wanted.embedder)
    assert again.rule == ChunkingRule(220, 20)
    assert wanted.embedder.endswith(":all-MiniLM-L6-v2")


def test_a_generation_whose_model_is_another_by_now_says_what_to_do(
    wanted: Making, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files, "weights_sha256", lambda *_: "53aa5117" + "0" * 56)
    with pytest.raises(ConfigurationError, match=r"53aa51172d14.*here it is .*53aa51170000.*cuvee index rebuild"):
        Making.of(manifest(wanted))


@pytest.mark.parametrize("rest", ["/torch-cuda", ""])
def test_a_generation_of_a_runtime_that_is_not_here_says_what_to_do(
    wanted: Making, rest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_files.runtimes, "has_gpu", lambda: False)
    with pytest.raises(ConfigurationError, match=r"generation 7 was made with the embedder .* `cuvee index rebuild`"):
        Making.of(manifest(wanted, embedder_version=f"all-MiniLM-L6-v2@53aa51172d14/256{rest}"))


def test_it_is_told_where_the_settings_ask_for_something_else(wanted: Making) -> None:
    assert wanted.differs(manifest(wanted)) is None
    assert wanted.differs(manifest(wanted, chunker="sentences-1/300/40/statements-1", chunks=0)) is None
    told = wanted.differs(manifest(wanted, chunker="sentences-1/300/40/statements-1"))
    assert told
    assert "sentences-1/300/40/statements-1, and goes on so" in told
    assert f"ask for {wanted.model.version} and {wanted.chunker}" in told
