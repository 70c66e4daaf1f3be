"""What is served when MLflow, or a new champion, fails: the last good model."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cuvee.errors import CuveeError, IntegrityError, NotFoundError, NotReadyError
from cuvee.registry import RegisteredVersion
from ml_service import artifact, inference, routing
from ml_service.inference import ServedModel
from ml_service.routing import Serving

REGISTERED_AT = datetime(2026, 11, 24, tzinfo=UTC)


class FakeRegistry:
    """A champion that the test sets, or an error instead of one."""

    def __init__(self) -> None:
        self.now: RegisteredVersion | CuveeError | None = None
        self.challenger: RegisteredVersion | None = None
        self.known: dict[int, RegisteredVersion] = {}

    def aliased(self, name: str, alias: str) -> RegisteredVersion | None:
        if alias == "challenger":
            return self.challenger
        if isinstance(self.now, CuveeError):
            raise self.now
        return self.now

    def download(self, version: RegisteredVersion, folder: Path) -> Path:
        return folder / str(version.version)

    def version(self, name: str, number: int) -> RegisteredVersion:
        if number not in self.known:
            raise NotFoundError(f"no version {number}")
        return self.known[number]


def version(number: int, **tags: str) -> RegisteredVersion:
    named = {f"cuvee.challenger_{name}": value for name, value in tags.items()}
    return RegisteredVersion("wine-quality", number, f"run-{number}", "", named, REGISTERED_AT)


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
        return ServedModel(wanted.name, wanted.version, wanted.identity, {}, "", now, None, None, None)  # type: ignore[arg-type]

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
    registry.now = RegisteredVersion("wine-quality", 1, "run-of-a-new-registry", "", {}, REGISTERED_AT)
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

    monkeypatch.setattr(routing, "_RETRY_SECONDS", 0.0)
    serving.refresh()
    assert registry.loads == [1, 90, 90]  # type: ignore[attr-defined]
    assert serving.failure is not None
    assert serving.failure.since == failure.since


@pytest.mark.parametrize("error", [AttributeError("no monotonic_cst"), RuntimeError("[ONNXRuntimeError] : 10")])
def test_a_champion_that_fails_in_a_way_nobody_thought_of_fails_like_any_other(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    loads = []

    def load(folder: Path) -> artifact.Artifact:
        loads.append(folder.name)
        raise error

    monkeypatch.setattr(artifact, "load", load)
    registry = FakeRegistry()
    registry.known = {90: version(90)}
    serving = serving_with(registry, 90, version(2))
    serving.refresh()

    assert loads == ["90", "2"]
    assert serving.failure is not None and serving.challenger_failure is not None
    for failure in (serving.failure, serving.challenger_failure):
        assert str(error) in failure.message
        assert "remove the alias champion" in failure.message
    with pytest.raises(IntegrityError):
        serving.load_named(90)


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


def serving_with(registry: FakeRegistry, champion: int, challenger: RegisteredVersion | None) -> Serving:
    registry.now, registry.challenger = version(champion), challenger
    serving = Serving(registry)  # type: ignore[arg-type]
    serving.refresh()
    return serving


def test_a_challenger_is_asked_in_shadow_unless_its_tags_say_otherwise(registry: FakeRegistry) -> None:
    route = serving_with(registry, 1, version(2)).route()

    assert (route.model.version, route.role) == (1, "champion")
    assert route.shadow is not None and route.shadow.version == 2


def test_a_canary_answers_its_share_of_the_requests(registry: FakeRegistry) -> None:
    serving = serving_with(registry, 1, version(2, mode="canary", weight="0.25"))
    routes = [serving.route() for _ in range(4000)]

    canary = [route for route in routes if route.role == "canary"]
    assert 850 < len(canary) < 1150
    assert {route.model.version for route in canary} == {2}
    assert all(route.shadow is None for route in routes)


@pytest.mark.parametrize("tags", [{"mode": "canary", "weight": "2"}, {"mode": "canary", "weight": "x"}, {"mode": "b"}])
def test_tags_that_say_nothing_end_the_trial_and_are_told(registry: FakeRegistry, tags: dict[str, str]) -> None:
    serving = serving_with(registry, 1, version(2, **tags))

    assert (serving.route().role, serving.route().shadow) == ("champion", None)
    assert serving.challenger_failure is not None
    assert "cuvee.challenger_mode" in serving.challenger_failure.message


def test_a_challenger_that_fails_to_load_harms_nobody(registry: FakeRegistry) -> None:
    serving = serving_with(registry, 1, version(90))

    assert (serving.route().model.version, serving.route().shadow, serving.failure) == (1, None, None)
    assert serving.challenger_failure is not None


def test_a_trial_ends_when_the_alias_goes_or_the_challenger_becomes_champion(registry: FakeRegistry) -> None:
    serving = serving_with(registry, 1, version(2))
    registry.challenger = None
    serving.refresh()
    assert serving.route().shadow is None

    registry.now, registry.challenger = version(2), version(2)
    serving.refresh()
    assert (serving.route().model.version, serving.route().shadow) == (2, None)


def test_a_version_that_is_named_is_loaded_once_and_the_one_unused_longest_goes(registry: FakeRegistry) -> None:
    serving = serving_with(registry, 1, None)
    registry.known = {number: version(number) for number in range(1, 8)}
    assert serving.named(3) is None
    for number in (3, 4, 5, 6, 7):
        assert serving.load_named(number).role == "named"

    assert serving.named(3) is None
    found = serving.named(7)
    assert found is not None and found.model.version == 7
    assert registry.loads == [1, 3, 4, 5, 6, 7]  # type: ignore[attr-defined]
    # The champion is in memory already.
    assert serving.load_named(1).model is serving.model
    assert registry.loads == [1, 3, 4, 5, 6, 7]  # type: ignore[attr-defined]


def test_an_unknown_or_damaged_version_is_refused_and_nothing_else_changes(registry: FakeRegistry) -> None:
    serving = serving_with(registry, 1, None)
    registry.known = {90: version(90)}

    with pytest.raises(NotFoundError):
        serving.load_named(7)
    with pytest.raises(IntegrityError):
        serving.load_named(90)
    assert serving.route().model.version == 1


def test_the_service_imports_no_torch_where_it_is_installed_for_others() -> None:
    script = "import sys, ml_service.api.app; print({'torch', 'airflow', 'faiss'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)

    assert (done.stdout.strip(), done.stderr) == ("set()", "")
