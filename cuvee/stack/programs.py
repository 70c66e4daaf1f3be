"""What runs on one machine: command, environment, health and port of every process."""

import importlib.util
import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
from pydantic import SecretStr

from cuvee.settings import PROJECT_DIR, Settings
from cuvee.stack import java, postgres


@dataclass(frozen=True)
class Program:
    """One supervised process."""

    name: str
    command: list[str]
    healthy: Callable[[], bool]
    needs: tuple[str, ...] = ()
    port: int | None = None
    port_setting: str = ""
    url: str = ""
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 20
    stop_group: bool = False
    """Whether the stop signal goes to the children too (where the parent does not pass it on)."""
    environment: dict[str, str] = field(default_factory=dict)


def programs(settings: Settings) -> list[Program]:
    """Every process, each after those that it needs."""
    postgresql = Program(
        "postgres",
        postgres.command(settings),
        lambda: postgres.answers(settings),
        user=postgres.server_user(),
        stop_signal="INT",  # PostgreSQL's fast shutdown
    )
    return [postgresql, _mlflow(settings), _spark(settings), *_airflow(settings), *_services(settings)]


def _mlflow(settings: Settings) -> Program:
    url = f"http://127.0.0.1:{settings.mlflow_port}"
    command = [_script("mlflow"), "server", "--host", "127.0.0.1", "--port", str(settings.mlflow_port)]
    command += ["--workers", "1", "--backend-store-uri", settings.local_database_url("mlflow")]
    command += ["--artifacts-destination", str(settings.mlruns_dir), "--serve-artifacts"]
    return Program(
        "mlflow",
        command,
        lambda: _get_ok(f"{url}/health"),
        needs=("postgres",),
        port=settings.mlflow_port,
        port_setting="CUVEE_MLFLOW_PORT",
        url=url,
        stop_group=True,
        environment={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
    )


def _spark(settings: Settings) -> Program:
    home = _package_dir("pyspark")
    configuration = {
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(settings.spark_connect_port),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        # Python workers and the models they hold are given back after an idle day.
        "spark.connect.session.manager.defaultSessionTimeout": "24h",
        "spark.python.daemon.module": "spark_jobs.daemon",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.warehouse.dir": str(settings.data_dir / "spark" / "warehouse"),
        "spark.local.dir": str(settings.data_dir / "spark" / "local"),
    }
    command = [str(home / "bin" / "spark-submit"), "--master", "local[*]"]
    command += ["--driver-memory", settings.spark_driver_memory]
    command += [word for name, value in configuration.items() for word in ("--conf", f"{name}={value}")]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer"]
    command += [str(next((home / "jars").glob("spark-connect_*.jar")))]
    environment = {"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    java_home = java.find(settings)
    if java_home:
        environment["JAVA_HOME"] = str(java_home)
    return Program(
        "spark",
        command,
        lambda: _accepts(settings.spark_connect_port),
        port=settings.spark_connect_port,
        port_setting="CUVEE_SPARK_CONNECT_PORT",
        url=settings.resolved_spark_url,
        stop_group=True,
        environment=environment,
    )


def _airflow(settings: Settings) -> list[Program]:
    """Airflow's four processes, each supervised: `airflow standalone` does not restart one that dies (ADR 1)."""
    url = f"http://127.0.0.1:{settings.airflow_port}"

    def component(name: str) -> Callable[[], bool]:
        return lambda: _component_healthy(f"{url}/api/v2/monitor/health", name)

    api = Program(
        "airflow-api",
        [
            _script("airflow"),
            "api-server",
            "--host",
            "127.0.0.1",
            "--port",
            str(settings.airflow_port),
            "--workers",
            "1",
        ],
        lambda: _get_ok(f"{url}/api/v2/version"),
        needs=("postgres",),
        port=settings.airflow_port,
        port_setting="CUVEE_AIRFLOW_PORT",
        url=url,
        stop_group=True,
    )
    # Logs are read from the shared folder; the log servers would listen on every interface.
    scheduler = [_script("airflow"), "scheduler", "--skip-serve-logs"]
    triggerer = [_script("airflow"), "triggerer", "--skip-serve-logs"]
    return [
        api,
        # Last of all: from its first second on it runs tasks, which need these.
        Program(
            "airflow-scheduler", scheduler, component("scheduler"), needs=("postgres", "airflow-api", "spark", "mlflow")
        ),
        Program(
            "airflow-dag-processor",
            [_script("airflow"), "dag-processor"],
            component("dag_processor"),
            needs=("postgres",),
        ),
        Program("airflow-triggerer", triggerer, component("triggerer"), needs=("postgres",)),
    ]


def _services(settings: Settings) -> list[Program]:
    found = []
    for name, port in (("rag_service", settings.rag_port), ("ml_service", settings.ml_port)):
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "uvicorn", "--factory", f"{name}.api.app:create_app"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
        found.append(
            Program(
                name,
                command,
                lambda url=url: _get_ok(f"{url}/health/live"),  # type: ignore[misc]
                needs=("postgres",),
                port=port,
                port_setting=f"CUVEE_{name.split('_')[0].upper()}_PORT",
                url=url,
                # A database that is down is waited for before what was answered is given up and said to be lost.
                stop_seconds=30,
            )
        )
    return found


def environment(settings: Settings, secrets: dict[str, str], stack_id: str) -> dict[str, str]:
    """What every process of the stack finds in its environment."""
    airflow_home = settings.data_dir / "airflow"
    airflow = {
        "CORE__DAGS_FOLDER": PROJECT_DIR / "dags",
        "CORE__PLUGINS_FOLDER": PROJECT_DIR / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": 4,
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": False,
        "CORE__FERNET_KEY": secrets["AIRFLOW_FERNET_KEY"],
        "CORE__AUTH_MANAGER": "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": settings.run_dir / "airflow-passwords.json",
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{settings.airflow_port}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": settings.local_database_url("airflow"),
        "API__BASE_URL": f"http://127.0.0.1:{settings.airflow_port}",
        "API__WORKERS": 1,
        "API__SECRET_KEY": secrets["AIRFLOW_API_SECRET_KEY"],
        "API_AUTH__JWT_SECRET": secrets["AIRFLOW_JWT_SECRET"],
        "LOGGING__BASE_LOG_FOLDER": settings.logs_dir / "airflow",
        "DAG_PROCESSOR__REFRESH_INTERVAL": 15,
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": 15,
        # A task whose process was killed is noticed and retried within a minute, not five.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": 60,
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": 10,
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": 30,
        "USAGE_DATA_COLLECTION__ENABLED": False,
    }
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "CUVEE_"))},
        **_ours(settings),
        **{f"AIRFLOW__{name}": str(value) for name, value in airflow.items()},
        "AIRFLOW_HOME": str(airflow_home),
        "CUVEE_STACK_ID": stack_id,
        # Airflow's processes rename themselves, which would overwrite the mark above in /proc.
        "SPT_NOENV": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def choices(settings: Settings, secrets: dict[str, str]) -> dict[str, str]:
    """All by which one start of the stack can differ from another; what `environment` adds follows from it."""
    return _ours(settings) | {name: value for name, value in secrets.items() if name != "CUVEE_API_KEY"}


def _ours(settings: Settings) -> dict[str, str]:
    """All that is set, but for the API key, of which processes only need the hash in the database."""
    given = settings.model_dump(exclude={"api_key"})
    return {f"CUVEE_{name.upper()}": _written(value) for name, value in given.items() if value not in ("", None)}


def _written(value: object) -> str:
    """A setting's value as it is read from the environment."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _package_dir(name: str) -> Path:
    """Folder of an installed package, without importing it."""
    found = importlib.util.find_spec(name)
    assert found is not None and found.origin is not None, f"{name} is in requirements.lock"
    return Path(found.origin).parent


def _script(name: str) -> str:
    return str(Path(sys.executable).parent / name)


@cache
def _http() -> httpx.Client:
    """Made once: reading the certificates that `https` would need takes longer than all else in a health check.

    Each check is a new connection, and none goes through a proxy: all of it is on this machine.
    """
    return httpx.Client(timeout=3, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def _get_ok(url: str) -> bool:
    try:
        return _http().get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _component_healthy(url: str, component: str) -> bool:
    try:
        body = _http().get(url).json()
    except (httpx.HTTPError, ValueError):
        return False
    return bool(body.get(component, {}).get("status") == "healthy")


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
