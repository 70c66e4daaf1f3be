"""One version as it is served: loaded, compiled, proven equal to the training library, with its intervals."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mlflow.exceptions import MlflowException

from cuvee.errors import CuveeError, IntegrityError
from cuvee.registry import RegisteredVersion, Registry
from ml_service import artifact
from ml_service.compiled import BATCH_ROWS, Compiled
from ml_service.dataset import Floats
from ml_service.explanations import Explainer
from ml_service.intervals import Intervals
from ml_service.wine import INPUT_COLUMNS

TOLERANCE = 1e-5
"""Quality points that a compiled model may differ from the training library on any row."""
_MOST_AMONG_FEW = 10_000
"""Of a larger reference table, evenly, so many rows are also asked among few: a Gaussian process takes its time."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """Qualities and the ends of their intervals, each of shape (samples,)."""

    quality: Floats
    low: Floats
    high: Floats

    def parts(self, sizes: Iterable[int]) -> "Iterator[Predicted]":
        """Of the first so many samples, of the next so many, and so on."""
        start = 0
        for size in sizes:
            rows = slice(start, start + size)
            start = rows.stop
            yield Predicted(self.quality[rows], self.low[rows], self.high[rows])


@dataclass(frozen=True, eq=False)
class ServedModel:
    """One loaded version."""

    name: str
    version: int
    identity: str
    metrics: dict[str, float]
    """Of its training run, on the test side."""
    data_checksum: str
    since: datetime
    pipeline: Any = field(repr=False)
    compiled: Compiled = field(repr=False)
    intervals: Intervals = field(repr=False)

    def predict(self, inputs: Floats) -> Floats:
        """Qualities, shape (samples,), of inputs of shape (samples, 12)."""
        return self.compiled.predict(inputs)

    def answer(self, inputs: Floats) -> Predicted:
        """The same with intervals."""
        quality = self.compiled.predict(inputs)
        return Predicted(quality, *self.intervals.around(quality, inputs[:, -1] == 1))

    @cached_property
    def explainer(self) -> Explainer:
        """Made when it is first asked for, which takes seconds for a large forest."""
        return Explainer(self.compiled.parts, len(INPUT_COLUMNS))


def load(registry: Registry, version: RegisteredVersion) -> ServedModel:
    """Download, check and compile one version.

    Raises:
        NotReadyError: MLflow does not answer.
        NotFoundError: the run that made the version was deleted.
        IntegrityError: the version's files are not what may be served.
    """
    try:
        return _load(registry, version)
    except (CuveeError, MlflowException, OSError):
        raise
    except Exception as error:
        # What a library may raise on a model that another version of it wrote is not to be foreseen.
        raise IntegrityError(f"{version.uri} cannot be loaded here: {error!r}. {artifact.TRAIN_AGAIN}") from error


def _load(registry: Registry, version: RegisteredVersion) -> ServedModel:
    with tempfile.TemporaryDirectory(prefix="cuvee-model-") as folder:
        found = artifact.load(registry.download(version, Path(folder)))
        inputs, expected = artifact.reference(registry.run_file(version, artifact.REFERENCE, Path(folder)))
    compiled = Compiled(found.pipeline, len(INPUT_COLUMNS))
    check(compiled, inputs, expected)
    return ServedModel(
        name=version.name,
        version=version.version,
        identity=version.identity,
        metrics=registry.run(version).metrics,
        data_checksum=version.tags.get(artifact.CHECKSUM_TAG, ""),
        since=datetime.now(UTC),
        pipeline=found.pipeline,
        compiled=compiled,
        intervals=found.intervals,
    )


def check(compiled: Compiled, inputs: Floats, expected: Floats) -> None:
    """Raises IntegrityError when a row is answered otherwise than by the training library, among many or among few."""
    many = compiled.predict(np.resize(inputs, (max(len(inputs), BATCH_ROWS), inputs.shape[1])))[: len(inputs)]
    wrong = _differs(many, expected)
    # Few rows go through other graphs.
    every = len(inputs) // _MOST_AMONG_FEW + 1
    asked = inputs[::every]
    starts = range(0, len(asked), BATCH_ROWS - 1)
    few = np.concatenate([compiled.predict(asked[start : start + BATCH_ROWS - 1]) for start in starts])
    wrong[::every] |= _differs(few, expected[::every])
    if wrong.any():
        raise IntegrityError(
            f"The compiled model answers {int(wrong.sum())} of {len(expected)} reference rows otherwise than the "
            f"training library, by more than {TOLERANCE:g} quality points; it is not served. "
            f"{artifact.TRAIN_AGAIN}"
        )


def _differs(answered: Floats, expected: Floats) -> npt.NDArray[np.bool_]:
    # Not `>`: it would pass over a NaN.
    return ~(np.abs(answered - expected) <= TOLERANCE)
