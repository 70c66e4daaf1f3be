"""Optional second look at the passages found: a CrossEncoder reads question and passage together and orders them."""

import json
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from cuvee.errors import ConfigurationError
from rag_service.index.hybrid import Hit
from rag_service.index.model_files import folder_from_hub, weights_sha256

log = logging.getLogger(__name__)

RERANKED = 20
"""Best passages of hybrid search that are read again; each costs one pass of the model."""
NONE = "none"
_SETTING = "CUVEE_RERANKER"
_BATCH_PASSAGES = 8


class Scorer(Protocol):
    """Says how well passages answer a question."""

    @property
    def version(self) -> str: ...
    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        """One for each passage, 0 to 1; more is better."""


def reranked(scorer: Scorer, question: str, hits: Sequence[Hit]) -> list[Hit]:
    """`hits` in the scorer's order. Their scores stay those of the search, which answers and refusal are fitted to."""
    scores = scorer.scores(question, [f"{hit.chunk.title}\n{hit.chunk.text}" for hit in hits])
    found = [replace(hit, reranked=score) for hit, score in zip(hits, scores, strict=True)]
    return sorted(found, key=lambda hit: (-hit.order, hit.chunk.chunk_id))


@dataclass(frozen=True)
class CrossEncoderScorer:
    """A sentence-transformers CrossEncoder with one output. Safe to use from several threads; they take turns."""

    version: str
    _model: Any
    _turn: threading.Lock

    def scores(self, question: str, passages: Sequence[str]) -> list[float]:
        if not passages:
            return []
        pairs = [(question, passage) for passage in passages]
        with self._turn:
            found = self._model.predict(pairs, batch_size=_BATCH_PASSAGES, show_progress_bar=False)
        return [float(score) for score in found]


def load(name: str) -> CrossEncoderScorer | None:
    """What the setting CUVEE_RERANKER names; None for "none".

    Raises:
        ConfigurationError: it cannot be had, or is no CrossEncoder with one output.
    """
    if name == NONE:
        return None
    started = time.perf_counter()
    folder = Path(name).resolve() if Path(name).is_dir() else folder_from_hub(name, _SETTING)
    weights = weights_sha256(folder, name, _SETTING)
    model = _cross_encoder(folder, name)
    version = f"{name}@{weights[:12]}"
    log.info("reranker %s, loaded in %.1f s", version, time.perf_counter() - started)
    return CrossEncoderScorer(version, model, threading.Lock())


def _architectures(folder: Path) -> list[str]:
    try:
        return list(json.loads((folder / "config.json").read_text()).get("architectures") or [])
    except FileNotFoundError:
        return []


def _cross_encoder(folder: Path, name: str) -> Any:
    from safetensors import SafetensorError
    from sentence_transformers import CrossEncoder
    from torch.nn import Sigmoid
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # it would end up in every log
    architectures = _architectures(folder)
    if not any(one.endswith("ForSequenceClassification") for one in architectures):
        # Of any other model only the body would be loaded, under a head of random weights.
        raise ConfigurationError(
            f"{_SETTING}={name} is no CrossEncoder: its config.json names {', '.join(architectures) or 'nothing'}, and "
            "no model for sequence classification."
        )
    try:
        # Some give 0 to 1 by themselves, some do not; the order is the same, and age can take its share of it.
        model = CrossEncoder(str(folder), local_files_only=True, activation_fn=Sigmoid())
    except (SafetensorError, OSError, ValueError, RuntimeError, LookupError, TypeError, ImportError) as error:
        raise ConfigurationError(f"{_SETTING}={name} cannot be loaded from {folder}: {error}") from error
    if model.num_labels != 1:
        raise ConfigurationError(f"{_SETTING}={name} gives {model.num_labels} figures for a passage, not one score.")
    return model
