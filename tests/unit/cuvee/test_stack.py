"""The local stack's parts that need no running process: secrets, supervisor's configuration, what is checked first."""

import configparser
import os
import shlex
import socket
import stat
import subprocess
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.error import URLError

import httpx
import psutil
import pytest
import requests
from supervisor.options import ServerOptions
from typer.testing import CliRunner

from cuvee.cli import app
from cuvee.errors import ConfigurationError, PreconditionError
from cuvee.settings import Settings
from cuvee.stack import java, launch, lifecycle, preflight, secrets, supervision
from cuvee.stack.programs import Program, environment, programs


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("CUVEE_API_KEY", "AIRFLOW_PASSWORD", "AIRFLOW_JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    return Settings(home=tmp_path)


def program(port: int | None = None, name: str = "thing") -> Program:
    return Program(name, ["run"], lambda: True, port=port, port_setting=f"CUVEE_{name.upper()}_PORT")


def test_secrets_are_generated_once_and_readable_by_the_owner_alone(home: Settings) -> None:
    first = secrets.ensure(home)

    assert secrets.ensure(home) == first
    assert stat.S_IMODE(home.env_file.stat().st_mode) == 0o600
    assert len(set(first.values())) == len(first) == 5


def test_what_a_person_wrote_into_env_is_kept_and_missing_secrets_are_added(home: Settings) -> None:
    home.env_file.write_text("CUVEE_RAG_PORT=9001\nAIRFLOW_PASSWORD=mine\nAIRFLOW_JWT_SECRET=\n")

    found = secrets.ensure(home)

    assert home.env_file.read_text().startswith("CUVEE_RAG_PORT=9001\nAIRFLOW_PASSWORD=mine\n")
    assert found["AIRFLOW_PASSWORD"] == "mine"
    assert len(found["AIRFLOW_JWT_SECRET"]) > 40
    assert secrets.ensure(home) == found


def test_secrets_of_the_environment_go_before_env_and_stay_out_of_it(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.env_file.write_text("CUVEE_API_KEY=of-the-file\n")
    monkeypatch.setenv("CUVEE_API_KEY", "of-the-environment")
    monkeypatch.setenv("AIRFLOW_PASSWORD", "of-the-environment")

    found = secrets.ensure(home)

    assert (found["CUVEE_API_KEY"], found["AIRFLOW_PASSWORD"]) == ("of-the-environment", "of-the-environment")
    assert home.env_file.read_text().startswith("CUVEE_API_KEY=of-the-file\n")
    assert "of-the-environment" not in home.env_file.read_text()


def test_a_port_in_use_is_named_with_its_setting_and_holder(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "check", lambda settings: 17)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(PreconditionError, match=rf"Port {port} for thing is in use by .*CUVEE_THING_PORT"):
            preflight.check(home, [program(port)])


def test_two_programs_on_one_port_are_refused(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "check", lambda settings: 17)

    with pytest.raises(PreconditionError, match="CUVEE_OTHER_PORT and CUVEE_THING_PORT are both 61234"):
        preflight.check(home, [program(61234), program(61234, "other")])


def test_too_little_disk_says_how_much_and_what_to_do(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "check", lambda settings: 17)
    monkeypatch.setattr(preflight, "_LEAST_FREE_BYTES", 10**18)

    with pytest.raises(PreconditionError, match="CUVEE_HOME"):
        preflight.check(home, [])


def test_no_java_says_how_to_get_one(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(home.home / "nowhere"))

    with pytest.raises(PreconditionError, match="cuvee fetch-java"):
        java.check(home)


def test_a_java_that_was_fetched_is_used_before_the_machines_own(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", "/old/java")
    assert java.find(home) == Path("/old/java")
    fetched = home.data_dir / "java" / "jdk-17-jre" / "bin" / "java"
    fetched.parent.mkdir(parents=True)
    fetched.touch()

    assert java.find(home) == home.data_dir / "java" / "jdk-17-jre"


def test_every_process_of_the_stack_is_supervised_with_restart_and_a_log(home: Settings) -> None:
    everything = programs(home)
    path = supervision.write_configuration(home, everything)

    written = configparser.RawConfigParser()
    written.read(path)
    assert [p.name for p in everything] == [
        "postgres", "mlflow", "spark", "airflow-api", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer",
        "rag_service", "ml_service",
    ]  # fmt: skip
    for one in everything:
        section = written[f"program:{one.name}"]
        assert (section["autorestart"], section["stdout_logfile"]) == ("true", str(home.logs_dir / f"{one.name}.log"))


@pytest.mark.parametrize("name", ["my wines", "100% wine", "a+b&c=d", "%(home)s"])
def test_a_home_of_any_name_reaches_supervisor_as_it_is(name: str, tmp_path: Path) -> None:
    home = Settings(home=tmp_path / name)
    thing = Program("thing", ["run", str(home.home)], lambda: True, environment={"JAVA_HOME": str(home.home)})

    read = ServerOptions()
    read.realize(["-c", str(supervision.write_configuration(home, [thing])), "-n"])

    section = read.process_group_configs[0].process_configs[0]
    assert shlex.split(section.command)[-2:] == ["run", str(home.home)]
    assert section.environment == {"JAVA_HOME": str(home.home)}
    assert section.stdout_logfile == str(supervision.log_path(home, "thing"))
    assert (read.directory, read.logfile) == (str(home.home), str(supervision.log_path(home, "supervisord")))
    assert read.server_configs[0]["file"] == str(supervision._socket(home))


def test_the_configuration_of_supervisor_holds_no_secret(home: Settings) -> None:
    keys = secrets.ensure(home)

    text = supervision.write_configuration(home, programs(home)).read_text()

    assert [name for name, value in keys.items() if value in text] == []


def test_the_api_key_is_not_in_the_environment_of_the_processes(home: Settings) -> None:
    keys = secrets.ensure(home)

    given = environment(Settings.load(home.home), keys, "id")

    assert keys["CUVEE_API_KEY"] not in given.values()
    assert given["AIRFLOW__CORE__FERNET_KEY"] == keys["AIRFLOW_FERNET_KEY"]


def test_settings_of_this_stack_reach_its_processes(home: Settings) -> None:
    keys = secrets.ensure(home)

    given = environment(Settings(home=home.home, rag_port=9001), keys, "id")

    assert (given["CUVEE_HOME"], given["CUVEE_RAG_PORT"]) == (str(home.home), "9001")


def test_settings_of_every_kind_reach_its_processes_as_they_are_read(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "CUVEE_RECENCY_HALF_LIFE_DAYS": '{"news": 30}',
        "CUVEE_ANSWER_API_KEY": "for-the-answer-server",
        "CUVEE_REWRITE_QUESTIONS": "true",
        "CUVEE_SOAK_HOURS": "1.5",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    keys = secrets.ensure(home)
    ours = Settings.load(home.home)

    for name, value in environment(ours, keys, "id").items():
        monkeypatch.setenv(name, value)

    assert Settings.load(home.home) == ours
    monkeypatch.undo()
    assert "None" not in environment(Settings.load(home.home), keys, "id").values()


def test_a_long_home_still_gives_a_socket_folder_short_enough_for_a_socket(tmp_path: Path) -> None:
    deep = Settings(home=tmp_path / ("x" * 120))

    assert len(str(deep.socket_dir)) <= 90
    assert deep.socket_dir != Settings(home=tmp_path / ("y" * 120)).socket_dir


def test_a_setting_out_of_range_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_CHUNK_TOKENS", "9000")

    with pytest.raises(ConfigurationError, match="CUVEE_CHUNK_TOKENS"):
        Settings.load(tmp_path)


def test_what_a_killed_process_left_behind_is_ended_before_it_starts_again(home: Settings) -> None:
    def start(name: str, stack_id: str) -> subprocess.Popen[bytes]:
        marks = {"CUVEE_PROGRAM": name, "CUVEE_STACK_ID": stack_id, "PATH": "/usr/bin:/bin"}
        return subprocess.Popen(["sleep", "60"], env=marks)

    own, other_program, other_stack = start("thing", "ours"), start("else", "ours"), start("thing", "theirs")
    try:
        ended = launch.end_left_over("thing", "ours")

        assert ended == [own.pid]
        assert not psutil.pid_exists(own.pid)
        assert (other_program.poll(), other_stack.poll()) == (None, None)
    finally:
        for process in (own, other_program, other_stack):
            process.kill()
            process.wait()


@pytest.mark.parametrize("excepted", [None, "intranet.example"])
def test_a_proxy_is_not_asked_for_what_is_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, excepted: str | None
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        if excepted:
            monkeypatch.setenv(name, excepted)
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)

        assert CliRunner().invoke(app, ["status", "--help"]).exit_code == 0

        assert httpx.get(url).status_code == requests.get(url, timeout=5).status_code == 200
        server.shutdown()
    assert not excepted or os.environ["NO_PROXY"].startswith(excepted)


@pytest.mark.parametrize("command", [["index", "list"], ["promotions", "list"], ["index", "rollback"]])
def test_without_a_stack_a_command_says_so(command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_HOME", str(tmp_path))

    told = CliRunner().invoke(app, command)

    assert (told.exit_code, type(told.exception)) == (1, SystemExit)
    assert "cuvee up" in told.stderr


def test_the_status_shows_whole_addresses_in_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    url = "http://127.0.0.1:8080"
    rows = [
        lifecycle.ProgramStatus("airflow-dag-processor", "RUNNING", True, 123_456, 12_345, 1_466_000_000, url),
        lifecycle.ProgramStatus("spark", "RUNNING", False, 123_457, 12_345, 0, "sc://127.0.0.1:15002"),
        lifecycle.ProgramStatus("mlflow", "STOPPED", False, None, 0, 0, "http://127.0.0.1:5000"),
    ]
    monkeypatch.setattr(lifecycle, "status", lambda _: rows)

    told = CliRunner().invoke(app, ["status"])

    shown = [line for line in told.output.splitlines()[1:] if "127.0.0.1" in line]
    assert told.exit_code == 1
    assert [line.split()[-1] for line in shown] == [row.url for row in rows]
    assert "airflow-dag-processor" in shown[0] and " healthy " in shown[0]
    assert "not healthy" in shown[1] and "stopped" in shown[2]


def test_a_download_that_fails_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise URLError("no route to host")

    monkeypatch.setattr(java.jdk, "install", offline)

    with pytest.raises(PreconditionError, match="no route to host"):
        java.fetch(Settings(home=tmp_path))
