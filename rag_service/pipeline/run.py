"""What every task needs, made from the settings."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from cuvee.database import connect
from cuvee.errors import ConfigurationError
from cuvee.objects import ObjectStore
from cuvee.settings import Settings
from rag_service.documents import membership
from rag_service.documents.batches import Batch
from rag_service.documents.chunking import ChunkingRule
from rag_service.index import generation as generations
from rag_service.index import representation
from rag_service.index.building import FoldingRule
from rag_service.index.embedder import ModelFiles
from rag_service.index.manifest import Manifest

INDEX_LOCK = "index"


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
    def rule(self) -> ChunkingRule:
        return ChunkingRule(self.settings.chunk_tokens, self.settings.chunk_overlap_tokens)

    @property
    def folding(self) -> FoldingRule:
        chosen = self.settings
        return FoldingRule(chosen.delta_share, chosen.delta_least_rows, chosen.delta_most_rows, chosen.dead_share)

    @property
    def model(self) -> ModelFiles:
        return ModelFiles.locate(self.settings.embedder, self.settings.chunk_tokens)

    @property
    def chunker(self) -> str:
        """How texts are cut into chunks and statements."""
        return f"{self.rule.version}/{representation.VERSION}"

    def batch(self, name: str) -> Batch:
        return Batch.in_folder(self.settings.batches_dir, name)

    def published(self) -> Manifest | None:
        folder = generations.current(self.engine, self.index_dir)
        return generations.read_manifest(folder) if folder else None

    def index_is_stale(self) -> bool:
        """Whether the published generation holds documents that are not alive any more."""
        with self.engine.connect() as connection:
            return membership.any_leaving(connection)

    def check_versions(self, present: Manifest | None) -> None:
        """Raises ConfigurationError when the settings ask for other vectors or chunks than `present` has."""
        if present is None or not present.chunks:
            return
        had, wanted = (present.embedder_version, present.chunker), (self.model.version, self.chunker)
        if had != wanted:
            raise ConfigurationError(
                f"Index generation {present.number} was made with embedder {had[0]} and chunker {had[1]}; the settings "
                f"ask for {wanted[0]} and {wanted[1]}, and the two cannot be mixed. Set CUVEE_EMBEDDER, "
                "CUVEE_CHUNK_TOKENS and CUVEE_CHUNK_OVERLAP_TOKENS back to what they were."
            )
