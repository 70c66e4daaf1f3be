"""Locks, notifications and migrations on a real PostgreSQL."""

import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from cuvee import migrations
from cuvee.database import notify, single_writer
from cuvee.errors import ConfigurationError
from cuvee.listener import Listener
from cuvee.settings import Settings

pytestmark = pytest.mark.integration

HOLD = """
import sys, time
from cuvee.database import connect, single_writer
with single_writer(connect(sys.argv[1]), "index"):
    print("held", flush=True)
    time.sleep(600)
"""


def eventually(condition: Callable[[], bool], timeout_seconds: float = 10) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def waiting_for_advisory_locks(engine: sa.Engine) -> int:
    statement = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with engine.connect() as connection:
        return int(connection.execute(sa.text(statement)).scalar_one())


def test_a_second_writer_waits_for_the_first(engine: sa.Engine) -> None:
    order: list[str] = []

    def second() -> None:
        with single_writer(engine, "index"):
            order.append("second")

    with single_writer(engine, "index"):
        thread = threading.Thread(target=second)
        thread.start()
        assert eventually(lambda: waiting_for_advisory_locks(engine) == 1)
        order.append("first")
    thread.join(timeout=10)

    assert order == ["first", "second"]


def test_writers_of_different_names_do_not_wait_for_each_other(engine: sa.Engine) -> None:
    with single_writer(engine, "index"), single_writer(engine, "wine"):
        assert waiting_for_advisory_locks(engine) == 0


def test_an_error_inside_frees_the_lock(engine: sa.Engine) -> None:
    with pytest.raises(RuntimeError, match="mid-work"), single_writer(engine, "index"):
        raise RuntimeError("mid-work")

    with single_writer(engine, "index"):
        assert waiting_for_advisory_locks(engine) == 0


def test_the_lock_of_a_killed_process_is_free_again(engine: sa.Engine, database_url: str) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, database_url], stdout=subprocess.PIPE, text=True)
    got = threading.Event()

    def waiter() -> None:
        with single_writer(engine, "index"):
            got.set()

    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        thread = threading.Thread(target=waiter)
        thread.start()
        assert eventually(lambda: waiting_for_advisory_locks(engine) == 1)
        assert not got.is_set()
    finally:
        holder.kill()
        holder.wait()
    thread.join(timeout=10)

    assert got.is_set()


class Counted:
    """A callback that counts, and can be made to fail."""

    def __init__(self) -> None:
        self.calls = 0
        self.failing = False

    def __call__(self) -> None:
        self.calls += 1
        if self.failing:
            raise ValueError("broken reload")


@pytest.fixture
def changed() -> Counted:
    return Counted()


@pytest.fixture
def listener(database_url: str, changed: Counted):
    thread = Listener(database_url, "cuvee_test", changed, check_seconds=600)
    thread.start()
    assert eventually(lambda: changed.calls == 1), "it looks once when it has connected"
    yield thread
    thread.stop()
    assert not thread.is_alive()


def send(engine: sa.Engine, channel: str = "cuvee_test") -> None:
    with engine.begin() as connection:
        notify(connection, channel, "7")


def test_a_notification_calls_back_within_a_second(engine: sa.Engine, listener: Listener, changed: Counted) -> None:
    started = time.monotonic()
    send(engine)

    assert eventually(lambda: changed.calls == 2)
    assert time.monotonic() - started < 1


def test_other_channels_do_not_call_back(engine: sa.Engine, listener: Listener, changed: Counted) -> None:
    send(engine, "cuvee_other")
    send(engine)

    assert eventually(lambda: changed.calls == 2)
    time.sleep(0.2)
    assert changed.calls == 2


def test_nothing_is_heard_of_a_transaction_that_was_rolled_back(
    engine: sa.Engine, listener: Listener, changed: Counted
) -> None:
    with engine.connect() as connection:
        notify(connection, "cuvee_test", "7")
        connection.rollback()
    time.sleep(0.7)

    assert changed.calls == 1


def test_a_callback_that_fails_does_not_end_the_listening(
    engine: sa.Engine, listener: Listener, changed: Counted
) -> None:
    changed.failing = True
    send(engine)
    assert eventually(lambda: changed.calls == 2)
    changed.failing = False

    send(engine)

    assert eventually(lambda: changed.calls == 3)


def test_after_its_connection_was_terminated_it_looks_again_and_goes_on_listening(
    engine: sa.Engine, listener: Listener, changed: Counted
) -> None:
    terminate = sa.text(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where query = 'LISTEN \"cuvee_test\"'"
    )
    with engine.connect() as connection:
        assert connection.execute(terminate).scalar_one() == 1

    assert eventually(lambda: changed.calls == 2), "it looks again when it has reconnected"
    send(engine)
    assert eventually(lambda: changed.calls == 3)


def test_it_listens_where_a_thousand_files_are_open(
    engine: sa.Engine, database_url: str, changed: Counted, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    (tmp_path / "one").touch()
    with ExitStack() as opened:
        for _ in range(1_100):
            opened.enter_context((tmp_path / "one").open())
        thread = Listener(database_url, "cuvee_test", changed, check_seconds=600)
        thread.start()
        assert eventually(lambda: changed.calls == 1)
        send(engine)
        assert eventually(lambda: changed.calls == 2)
        thread.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not thread.is_alive()


def test_it_looks_from_time_to_time_without_being_told(database_url: str, changed: Counted) -> None:
    thread = Listener(database_url, "cuvee_test", changed, check_seconds=0.5)
    thread.start()
    try:
        assert eventually(lambda: changed.calls >= 3)
    finally:
        thread.stop()


@pytest.mark.parametrize("name", ["my wines", "a+b&c=d%25"])
def test_it_listens_in_a_home_of_any_name(name: str, database_url: str, changed: Counted) -> None:
    # Short, as a socket's address is: a longer home has its sockets elsewhere.
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        settings = Settings(home=Path(folder) / name)
        settings.run_dir.mkdir(parents=True)
        settings.socket_dir.symlink_to(str(sa.make_url(database_url).query["host"]))
        thread = Listener(settings.local_database_url("postgres"), "cuvee_test", changed, check_seconds=600)
        thread.start()
        try:
            assert eventually(lambda: changed.calls == 1)
        finally:
            thread.stop()


def test_migrations_are_found_in_a_project_of_any_name(monkeypatch: pytest.MonkeyPatch, engine: sa.Engine) -> None:
    monkeypatch.setattr(migrations, "__file__", "/home/100% my wine/cuvee/migrations/__init__.py")

    with engine.connect() as connection:
        found = migrations.config(connection).get_main_option("script_location")

    assert found == "/home/100% my wine/cuvee/migrations"


def test_the_migrations_make_exactly_the_schema_in_code(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        command.check(migrations.config(connection))  # raises AutogenerateDiffsDetected where they differ


def test_the_database_of_a_newer_release_is_told(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        ours = connection.execute(sa.text("select version_num from alembic_version")).scalar_one()
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    try:
        with pytest.raises(ConfigurationError, match=r"newer release.*9999.*CUVEE_DATABASE_URL"):
            migrations.upgrade(engine)
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text("update alembic_version set version_num = :ours"), {"ours": ours})


def test_upgrading_again_changes_nothing(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        before = connection.execute(sa.text("select version_num from alembic_version")).scalars().all()
    migrations.upgrade(engine)
    with engine.connect() as connection:
        after = connection.execute(sa.text("select version_num from alembic_version")).scalars().all()

    assert before == after and len(after) == 1
