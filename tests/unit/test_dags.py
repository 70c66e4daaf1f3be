"""DAG files: they parse fast with nothing heavy, and keep the conventions that CONTRIBUTING.md names."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

DAGS = sorted((Path(__file__).parents[2] / "dags").glob("*.py"))
HEAVY = {"torch", "pyspark", "mlflow", "faiss", "sklearn", "pandas", "numpy", "transformers", "sentence_transformers"}
PARSE = """
import json, runpy, sys
from airflow.sdk.definitions._internal.contextmanager import DagContext
DagContext.current_autoregister_module_name = __name__
runpy.run_path(sys.argv[1])
dags = {d.dag_id: d for d, _ in DagContext.autoregistered_dags}
def described(dag):
    params = {name: dag.params.get_param(name) for name in dag.params}
    return {
        "params": {name: {**param.schema, "default": param.value} for name, param in params.items()},
        "doc": bool(dag.doc_md),
        "tags": sorted(dag.tags),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "retries": sorted({task.retries for task in dag.tasks}),
        "docs": all(task.doc_md for task in dag.tasks),
    }
modules = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"modules": modules, "dags": {name: described(dag) for name, dag in dags.items()}}))
"""


def parse(path: Path, tmp_path: Path) -> dict[str, object]:
    environment = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run([sys.executable, "-c", PARSE, str(path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_there_are_dags_to_look_at() -> None:
    assert {"index_documents", "train_wine", "verify_serving"} <= {path.stem for path in DAGS}


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_parsing_a_dag_imports_nothing_heavy_and_the_dag_keeps_the_conventions(path: Path, tmp_path: Path) -> None:
    parsed = parse(path, tmp_path)

    assert HEAVY & set(parsed["modules"]) == set()  # type: ignore[call-overload]
    assert list(parsed["dags"]) == [path.stem]  # type: ignore[call-overload]
    dag = parsed["dags"][path.stem]  # type: ignore[index]
    assert (dag["doc"], dag["docs"], dag["catchup"], dag["max_active_runs"]) == (True, True, False, 1)
    assert dag["tags"] != []
    assert dag["retries"] == [4]


@pytest.mark.parametrize("path", DAGS, ids=lambda path: path.stem)
def test_a_dag_imports_our_packages_only_inside_its_tasks(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    names = {str(node.module) for node in body if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}

    assert {name.split(".")[0] for name in names} <= {"airflow", "pendulum", "datetime", "cuvee_airflow"}


def test_the_form_of_train_wine_has_the_bounds_and_defaults_that_training_checks(tmp_path: Path) -> None:
    from ml_service.training import TrainingParams

    shown = parse(DAGS[0].parent / "train_wine.py", tmp_path)["dags"]["train_wine"]["params"]  # type: ignore[index]

    checked = TrainingParams.model_json_schema()["properties"]
    bounds = ("minimum", "maximum", "exclusiveMinimum", "enum")
    assert {name: field["default"] for name, field in shown.items()} == TrainingParams().model_dump()
    assert {name: {k: field[k] for k in bounds if k in field} for name, field in shown.items()} == {
        name: {k: field[k] for k in bounds if k in field} for name, field in checked.items()
    }
