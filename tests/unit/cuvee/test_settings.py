"""Settings come from the environment and `.env`, and fail at start by name."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from cuvee.errors import ConfigurationError
from cuvee.settings import PROJECT_DIR, Settings


@pytest.fixture(autouse=True)
def no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("CUVEE_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CUVEE_RAG_PORT", "80"),
        ("CUVEE_RAG_PORT", "eight"),
        ("CUVEE_CHUNK_TOKENS", "100"),
        ("CUVEE_CHUNK_OVERLAP_TOKENS", "-1"),
        ("CUVEE_REFUSAL_THRESHOLD", "2"),
        ("CUVEE_MAX_BAD_ROW_SHARE", "1.5"),
        ("CUVEE_MAX_REQUEST_BYTES", "10"),
        ("CUVEE_LEAST_ANSWERED_SHARE", "0"),
        ("CUVEE_RECENCY_HALF_LIFE_DAYS", '{"news": 0}'),
        ("CUVEE_RECENCY_HALF_LIFE_DAYS", "news=30"),
    ],
)
def test_a_bad_value_is_refused_and_the_setting_is_named(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=name):
        Settings.load(tmp_path)


def test_an_env_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes("CUVEE_EMBEDDER=/modèles\n".encode("latin-1"))

    with pytest.raises(ConfigurationError, match=rf"{tmp_path / '.env'} is not UTF-8"):
        Settings.load(tmp_path)


def test_a_database_url_is_taken_as_many_hosts_print_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_DATABASE_URL", "postgres://me:pw@db.example/cuvee")

    assert Settings.load(tmp_path).resolved_database_url == "postgresql://me:pw@db.example/cuvee"


@pytest.mark.parametrize(
    "url", ["db.example/topsecret", "mysql://me:topsecret@db/x", "postgresql://me:topsecret@db:a/x"]
)
def test_a_broken_database_url_is_named_but_not_shown(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUVEE_DATABASE_URL", url)

    with pytest.raises(ConfigurationError, match=r"CUVEE_DATABASE_URL: .*postgresql://user") as failure:
        Settings.load(tmp_path)

    assert "topsecret" not in f"{failure.value}{failure.value.__cause__}"


def test_every_bad_value_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_RAG_PORT", "1")
    (tmp_path / ".env").write_text("CUVEE_ML_PORT=2\n")

    with pytest.raises(ConfigurationError) as failure:
        Settings.load(tmp_path)

    assert "CUVEE_RAG_PORT" in str(failure.value) and "CUVEE_ML_PORT" in str(failure.value)
    assert str(tmp_path / ".env") in str(failure.value)


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("CUVEE_RAG_PORT=9001\nCUVEE_ML_PORT=9002\nAIRFLOW_PASSWORD=x\n")
    monkeypatch.setenv("CUVEE_RAG_PORT", "9009")

    settings = Settings.load(tmp_path)

    assert (settings.rag_port, settings.ml_port, settings.mlflow_port) == (9009, 9002, 5000)


def test_a_home_given_by_the_environment_holds_all_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_HOME", str(tmp_path))

    settings = Settings.load()

    assert settings.inbox_dir == tmp_path / "data" / "inbox"
    assert settings.resolved_objects_url == str(tmp_path / "data" / "objects")
    assert settings.mlruns_dir == tmp_path / "mlruns"


def test_public_addresses_follow_the_ports_unless_they_are_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_RAG_PORT", "9001")
    monkeypatch.setenv("CUVEE_PUBLIC_ML_URL", "https://wine.example")

    settings = Settings.load(tmp_path)

    assert settings.public_rag_url == "http://127.0.0.1:9001"
    assert settings.public_ml_url == "https://wine.example"


def test_a_long_home_still_gets_a_folder_whose_sockets_have_valid_addresses(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("long" * 40))

    for name in ("/.s.PGSQL.5432", "-supervisor.sock.4194304"):
        assert all(len(f"{Settings(home=tmp_path / ('x' * chars)).socket_dir}{name}") <= 107 for chars in range(1, 200))
    assert settings.socket_dir != Settings(home=tmp_path / ("long" * 41)).socket_dir


@pytest.mark.parametrize("name", ["my wines", "100% wine", "a+b&c=d", "100%25", "#1?"])
def test_the_embedded_database_is_found_in_a_home_of_any_name(name: str) -> None:
    settings = Settings(home=Path("/home") / name)

    url = sa.make_url(settings.local_database_url("airflow"))

    assert (url.database, url.query) == ("airflow", {"host": f"/home/{name}/data/run/sockets"})


@pytest.mark.parametrize("name", ["wine", "golden"])
def test_the_data_of_the_home_goes_before_that_of_the_project(name: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert getattr(settings, f"{name}_dir") == PROJECT_DIR / "data" / name

    (tmp_path / "data" / name).mkdir(parents=True)

    assert getattr(settings, f"{name}_dir") == tmp_path / "data" / name


def test_the_api_key_is_not_shown_when_settings_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUVEE_API_KEY", "cuvee_very-secret")

    assert "very-secret" not in repr(Settings.load(tmp_path))


def test_settings_cannot_be_changed_after_they_were_read(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings(home=tmp_path).rag_port = 9  # type: ignore[misc]
