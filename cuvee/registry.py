"""The MLflow model registry, as far as promotion and serving need it: versions and the alias `champion`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException, RestException

from cuvee.errors import IntegrityError, NotFoundError, NotReadyError

CHAMPION = "champion"
CHALLENGER = "challenger"
_RUNS_AT_ONCE = 100


@dataclass(frozen=True)
class RegisteredVersion:
    """One version of a registered model."""

    name: str
    version: int
    run_id: str
    source: str
    tags: dict[str, str]
    registered_at: datetime

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    @property
    def identity(self) -> str:
        """Distinct for ever, also where a model was deleted and its versions count from 1 again."""
        return f"{self.version}@{self.run_id}"


@dataclass(frozen=True)
class TrainingRun:
    """The run that made a version."""

    run_id: str
    experiment_id: str
    metrics: dict[str, float]


class Registry:
    """Thin adapter: MLflow's errors become ours, its records become frozen values."""

    def __init__(self, tracking_uri: str) -> None:
        # A bar of a second's download is hundreds of lines in a task's log.
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        self._uri = tracking_uri

    def champion(self, name: str) -> RegisteredVersion | None:
        """The version in service; None when there is none yet. Raises as `aliased` does."""
        return self.aliased(name, CHAMPION)

    def aliased(self, name: str, alias: str) -> RegisteredVersion | None:
        """The version that carries the alias; None when none does.

        Raises:
            NotReadyError: the MLflow server does not answer.
        """
        try:
            with self._answering():
                return _version(self._client.get_model_version_by_alias(name, alias))
        except RestException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def version(self, name: str, number: int) -> RegisteredVersion:
        """Raises NotFoundError when there is no such version, NotReadyError when MLflow does not answer."""
        try:
            with self._answering():
                return _version(self._client.get_model_version(name, str(number)))
        except RestException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise NotFoundError(f"MLflow at {self._uri} has no version {number} of {name}.") from error

    def find(self, name: str, tags: dict[str, str]) -> RegisteredVersion | None:
        """The newest version with all these tags: how a repeated step finds what it already registered."""
        matching = [version for version in self.versions(name) if tags.items() <= version.tags.items()]
        return max(matching, key=lambda version: version.version, default=None)

    def versions(self, name: str) -> list[RegisteredVersion]:
        """All of them, newest first."""
        with self._answering():
            found = [_version(one) for one in self._client.search_model_versions(f"name = '{name}'")]
        return sorted(found, key=lambda version: version.version, reverse=True)

    def aliases(self, name: str) -> dict[str, int]:
        """Version by alias. Raises NotReadyError when MLflow does not answer."""
        try:
            with self._answering():
                found = self._client.get_registered_model(name).aliases
        except RestException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {}
        return {str(alias): int(version) for alias, version in found.items()}

    def run(self, version: RegisteredVersion) -> TrainingRun:
        """Raises NotFoundError when the run was deleted, NotReadyError when MLflow does not answer."""
        with self._answering(), self._keeping_run_of(version):
            found = self._client.get_run(version.run_id)
        return TrainingRun(found.info.run_id, found.info.experiment_id, dict(found.data.metrics))

    def metrics(self, versions: Sequence[RegisteredVersion]) -> dict[str, dict[str, float]]:
        """Metrics of the versions' training runs, by run id; a run that was deleted is missing."""
        run_ids = sorted({version.run_id for version in versions if version.run_id})
        found: dict[str, dict[str, float]] = {}
        with self._answering():
            experiments = (
                [one.experiment_id for one in self._client.search_experiments(ViewType.ALL)] if run_ids else []
            )
            for start in range(0, len(run_ids), _RUNS_AT_ONCE):
                quoted = ", ".join(f"'{run_id}'" for run_id in run_ids[start : start + _RUNS_AT_ONCE])
                runs = self._client.search_runs(experiments, f"attributes.run_id IN ({quoted})")
                found |= {run.info.run_id: dict(run.data.metrics) for run in runs}
        return found

    def download(self, version: RegisteredVersion, folder: Path) -> Path:
        """Copy the version's files into `folder`; where they are."""
        with self._answering():
            # Of a `models:/` address MLflow would ask the process-wide server instead of this one.
            stored = self._client.get_model_version_download_uri(version.name, str(version.version))
            copied = mlflow.artifacts.download_artifacts(
                artifact_uri=stored, dst_path=str(folder), tracking_uri=self._uri
            )
        return Path(copied)

    def run_file(self, version: RegisteredVersion, name: str, folder: Path) -> Path:
        """Copy one file that the version's training run logged into `folder`; where it is.

        Raises:
            IntegrityError: the run has no such file.
            NotFoundError: the run was deleted.
            NotReadyError: the MLflow server does not answer.
        """
        with self._answering(), self._keeping_run_of(version):
            # MLflow's download says the same of a file that is missing and of a server that is down.
            logged = self._client.list_artifacts(version.run_id, PurePosixPath(name).parent.as_posix().strip("."))
            if name not in {one.path for one in logged}:
                raise IntegrityError(
                    f"The run of {version.name} version {version.version} has no file {name}; train it again."
                )
            copied = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path=name, dst_path=str(folder), tracking_uri=self._uri
            )
        return Path(copied)

    def promote(self, version: RegisteredVersion) -> None:
        """Move the alias; repeating it changes nothing."""
        with self._answering():
            self._client.set_registered_model_alias(version.name, CHAMPION, str(version.version))

    def tag(self, version: RegisteredVersion, tags: dict[str, str]) -> None:
        with self._answering():
            for key, value in tags.items():
                self._client.set_model_version_tag(version.name, str(version.version), key, value)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """A server that cannot be reached is NotReadyError; what it answers with, also an error, passes."""
        try:
            yield
        except RestException:
            raise
        except MlflowException as error:
            raise NotReadyError(f"MLflow does not answer at {self._uri}: {error.message}") from error

    @contextmanager
    def _keeping_run_of(self, version: RegisteredVersion) -> Iterator[None]:
        """A run that is gone is NotFoundError."""
        try:
            yield
        except RestException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise NotFoundError(
                f"MLflow at {self._uri} no longer has run {version.run_id}, which made {version.name} version "
                f"{version.version}; train it again."
            ) from error


def _version(found: Any) -> RegisteredVersion:
    return RegisteredVersion(
        found.name,
        int(found.version),
        str(found.run_id),
        str(found.source),
        {str(k): str(v) for k, v in found.tags.items()},
        datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
    )
