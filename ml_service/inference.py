"""What is served: the champion, checked before it is swapped in, and kept when a newer one cannot be loaded."""

import logging
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from cuvee.errors import CuveeError, NotReadyError
from cuvee.registry import RegisteredVersion, Registry
from ml_service import artifact
from ml_service.dataset import Floats, as_frame
from ml_service.wine import MODEL_NAME

log = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0


@dataclass(frozen=True)
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

    def predict(self, inputs: Floats) -> Floats:
        """Qualities, shape (samples,), of inputs of shape (samples, 12)."""
        predicted: Floats = self.pipeline.predict(as_frame(inputs))
        return predicted


@dataclass(frozen=True)
class ReloadFailure:
    """Why what is served is not the champion, and since when."""

    since: datetime
    message: str
    identity: str | None


def load(registry: Registry, version: RegisteredVersion) -> ServedModel:
    """Download and check one version.

    Raises:
        NotReadyError: MLflow does not answer.
        IntegrityError: the version's files are not what may be served.
    """
    with tempfile.TemporaryDirectory(prefix="cuvee-model-") as folder:
        pipeline = artifact.load(registry.download(version, Path(folder)))
    return ServedModel(
        name=version.name,
        version=version.version,
        identity=version.identity,
        metrics=registry.run(version).metrics,
        data_checksum=version.tags.get(artifact.CHECKSUM_TAG, ""),
        since=datetime.now(UTC),
        pipeline=pipeline,
    )


class Serving:
    """The model in use. `refresh` runs in one thread; `model` may be read from any."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._model: ServedModel | None = None
        self._failure: ReloadFailure | None = None
        self._tried_at = 0.0

    @property
    def model(self) -> ServedModel:
        """What predictions come from.

        Raises:
            NotReadyError: nothing could be loaded yet; the message says why.
        """
        if self._model is not None:
            return self._model
        if self._failure is not None:
            raise NotReadyError(f"No model could be loaded yet: {self._failure.message}")
        raise NotReadyError("No champion yet: run the DAG train_wine; what it promotes is served at once.")

    @property
    def failure(self) -> ReloadFailure | None:
        return self._failure

    def refresh(self) -> None:
        """Swap to the champion if it is another than the one in use; on failure go on with the latter."""
        wanted: RegisteredVersion | None = None
        try:
            wanted = self._registry.champion(MODEL_NAME)
            if wanted is None or (self._model is not None and self._model.identity == wanted.identity):
                self._failure = None
                return
            if self._failed_lately(wanted.identity):
                return
            loaded = load(self._registry, wanted)
        except (CuveeError, MlflowException, OSError) as error:
            self._failed(wanted, str(error))
            return
        self._model, self._failure = loaded, None
        log.info("serving %s version %d", loaded.name, loaded.version)

    def _failed_lately(self, identity: str) -> bool:
        failed = self._failure is not None and self._failure.identity == identity
        return failed and time.monotonic() - self._tried_at < _RETRY_SECONDS

    def _failed(self, wanted: RegisteredVersion | None, message: str) -> None:
        self._tried_at = time.monotonic()
        before = self._failure
        told = f"version {wanted.version}: {message}" if wanted else message
        if before is None or before.message != told:
            log.error("the champion cannot be loaded, what was served before goes on: %s", told)
        since = before.since if before else datetime.now(UTC)
        self._failure = ReloadFailure(since, told, wanted.identity if wanted else None)
