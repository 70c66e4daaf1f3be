"""Training and promotion against a real MLflow and a real PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient

from cuvee.database import promotions
from cuvee.errors import IntegrityError, InvalidInputError
from cuvee.registry import Registry
from cuvee.settings import PROJECT_DIR, Settings
from ml_service import dataset, pipeline
from ml_service.wine import MODEL_NAME

pytestmark = pytest.mark.integration

ELSEWHERE = """
import sys, json, importlib.util, mlflow
project, uri = sys.argv[1:]
sys.path = [path for path in sys.path if path != project]
assert importlib.util.find_spec("ml_service") is None
mlflow.set_tracking_uri(uri)
model = mlflow.pyfunc.load_model("models:/wine-quality/1")
example = model.metadata.metadata["cuvee_example"]
rows = [dict(zip(model.metadata.signature.inputs.input_names(), row)) for row in example["inputs"]]
print(json.dumps((model.predict(rows) - example["predicted"]).tolist()))
"""
SMALL = {"estimator": "extra_trees", "n_estimators": 10, "min_samples_leaf": 5}


def champion(wine_settings: Settings) -> int | None:
    found = Registry(wine_settings.resolved_mlflow_uri).champion(MODEL_NAME)
    return found.version if found else None


def decisions(engine: sa.Engine) -> list[tuple[str, bool]]:
    """Version and outcome of every decision, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(sa.select(promotions).order_by(promotions.c.promotion_id)).all()
    return [(row.challenger.split("@")[0], row.promoted) for row in rows]


def train(wine_settings: Settings, features: dict[str, Any], key: str, **params: Any) -> dict[str, Any]:
    return pipeline.train_candidate(features, key, {**SMALL, **params}, wine_settings)


def test_the_first_model_meets_the_baseline_and_the_same_again_is_kept_out(
    wine_settings: Settings, engine: sa.Engine, features: dict[str, Any]
) -> None:
    first = train(wine_settings, features, "first")
    promoted = pipeline.decide_promotion(first, features, wine_settings)
    again = pipeline.decide_promotion(train(wine_settings, features, "second"), features, wine_settings)

    assert (promoted["promoted"], promoted["version"], promoted["champion_version"]) == (True, 1, 1)
    assert "over the baseline (mean)" in promoted["reason"] and "exceeds the margin" in promoted["reason"]
    assert (again["promoted"], again["version"], again["champion_version"]) == (False, 2, 1)
    assert "does not exceed the margin" in again["reason"]
    assert decisions(engine) == [("1", True), ("2", False)]
    tags = Registry(wine_settings.resolved_mlflow_uri).version(MODEL_NAME, 2).tags
    assert (tags["cuvee.decision"], tags["cuvee.reason"]) == ("not promoted", again["reason"])
    assert json.loads(json.dumps([first, promoted])) == [first, promoted]


def test_a_model_that_is_clearly_better_replaces_the_champion(
    wine_settings: Settings, engine: sa.Engine, features: dict[str, Any]
) -> None:
    pipeline.decide_promotion(train(wine_settings, features, "weak", min_samples_leaf=100), features, wine_settings)

    better = pipeline.decide_promotion(
        train(wine_settings, features, "better", n_estimators=40), features, wine_settings
    )

    assert (better["promoted"], better["version"], better["champion_version"]) == (True, 2, 2)
    assert "over version 1 on" in better["reason"]
    assert decisions(engine) == [("1", True), ("2", True)]


def differences_elsewhere(wine_settings: Settings, folder: Path) -> list[float]:
    """Between what version 1 answered when it was trained and what MLflow makes of it without this project."""
    command = [sys.executable, "-c", ELSEWHERE, str(PROJECT_DIR), wine_settings.resolved_mlflow_uri]
    told = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert told.returncode == 0, told.stderr
    return list(json.loads(told.stdout.splitlines()[-1]))


def test_a_run_has_parameters_metrics_plots_a_baseline_beside_it_and_a_model_that_mlflow_loads_anywhere(
    wine_settings: Settings, features: dict[str, Any], tmp_path: Path
) -> None:
    # A part of the wines: the time that a Gaussian process takes grows with their cube.
    most_rows = 2_000
    checksum = dataset.load(Path(features["path"]), most_rows).checksum
    fewer = {**features, "most_rows": most_rows, "checksum": checksum}
    receipt = train(wine_settings, fewer, "documented", estimator="blend")

    client = MlflowClient(wine_settings.resolved_mlflow_uri)
    run = client.get_run(receipt["run_id"])
    assert run.data.params["estimator"] == "blend"
    assert run.data.tags["cuvee.data_checksum"] == fewer["checksum"]
    assert {path.path for path in client.list_artifacts(receipt["run_id"], "plots")} == {
        "plots/parity.png",
        "plots/residuals.png",
        "plots/importance.png",
        "plots/calibration.png",
    }
    assert [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs] == [
        ("wine-train", fewer["checksum"][:32]),
        ("wine-test", fewer["checksum"][:32]),
    ]
    nested = f"tags.`mlflow.parentRunId` = '{receipt['run_id']}'"
    (baseline,) = client.search_runs([run.info.experiment_id], nested)
    assert run.data.metrics["rmse"] < 0.75 < 0.8 < baseline.data.metrics["rmse"]
    card = Path(client.download_artifacts(receipt["run_id"], "model_card.md")).read_text()
    assert "CC BY 4.0" in card and "| RMSE, low quality |" in card
    assert 0.85 < run.data.metrics["coverage"] < 0.95
    assert receipt["run_url"].endswith(f"/#/experiments/{run.info.experiment_id}/runs/{receipt['run_id']}")
    differences = differences_elsewhere(wine_settings, tmp_path)
    assert len(differences) == 5 and max(map(abs, differences)) < 1e-6


def test_a_repeated_training_finds_what_it_registered_unless_data_or_parameters_changed(
    wine_settings: Settings, features: dict[str, Any]
) -> None:
    first = train(wine_settings, features, "run's key")

    assert train(wine_settings, features, "run's key") == first
    assert train(wine_settings, features, "run's key", seed=8)["version"] == 2


def test_the_run_of_a_killed_try_does_not_look_alive_for_ever(
    wine_settings: Settings, features: dict[str, Any]
) -> None:
    client = MlflowClient(wine_settings.resolved_mlflow_uri)
    experiment = client.get_experiment_by_name(MODEL_NAME) or client.get_experiment(
        client.create_experiment(MODEL_NAME)
    )
    abandoned = client.create_run(experiment.experiment_id, tags={"cuvee.run_key": "killed"})

    train(wine_settings, features, "killed")

    assert client.get_run(abandoned.info.run_id).info.status == "KILLED"


def test_a_parameter_out_of_its_bounds_is_named_with_what_came(
    wine_settings: Settings, features: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInputError, match=r"n_estimators: Input should be .* 2000, not 5000"):
        train(wine_settings, features, "wrong", n_estimators=5000)


def test_a_repeated_decision_changes_nothing_also_after_a_later_promotion(
    wine_settings: Settings, engine: sa.Engine, features: dict[str, Any]
) -> None:
    weak = train(wine_settings, features, "weak", min_samples_leaf=100)
    first = pipeline.decide_promotion(weak, features, wine_settings)
    assert pipeline.decide_promotion(weak, features, wine_settings) == first
    pipeline.decide_promotion(train(wine_settings, features, "better", n_estimators=40), features, wine_settings)

    repeated = pipeline.decide_promotion(weak, features, wine_settings)

    assert (repeated["promoted"], repeated["reason"]) == (True, first["reason"])
    assert champion(wine_settings) == 2
    assert decisions(engine) == [("1", True), ("2", True)]


KILLED = """
import json, os, signal, sys
from cuvee.registry import Registry
from cuvee.settings import PROJECT_DIR, Settings
from ml_service import dataset, pipeline

point, candidate, features = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
name, when = point.split()
original = getattr(Registry, name)

def killing(self, *arguments):
    if when == "after":
        original(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(Registry, name, killing)
pipeline.decide_promotion(candidate, features)
"""


@pytest.mark.parametrize(
    ("point", "rows", "alias"),
    [("tag before", [("1", True)], None), ("promote before", [("1", True)], None), ("promote after", [("1", True)], 1)],
)
def test_a_decision_killed_halfway_is_finished_by_the_next_try(
    wine_settings: Settings, engine: sa.Engine, features: dict[str, Any], point: str, rows: list[Any], alias: int | None
) -> None:
    candidate = train(wine_settings, features, "killed halfway")
    environment = {**os.environ, "CUVEE_MLFLOW_URI": wine_settings.resolved_mlflow_uri}
    command = [sys.executable, "-c", KILLED, point, json.dumps(candidate), json.dumps(features)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (decisions(engine), champion(wine_settings)) == (rows, alias)

    finished = pipeline.decide_promotion(candidate, features, wine_settings)

    assert (finished["promoted"], finished["champion_version"]) == (True, 1)
    assert (decisions(engine), champion(wine_settings)) == ([("1", True)], 1)


def test_a_champion_that_cannot_be_loaded_fails_the_run_and_stays(
    wine_settings: Settings, engine: sa.Engine, features: dict[str, Any], tmp_path: Path
) -> None:
    client = MlflowClient(wine_settings.resolved_mlflow_uri, wine_settings.resolved_mlflow_uri)
    (tmp_path / "model.pkl").write_bytes(b"not a model")
    run = client.get_run(train(wine_settings, features, "real")["run_id"])
    client.log_artifact(run.info.run_id, str(tmp_path / "model.pkl"), "model")
    broken = client.create_model_version(MODEL_NAME, f"{run.info.artifact_uri}/model", run.info.run_id)
    client.set_registered_model_alias(MODEL_NAME, "champion", broken.version)

    told = r"The champion, version 2, could not be scored and stays champion.* remove the alias champion in MLflow"
    with pytest.raises(IntegrityError, match=told):
        pipeline.decide_promotion(train(wine_settings, features, "next", seed=9), features, wine_settings)

    assert champion(wine_settings) == 2
    assert decisions(engine) == []


def test_a_feature_table_that_changed_since_its_receipt_is_refused(
    wine_settings: Settings, features: dict[str, Any]
) -> None:
    with pytest.raises(IntegrityError, match="was changed"):
        train(wine_settings, {**features, "checksum": "0" * 64}, "changed")
