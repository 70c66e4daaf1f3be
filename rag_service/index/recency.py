"""How much a passage counts at its age: half of its weight halves at every half-life, in the topics that age.

The other half stays, so that an old passage that answers goes before a new one that does not.
"""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rag_service.index.rows import Chunk


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


@dataclass(frozen=True)
class Recency:
    """Weights passages by the date of their document."""

    half_life_days: Mapping[str, float] = field(default_factory=dict)
    """By topic; passages of other topics do not age."""
    today: Callable[[], datetime.date] = _today

    def freshness(self, chunk: Chunk) -> float:
        """Over 0.5 to 1. A document without a date counts as one half-life old, one of the future as new."""
        half_life = self.half_life_days.get(chunk.topic)
        if half_life is None:
            return 1.0
        half_lives = 1.0 if chunk.date is None else max(0, (self.today() - chunk.date).days) / half_life
        return float(0.5 + 0.5 * 2.0**-half_lives)


ALWAYS_FRESH = Recency()
