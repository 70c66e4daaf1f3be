"""Whether what was found is enough to answer from: the one place where that is decided."""

from typing import Protocol

from rag_service.index.generation import Manifest
from rag_service.index.search import Found

TOO_FAR = "no passage is near enough to the question"
NOTHING_THERE = "nothing is indexed there"


class Decide(Protocol):
    def __call__(self, found: Found, manifest: Manifest) -> str | None: ...


def decide(found: Found, manifest: Manifest) -> str | None:
    """Why there is nothing to answer from, as the end of a sentence; None when there is."""
    if not found.hits:
        return NOTHING_THERE
    if found.hits[0].score < manifest.refusal_threshold:
        return TOO_FAR
    return None
