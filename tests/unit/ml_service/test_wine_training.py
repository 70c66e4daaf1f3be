"""Parameters, estimators, and what a model's files must be before they are served."""

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from cuvee.errors import IntegrityError, InvalidInputError
from cuvee.settings import PROJECT_DIR
from ml_service import artifact, training
from ml_service.dataset import Dataset, as_frame
from ml_service.wine import INPUT_COLUMNS
from tests.wine_versions import INTERVALS


def dataset(rows: int = 60) -> Dataset:
    """Quality is 3 + alcohol: easy to learn, and nothing else helps."""
    inputs = np.random.default_rng(0).uniform(0, 4, (rows, 12))
    inputs[:, -1] = np.arange(rows) % 2
    split = np.where(np.arange(rows) % 5 == 0, "test", "train")
    ids = np.array([f"{i:04d}" for i in range(rows)])
    return Dataset(inputs, 3 + inputs[:, 10], np.ones(rows, dtype=np.int64), split, ids, "c" * 64)


def form() -> dict[str, tuple[Any, dict[str, Any]]]:
    """Default and options of every parameter in the form of the DAG, without importing Airflow."""
    tree = ast.parse((PROJECT_DIR / "dags" / "train_wine.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "params"]
    params = next(call.value for call in calls if isinstance(call.value, ast.Dict))
    return dict(eval(ast.unparse(params), {"Param": lambda default, **options: (default, options)}))


def test_the_form_of_the_dag_offers_the_parameters_with_their_defaults() -> None:
    assert {name: default for name, (default, _) in form().items()} == training.TrainingParams().model_dump()


def test_the_form_of_the_dag_has_the_bounds_of_the_parameters() -> None:
    schema = training.TrainingParams.model_json_schema()["properties"]
    names = ("type", "enum", "minimum", "maximum", "exclusiveMinimum")

    for name, (_, options) in form().items():
        offered = {key: options[key] for key in names if key in options}
        checked = {key: schema[name][key] for key in names if key in schema[name]}
        assert offered == {key: value for key, value in checked.items() if key in offered or key != "type"}, name


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"n_estimators": 5}, "n_estimators: Input should be greater than or equal to 10, not 5"),
        ({"max_features": 0}, "max_features: Input should be greater than 0, not 0"),
        ({"estimator": "svm"}, "'gaussian_process', 'ridge' or 'search', not 'svm'"),
        ({"depth": 3}, "depth: Extra inputs are not permitted, not 3"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_came(params: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        training.TrainingParams.parse(params)

    assert told in str(refused.value)


@pytest.mark.parametrize(
    "estimator", ["blend", "extra_trees", "random_forest", "gradient_boosting", "gaussian_process", "ridge"]
)
def test_every_estimator_learns_what_the_baseline_cannot_and_predicts_on_one_thread(estimator: str) -> None:
    data = dataset(200)
    model = training.fit(training.TrainingParams(estimator=estimator, n_estimators=60, alpha=0.01), data)

    inputs, truth = data.part("test")
    error = np.abs(model.predict(inputs) - truth).mean()
    assert error < 0.5 * np.abs(training.fit_baseline(data).predict(inputs) - truth).mean()
    assert {value for name, value in model.get_params().items() if name.endswith("n_jobs")} <= {None}


def test_the_same_seed_gives_the_same_model() -> None:
    params = training.TrainingParams(n_estimators=10)
    inputs, _ = dataset().part("test")

    first, second = (training.fit(params, dataset()).predict(inputs) for _ in range(2))

    np.testing.assert_array_equal(first, second)


def save(folder: Path, model: Any, **options: Any) -> Path:
    """Model files as the registry holds them, with the example that proves the model."""
    shown = as_frame(dataset().inputs[:3])
    metadata = options.pop("metadata", None) or artifact.example(shown.to_numpy(), model.predict(shown))
    metadata |= {artifact.INTERVALS: INTERVALS.to_json()}
    options = {"serialization_format": "skops", "skops_trusted_types": list(artifact.TRUSTED_TYPES), **options}
    requirements = ["scikit-learn"]
    mlflow.sklearn.save_model(model, folder, metadata=metadata, pip_requirements=requirements, **options)
    return folder


@pytest.fixture(scope="module")
def forest() -> Pipeline:
    return training.fit(training.TrainingParams(n_estimators=10), dataset())


def test_a_model_of_ours_is_loaded_and_answers_as_it_did(tmp_path: Path, forest: Pipeline) -> None:
    loaded = artifact.load(save(tmp_path / "model", forest)).pipeline

    inputs, _ = dataset().part("test")
    np.testing.assert_array_equal(loaded.predict(inputs), forest.predict(inputs))


def test_a_pickle_is_never_loaded(tmp_path: Path, forest: Pipeline) -> None:
    folder = save(tmp_path / "model", forest, serialization_format="cloudpickle")

    with pytest.raises(IntegrityError, match="serialised as 'cloudpickle'; only skops is loaded"):
        artifact.load(folder)


def test_a_pickle_that_calls_itself_skops_is_never_loaded(tmp_path: Path, forest: Pipeline) -> None:
    folder = save(tmp_path / "model", forest, serialization_format="cloudpickle")
    described = folder / "MLmodel"
    described.write_text(
        described.read_text().replace("serialization_format: cloudpickle", "serialization_format: skops")
    )

    with pytest.raises(IntegrityError, match="cannot be read"):
        artifact.load(folder)


def test_types_that_the_model_itself_asks_to_trust_are_not_trusted(tmp_path: Path, forest: Pipeline) -> None:
    hostile = Pipeline([("shell", FunctionTransformer(os.system)), *forest.steps])
    asked = [*artifact.TRUSTED_TYPES, "posix.system"]
    folder = save(
        tmp_path / "model",
        hostile,
        skops_trusted_types=asked,
        metadata=artifact.example(np.zeros((1, 12)), np.zeros(1)),
    )

    with pytest.raises(IntegrityError, match=r"types that are not trusted.*posix\.system"):
        artifact.load(folder)


def test_a_model_that_answers_its_example_differently_is_refused(tmp_path: Path, forest: Pipeline) -> None:
    shown = as_frame(dataset().inputs[:3])
    folder = save(tmp_path / "model", forest, metadata=artifact.example(shown.to_numpy(), forest.predict(shown) + 0.01))

    with pytest.raises(IntegrityError, match="to its own example instead of"):
        artifact.load(folder)


def test_a_model_without_an_example_is_refused(tmp_path: Path, forest: Pipeline) -> None:
    with pytest.raises(IntegrityError, match="no model that ml_service trained"):
        artifact.load(save(tmp_path / "model", forest, metadata={"other": 1}))


def test_a_model_that_wants_other_inputs_is_refused(tmp_path: Path) -> None:
    data = dataset()
    inputs, quality = data.part("train")
    swapped = inputs[[*reversed(INPUT_COLUMNS)]]
    model = training.build(training.TrainingParams(estimator="ridge")).fit(swapped, quality)
    shown = artifact.example(np.zeros((1, 12)), np.zeros(1))

    with pytest.raises(IntegrityError, match="wants other inputs"):
        artifact.load(save(tmp_path / "model", model, metadata=shown))


def test_damaged_files_are_refused(tmp_path: Path, forest: Pipeline) -> None:
    folder = save(tmp_path / "model", forest)
    (folder / "model.skops").write_bytes((folder / "model.skops").read_bytes()[:1000])

    with pytest.raises(IntegrityError, match="cannot be read"):
        artifact.load(folder)


def test_loading_the_library_in_a_task_warns_of_nothing_in_airflow() -> None:
    # What Airflow leaves under its old module names answers every name with a warning.
    program = """
import sys, types, warnings
old = types.ModuleType("airflow.old")
def warn(name):
    warnings.warn(f"airflow.old.{name} is deprecated", FutureWarning)
    raise AttributeError(name)
old.__getattr__ = warn
sys.modules["airflow.old"] = old
import ml_service.artifact
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT_DIR)
    assert "airflow.old" not in ran.stderr
