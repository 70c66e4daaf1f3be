"""The sentences of passages, each with what it stands under: its heading, the line that leads its list, its table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rag_service.answers.words import squeezed, terms
from rag_service.documents.statements import statements
from rag_service.index.generation import Hit


@dataclass(frozen=True)
class Candidate:
    """One sentence or table row of one passage."""

    rank: int
    """Of its passage, from 0."""
    position: int
    """Among the statements of its passage, from 0."""
    text: str
    """As it is quoted; a table row comes with the row of column names, on a line before it."""
    context: str
    """Heading, leading line; empty where there is none."""
    terms: frozenset[str] = field(default_factory=frozenset)

    @property
    def in_context(self) -> str:
        """What is compared with the question: a row or list item says little without what it stands under."""
        return f"{self.context}: {self.text}" if self.context else self.text


def candidates(hits: Sequence[Hit]) -> list[Candidate]:
    """Every sentence of the passages once, in reading order by passage."""
    found: dict[str, Candidate] = {}
    for rank, hit in enumerate(hits):
        for position, said in enumerate(statements(hit.chunk.text, hit.chunk.ordinal)):
            candidate = Candidate(rank, position, said.text, said.context, frozenset(terms(said.text)))
            found.setdefault(squeezed(said.text), candidate)
    return list(found.values())
