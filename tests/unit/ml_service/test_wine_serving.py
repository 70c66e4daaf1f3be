"""What is served when MLflow, or a new champion, fails: the last good model."""

import numpy as np
import pytest

from cuvee.errors import CuveeError, IntegrityError, NotReadyError
from cuvee.registry import RegisteredVersion
from ml_service import inference
from ml_service.inference import ServedModel, Serving


class FakeRegistry:
    """A champion that the test sets, or an error instead of one."""

    def __init__(self) -> None:
        self.now: RegisteredVersion | CuveeError | None = None

    def champion(self, name: str) -> RegisteredVersion | None:
        if isinstance(self.now, CuveeError):
            raise self.now
        return self.now


def version(number: int) -> RegisteredVersion:
    return RegisteredVersion("wine-quality", number, f"run-{number}", "", {})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FakeRegistry:
    """Every version loads, but for those from 90 on."""
    registry = FakeRegistry()
    registry.loads = []  # type: ignore[attr-defined]

    def load(_: object, wanted: RegisteredVersion) -> ServedModel:
        registry.loads.append(wanted.version)  # type: ignore[attr-defined]
        if wanted.version >= 90:
            raise IntegrityError("its files are damaged")
        now = inference.datetime.now(inference.UTC)
        return ServedModel(wanted.name, wanted.version, wanted.identity, {}, "", now, None)

    monkeypatch.setattr(inference, "load", load)
    return registry


def test_with_no_champion_the_message_says_what_to_do(registry: FakeRegistry) -> None:
    serving = Serving(registry)  # type: ignore[arg-type]
    serving.refresh()

    with pytest.raises(NotReadyError, match="No champion yet: run the DAG train_wine"):
        _ = serving.model


def test_while_mlflow_is_down_before_the_first_model_the_message_says_so(registry: FakeRegistry) -> None:
    registry.now = NotReadyError("MLflow does not answer at http://x")
    serving = Serving(registry)  # type: ignore[arg-type]
    serving.refresh()

    with pytest.raises(NotReadyError, match="No model could be loaded yet: MLflow does not answer"):
        _ = serving.model


def test_a_champion_is_loaded_once_and_a_new_one_replaces_it(registry: FakeRegistry) -> None:
    serving = Serving(registry)  # type: ignore[arg-type]
    for number in (1, 1, 2, 2, 1):
        registry.now = version(number)
        serving.refresh()
        assert serving.model.version == number

    assert registry.loads == [1, 2, 1]  # type: ignore[attr-defined]


def test_a_version_number_that_comes_again_with_another_run_is_another_model(registry: FakeRegistry) -> None:
    serving = Serving(registry)  # type: ignore[arg-type]
    registry.now = version(1)
    serving.refresh()
    registry.now = RegisteredVersion("wine-quality", 1, "run-of-a-new-registry", "", {})
    serving.refresh()

    assert serving.model.identity == "1@run-of-a-new-registry"


def test_a_champion_that_fails_leaves_the_last_good_one_and_is_not_fetched_again_at_once(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = Serving(registry)  # type: ignore[arg-type]
    for number in (1, 90, 90):
        registry.now = version(number)
        serving.refresh()

    failure = serving.failure
    assert serving.model.version == 1
    assert failure is not None
    assert failure.message == "version 90: its files are damaged"
    assert registry.loads == [1, 90]  # type: ignore[attr-defined]

    monkeypatch.setattr(inference, "_RETRY_SECONDS", 0.0)
    serving.refresh()
    assert registry.loads == [1, 90, 90]  # type: ignore[attr-defined]
    assert serving.failure is not None
    assert serving.failure.since == failure.since


def test_what_failed_is_forgotten_once_the_champion_is_served_again(registry: FakeRegistry) -> None:
    serving = Serving(registry)  # type: ignore[arg-type]
    for now in (version(1), version(90), NotReadyError("down"), version(1)):
        registry.now = now
        serving.refresh()

    assert serving.failure is None


def test_mlflow_going_down_does_not_take_the_model_away(registry: FakeRegistry) -> None:
    serving = Serving(registry)  # type: ignore[arg-type]
    registry.now = version(3)
    serving.refresh()
    registry.now = NotReadyError("MLflow does not answer")
    serving.refresh()

    assert serving.model.version == 3
    assert serving.failure is not None
    assert serving.failure.message == "MLflow does not answer"


def test_a_model_predicts_with_named_columns() -> None:
    class Mean:
        def predict(self, inputs: "inference.Any") -> np.ndarray:
            assert list(inputs.columns)[-1] == "is_white"
            return np.asarray(inputs.mean(axis=1))

    model = ServedModel("m", 1, "1@r", {}, "", inference.datetime.now(inference.UTC), Mean())

    assert model.predict(np.full((2, 12), 3.0)).tolist() == [3.0, 3.0]
    assert "Mean" not in repr(model)
