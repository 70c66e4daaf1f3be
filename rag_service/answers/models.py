"""Answer models: from a question and its passages to sentences. What they say is checked in `grounding`."""

from collections.abc import Sequence
from typing import Protocol

from cuvee.errors import ConfigurationError
from rag_service.index.hybrid import Hit
from rag_service.index.search import Encoder


class AnswerModel(Protocol):
    """Drafts the sentences of an answer; none when it finds no answer."""

    @property
    def name(self) -> str:
        """Identity and version, as logged with every answer."""

    def draft(self, question: str, hits: Sequence[Hit]) -> list[str]:
        """Sentences in the order in which they are read.

        Args:
            question: cleaned.
            hits: passages, best first.
        """


def load(reference: str, encoder: Encoder) -> AnswerModel:
    """The model that the setting CUVEE_ANSWER_MODEL names.

    Raises:
        ConfigurationError: no such kind of model, or the model cannot be had.
    """
    kind, _, where = reference.partition(":")
    if reference == "extractive":
        from rag_service.answers.extractive import ExtractiveModel

        return ExtractiveModel(encoder)
    if kind == "transformers" and where:
        from rag_service.answers.transformers_model import TransformersModel

        return TransformersModel.load(where)
    raise ConfigurationError(
        f"CUVEE_ANSWER_MODEL is '{reference}'; it must be 'extractive' or "
        "'transformers:<hub id | folder | .gguf file>'."
    )
