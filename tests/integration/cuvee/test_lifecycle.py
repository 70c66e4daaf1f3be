"""`cuvee up` and `down` with a real supervisor; what it supervises only sleeps."""

import stat
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from cuvee.errors import PreconditionError
from cuvee.settings import Settings
from cuvee.stack import lifecycle, postgres, preflight, supervision
from cuvee.stack.programs import Program

pytestmark = pytest.mark.integration

CONSOLE = Console(file=StringIO())


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home whose stack is two sleepers, down again after the test."""

    def sleepers(settings: Settings) -> list[Program]:
        return [Program(name, ["/bin/sleep", "1000"], lambda: True) for name in ("postgres", "ml_service")]

    for name in ("CUVEE_WINE_APPROVAL", "CUVEE_DATABASE_URL", "CUVEE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(lifecycle, "programs", sleepers)
    monkeypatch.setattr(preflight, "check", lambda *_: None)
    monkeypatch.setattr(postgres, "prepare", lambda *_: None)
    monkeypatch.setattr(postgres, "make_databases", lambda *_: None)
    monkeypatch.setattr(lifecycle, "_migrate_airflow", lambda *_: None)
    (tmp_path / ".env").write_text("CUVEE_WINE_APPROVAL=automatic\nAIRFLOW_PASSWORD=not-to-be-told\n")
    yield tmp_path
    lifecycle.down(Settings.load(tmp_path), CONSOLE)


def up(home: Path) -> None:
    lifecycle.up(Settings.load(home), CONSOLE)


def change(home: Path, old: str, new: str) -> None:
    env = home / ".env"
    env.write_text(env.read_text().replace(old, new))


def approval(home: Path) -> str:
    """The setting as the running process has it."""
    pid = supervision.Supervisor(Settings.load(home)).states()["ml_service"].pid
    return psutil.Process(pid).environ()["CUVEE_WINE_APPROVAL"]


def test_settings_that_were_changed_under_a_running_stack_are_named_and_need_a_down(home: Path) -> None:
    up(home)
    change(home, "automatic", "human")

    with pytest.raises(PreconditionError, match=r"CUVEE_WINE_APPROVAL.*cuvee down"):
        up(home)

    lifecycle.down(Settings.load(home), CONSOLE)
    up(home)
    assert approval(home) == "human"


def test_up_again_with_the_same_settings_changes_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up(home)
    monkeypatch.setenv("SHLVL", "7")
    monkeypatch.setenv("MAKELEVEL", "1")

    up(home)

    assert approval(home) == "automatic"


def test_up_after_a_killed_supervisor_takes_the_changed_settings(home: Path) -> None:
    up(home)
    supervisor = psutil.Process(int((Settings.load(home).run_dir / "supervisord.pid").read_text()))
    supervisor.kill()
    supervisor.wait(10)
    change(home, "automatic", "human")

    up(home)

    assert approval(home) == "human"


def test_what_is_kept_of_the_settings_is_hashes_that_only_the_owner_reads(home: Path) -> None:
    up(home)

    kept = Settings.load(home).run_dir / "started-with.json"

    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "AIRFLOW_PASSWORD" in kept.read_text()
    assert "not-to-be-told" not in kept.read_text()
