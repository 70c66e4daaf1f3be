"""docker-compose.yml keeps its promises: nothing public, no default secret, the same Airflow as on one machine."""

import re
import subprocess
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from cuvee.settings import PROJECT_DIR, Settings
from cuvee.stack import programs
from ml_service import recording

_TEXT = (PROJECT_DIR / "docker-compose.yml").read_text()
_EXAMPLE = (PROJECT_DIR / ".env.example").read_text()
_SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(_TEXT)["services"]
_SECRETS = {
    "POSTGRES_PASSWORD",
    "CUVEE_API_KEY",
    "AIRFLOW_PASSWORD",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_API_SECRET_KEY",
    "AIRFLOW_FERNET_KEY",
}
# Where the two differ on purpose: addresses, paths, and an api-server that one machine binds by its command line.
_PLACES = {
    "CORE__DAGS_FOLDER",
    "CORE__PLUGINS_FOLDER",
    "CORE__FERNET_KEY",
    "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
    "CORE__EXECUTION_API_SERVER_URL",
    "DATABASE__SQL_ALCHEMY_CONN",
    "API__BASE_URL",
    "API__SECRET_KEY",
    "API_AUTH__JWT_SECRET",
    "LOGGING__BASE_LOG_FOLDER",
}
_ADDRESSES = {"database_url", "mlflow_uri", "spark_url", "rag_url", "ml_url"} | {
    f"public_{name}_url" for name in ("mlflow", "rag", "ml")
}
# Of one machine's stack: the images fix their home and their ports, and keep objects in the volume `data`.
_LOCAL = {"home", "airflow_port", "mlflow_port", "rag_port", "ml_port", "spark_connect_port", "objects_url"}
# The first API key goes to `init`, Spark's memory into a command line.
_ELSEWHERE = {"api_key", "spark_driver_memory"}


def test_every_secret_is_required_and_none_has_a_default() -> None:
    used = re.findall(r"\$\{(\w+)(:?[-?])?", _TEXT)
    operators = {name: {operator for found, operator in used if found == name} for name in _SECRETS}
    assert operators == {name: {":?"} for name in _SECRETS}


def test_only_the_four_web_addresses_are_published_and_only_on_this_machine() -> None:
    published = {name: service["ports"] for name, service in _SERVICES.items() if "ports" in service}
    assert published == {
        "airflow-api": ["127.0.0.1:${CUVEE_AIRFLOW_PORT:-8080}:8080"],
        "mlflow": ["127.0.0.1:${CUVEE_MLFLOW_PORT:-5000}:5000"],
        "rag_service": ["127.0.0.1:${CUVEE_RAG_PORT:-8001}:8001"],
        "ml_service": ["127.0.0.1:${CUVEE_ML_PORT:-8002}:8002"],
    }


def test_whatever_serves_others_has_a_health_check_and_a_memory_limit() -> None:
    assert {name for name, service in _SERVICES.items() if "healthcheck" not in service} == {"init", "inbox-access"}
    assert {name for name, service in _SERVICES.items() if "mem_limit" not in service} == set()


@pytest.mark.parametrize("name", ["spark-master", "spark-worker", "spark-connect", "inbox-access"])
def test_containers_that_open_other_peoples_files_get_no_secret(name: str) -> None:
    assert not [secret for secret in _SECRETS | {"CUVEE_ANSWER_API_KEY"} if secret in str(_SERVICES[name])]


@pytest.mark.parametrize("name", ["airflow-scheduler", "airflow-triggerer", "rag_service", "ml_service"])
def test_every_setting_reaches_what_reads_it(name: str) -> None:
    expected = {f"CUVEE_{field.upper()}" for field in set(Settings.model_fields) - _LOCAL - _ELSEWHERE}
    assert expected <= set(_SERVICES[name]["environment"])


def test_executors_get_every_setting_that_is_no_secret() -> None:
    secret = {"database_url", "answer_api_key"}
    expected = {f"CUVEE_{field.upper()}" for field in set(Settings.model_fields) - _LOCAL - _ELSEWHERE - secret}
    assert expected <= set(_SERVICES["spark-worker"]["environment"])


@pytest.mark.parametrize("name", ["wine", "golden"])
def test_tasks_see_the_data_that_comes_with_the_project(name: str) -> None:
    assert (PROJECT_DIR / "data" / name).is_dir()
    assert f"./data/{name}:/var/lib/cuvee/data/{name}:ro" in _SERVICES["airflow-scheduler"]["volumes"]


def test_the_example_of_env_names_every_setting_and_no_other() -> None:
    in_example = set(re.findall(r"^#?(CUVEE_\w+)=", _EXAMPLE, re.MULTILINE))
    fields = set(Settings.model_fields) - _ADDRESSES - {"home", "objects_url"}
    assert in_example - {"CUVEE_INBOX"} == {f"CUVEE_{field.upper()}" for field in fields}


def test_a_shell_reads_the_example_of_env_as_we_do() -> None:
    lines = "\n".join(re.findall(r"^#(CUVEE_\w+=.*)", _EXAMPLE, re.MULTILINE))
    read = subprocess.run(
        ["/bin/sh", "-c", f"set -a\n{lines}\nenv"], env={}, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    expected = {f"{name}={value}" for name, value in dotenv_values(stream=StringIO(lines)).items()}
    assert expected <= set(read)


def test_no_setting_is_passed_on_that_does_not_exist() -> None:
    passed = set(re.findall(r"^  (CUVEE_\w+):$", _TEXT, re.MULTILINE))
    assert passed <= {f"CUVEE_{field.upper()}" for field in Settings.model_fields}


def test_airflow_is_configured_as_on_one_machine(tmp_path: Path) -> None:
    secrets = dict.fromkeys(_SECRETS, "x")
    local = programs.environment(Settings.load(tmp_path), secrets, "id")
    expected = {
        name: value
        for name, value in local.items()
        if name.startswith("AIRFLOW__") and name.removeprefix("AIRFLOW__") not in _PLACES
    }
    found = {name: str(_SERVICES["airflow-api"]["environment"].get(name)) for name in expected}
    assert {name: value.lower() for name, value in found.items()} == {
        name: value.lower() for name, value in expected.items()
    }


def test_spark_connect_is_configured_as_on_one_machine(tmp_path: Path) -> None:
    local = {program.name: program.command for program in programs.programs(Settings.load(tmp_path))}["spark"]
    script = (PROJECT_DIR / "docker" / "spark-connect.sh").read_text()
    # Addresses and folders differ on purpose.
    differing = ("ddress", "spark.driver.host", ".port", ".dir")
    expected = {
        word for word in local if re.match(r"spark\.[\w.]+=", word) and not word.split("=")[0].endswith(differing)
    }
    assert "spark.python.daemon.module=spark_jobs.daemon" in expected
    assert expected <= set(re.findall(r"--conf (\S+)", script))


def test_ml_service_is_not_killed_while_it_still_writes_what_it_has_answered(tmp_path: Path) -> None:
    local = {program.name: program for program in programs.programs(Settings.load(tmp_path))}["ml_service"]
    assert local.stop_seconds >= recording._CLOSING_SECONDS + 10
    assert _SERVICES["ml_service"].get("stop_grace_period") == f"{local.stop_seconds}s"


@pytest.mark.parametrize("path", ["docker/pipeline.Dockerfile", "ml_service/Dockerfile"])
def test_an_image_with_lightgbm_has_the_openmp_that_it_loads(path: str) -> None:
    first_stages, _, last_stage = (PROJECT_DIR / path).read_text().rpartition("\nFROM ")
    assert "--extra ml" in first_stages
    assert "libgomp1" in last_stage
