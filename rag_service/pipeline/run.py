"""What every task needs, made from the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from cuvee.database import connect
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service.documents import membership
from rag_service.documents.batches import Batch
from rag_service.index import generation as generations
from rag_service.index.building import FoldingRule
from rag_service.index.making import Making
from rag_service.index.manifest import Manifest

INDEX_LOCK = "index"
Tell = Callable[[int, int], None]
"""Told how much is done, of how much."""


@dataclass(frozen=True)
class Run:
    """One task's settings and connections."""

    settings: Settings
    engine: sa.Engine

    @classmethod
    def begin(cls, settings: Settings | None) -> "Run":
        settings = settings or Settings.load()
        return cls(settings, connect(settings.resolved_database_url))

    @property
    def index_dir(self) -> Path:
        return self.settings.index_dir

    @property
    def objects(self) -> ObjectStore:
        return ObjectStore(self.settings.resolved_objects_url)

    @property
    def folding(self) -> FoldingRule:
        chosen = self.settings
        return FoldingRule(chosen.delta_share, chosen.delta_least_rows, chosen.delta_most_rows, chosen.dead_share)

    @property
    def wanted(self) -> Making:
        """What the settings ask for. Raises ConfigurationError where the embedder cannot be had."""
        return Making.wanted(self.settings)

    def making(self, present: Manifest | None) -> Making:
        """What the next micro-batch is made with: as `present`, which it extends, or as the settings ask.

        Raises:
            ConfigurationError: the embedder cannot be had.
        """
        return Making.of(present) if present is not None and present.chunks else self.wanted

    def batch(self, name: str) -> Batch:
        return Batch.in_folder(self.settings.batches_dir, name)

    def published(self) -> Manifest | None:
        folder = generations.current(self.engine, self.index_dir)
        return generations.read_manifest(folder) if folder else None

    def index_is_stale(self) -> bool:
        """Whether the published generation holds documents that are not alive any more."""
        with self.engine.connect() as connection:
            return membership.any_leaving(connection)
