"""What chunks and vectors are made with: as the settings ask, or as a generation's manifest says it was made."""

from dataclasses import dataclass
from typing import get_args

from cuvee.errors import ConfigurationError
from cuvee.settings import Settings
from rag_service.documents.chunking import ChunkingRule
from rag_service.index import representation
from rag_service.index.manifest import Manifest
from rag_service.index.model_files import ModelFiles
from rag_service.index.runtimes import Runtime


@dataclass(frozen=True)
class Making:
    """An embedding model on this machine, and how texts are cut for it."""

    model: ModelFiles
    rule: ChunkingRule

    @classmethod
    def wanted(cls, settings: Settings) -> "Making":
        """As the settings ask. Raises ConfigurationError where the model cannot be had."""
        rule = ChunkingRule(settings.chunk_tokens, settings.chunk_overlap_tokens)
        return cls(ModelFiles.locate(settings.embedder, rule.tokens), rule)

    @classmethod
    def of(cls, manifest: Manifest) -> "Making":
        """As `manifest` was made: what is added to it, and what is asked of it, needs vectors of the same model.

        Raises:
            ConfigurationError: this machine has not that model, in the same runtime and precision (any more).
        """
        rule = ChunkingRule.of(manifest.chunker)
        runtime = manifest.embedder_version.rpartition("/")[2]
        if runtime not in get_args(Runtime):
            raise ConfigurationError(f"{_made(manifest)}, which names no runtime of this version. {_REMEDY}")
        try:
            model = ModelFiles.locate(f"{runtime}:{manifest.embedder}", rule.tokens)
        except ConfigurationError as error:
            raise ConfigurationError(f"{_made(manifest)}, which cannot be had here: {error} {_REMEDY}") from error
        if model.version != manifest.embedder_version:
            raise ConfigurationError(f"{_made(manifest)}; here it is {model.version} now. {_REMEDY}")
        return cls(model, rule)

    @property
    def embedder(self) -> str:
        """The name by which every process gets this model in this runtime."""
        return f"{self.model.runtime}:{self.model.id}"

    @property
    def chunker(self) -> str:
        """How texts are cut into chunks and statements."""
        return f"{self.rule.version}/{representation.VERSION}"

    @property
    def versions(self) -> tuple[str, str]:
        return self.chunker, self.model.version

    def differs(self, manifest: Manifest) -> str | None:
        """Where the generation was made otherwise, in a sentence that says what to do; None where it was not."""
        made, wanted = (manifest.embedder_version, manifest.chunker), (self.model.version, self.chunker)
        if made == wanted or not manifest.chunks:
            return None
        return (
            f"Generation {manifest.number} was made with embedder {made[0]} and chunker {made[1]}, and goes on so; the "
            f"settings ask for {wanted[0]} and {wanted[1]}: `cuvee index rebuild` indexes everything anew with these."
        )


_REMEDY = "Bring that model back, or index everything anew with what the settings name: `cuvee index rebuild`."


def _made(manifest: Manifest) -> str:
    return f"Index generation {manifest.number} was made with the embedder {manifest.embedder_version}"
