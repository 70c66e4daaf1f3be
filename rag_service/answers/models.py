"""Answer models: from a question and its passages to sentences. What they say is checked in `grounding`."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cuvee.errors import ConfigurationError
from cuvee.settings import Settings
from rag_service.answers.evidence import Quotation
from rag_service.answers.exchange import Turn
from rag_service.index.hybrid import Hit

Pieces = Generator[str, None, bool]
"""Pieces of a text as a model makes them; returns whether the model ended it itself, and no limit cut it off."""


class QuotingModel(Protocol):
    """Takes its sentences from the passages word for word; none when it finds no answer."""

    @property
    def name(self) -> str:
        """Identity and version, as logged with every answer."""

    def quotations(self, question: str, hits: Sequence[Hit]) -> list[Quotation]:
        """In the order in which they are read.

        Args:
            question: cleaned.
            hits: passages, best first.
        """


@runtime_checkable
class GenerativeModel(Protocol):
    """An answer model that writes freely: its draft must be checked and it may rewrite questions."""

    @property
    def name(self) -> str: ...

    @property
    def may_decline(self) -> bool:
        """Whether "not found" in its draft is to be believed; small models say so at random."""

    def stream(self, question: str, hits: Sequence[Hit], history: Sequence[Turn] = ()) -> Pieces:
        """The draft; the passages are numbered from 1 in the order of `hits`.

        Raises:
            NotReadyError: the model is served elsewhere and does not answer.
        """

    def write(self, instruction: str, text: str, most_tokens: int) -> str:
        """What the model writes for an instruction and a text, such as a question put in other words."""


AnswerModel = QuotingModel | GenerativeModel


@dataclass(frozen=True)
class ModelOptions:
    """Settings of the models that write: those of the same names that begin with CUVEE_ANSWER_."""

    api_key: str | None = None
    timeout_seconds: float = 60.0
    """Longest time for one answer; what is written by then is taken."""
    context_tokens: int = 4096
    """Of a served model that does not say how much it reads."""

    @classmethod
    def of(cls, settings: Settings) -> "ModelOptions":
        key = settings.answer_api_key
        return cls(
            key.get_secret_value() if key else None, settings.answer_timeout_seconds, settings.answer_context_tokens
        )


def load(reference: str, options: ModelOptions | None = None) -> AnswerModel:
    """The model that the setting CUVEE_ANSWER_MODEL names.

    Raises:
        ConfigurationError: no such kind of model, or the model cannot be had.
    """
    chosen = options or ModelOptions()
    kind, _, where = reference.partition(":")
    if reference == "extractive":
        return extractive()
    if kind == "transformers" and where:
        from rag_service.answers.transformers_model import TransformersModel

        return TransformersModel.load(where, chosen.timeout_seconds)
    if kind == "openai" and where:
        from rag_service.answers.openai_model import OpenAIModel

        return OpenAIModel.connect(where, chosen)
    raise ConfigurationError(
        f"CUVEE_ANSWER_MODEL is '{reference}'; it must be 'extractive', "
        "'transformers:<hub id | folder | .gguf file>' or 'openai:<base url>[#<model>]'."
    )


def extractive() -> QuotingModel:
    """The model that only quotes; it also stands in where another model's draft has no support."""
    from rag_service.answers.extractive import ExtractiveModel

    return ExtractiveModel()
