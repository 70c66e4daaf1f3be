"""Features -> a fitted model in MLflow: parameters, metrics, plots, data checksum, and a dummy baseline beside it."""

import logging
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import mlflow
import mlflow.sklearn
import numpy as np
import sklearn
import skops
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import RunStatus
from mlflow.models import infer_signature
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from cuvee.errors import InvalidInputError
from ml_service import artifact, evaluation
from ml_service.dataset import Dataset
from ml_service.wine import MODEL_NAME

log = logging.getLogger(__name__)

EXPERIMENT = MODEL_NAME
RUN_KEY_TAG = "cuvee.run_key"
PARAMS_TAG = "cuvee.params"
_EXAMPLE_ROWS = 5


class TrainingParams(BaseModel):
    """What the form of the DAG `train_wine` sends; trees ignore `alpha`, ridge ignores what is about trees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimator: Literal["extra_trees", "random_forest", "ridge"] = "extra_trees"
    n_estimators: Annotated[int, Field(ge=10, le=2000)] = 200
    max_features: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_samples_leaf: Annotated[int, Field(ge=1, le=100)] = 2
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7

    @classmethod
    def parse(cls, params: dict[str, Any]) -> "TrainingParams":
        """Raises InvalidInputError naming each parameter, what is wrong with it and what came."""
        try:
            return cls(**params)
        except ValidationError as error:
            wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}, not {e['input']!r}" for e in error.errors())
            raise InvalidInputError(f"Training parameters: {wrong}.") from error


@dataclass(frozen=True)
class Trained:
    """One finished MLflow run and the version that its model was registered as."""

    run_id: str
    version: int


def build(params: TrainingParams) -> Pipeline:
    """An unfitted pipeline over the columns of `INPUT_COLUMNS`."""
    if params.estimator == "ridge":
        return Pipeline([("scale", StandardScaler()), ("model", Ridge(alpha=params.alpha))])
    forests = {"extra_trees": ExtraTreesRegressor, "random_forest": RandomForestRegressor}
    forest = forests[params.estimator](
        n_estimators=params.n_estimators,
        max_features=params.max_features,
        min_samples_leaf=params.min_samples_leaf,
        random_state=params.seed,
    )
    return Pipeline([("model", forest)])


def fit(params: TrainingParams, dataset: Dataset) -> Pipeline:
    """Fit on the train side with every core, then set to one thread: a service answers many small requests."""
    model = build(params)
    threaded = "model__n_jobs" in model.get_params()
    if threaded:
        model.set_params(model__n_jobs=-1)
    model.fit(*dataset.part("train"))
    if threaded:
        model.set_params(model__n_jobs=None)
    return model


def fit_baseline(dataset: Dataset) -> DummyRegressor:
    """Predicts the mean quality of the train side, whatever the wine."""
    return DummyRegressor(strategy="mean").fit(*dataset.part("train"))


def train(dataset: Dataset, params: TrainingParams, tags: dict[str, str], tracking_uri: str) -> Trained:
    """Fit, evaluate, log and register one candidate, with its baseline beside it.

    Args:
        dataset: both sides of the split; metrics are of the test side.
        params: checked parameters.
        tags: put on the run and, in one step with registering, on the version: by them a repeated step finds both.
        tracking_uri: the MLflow server.
    """
    mlflow.set_tracking_uri(tracking_uri)
    experiment = mlflow.set_experiment(EXPERIMENT)
    _end_abandoned(experiment.experiment_id, tags[RUN_KEY_TAG])
    with mlflow.start_run(run_name=tags[RUN_KEY_TAG], tags=tags) as run:
        mlflow.log_params(params.model_dump())
        _log_dataset(dataset)
        _log_baseline(dataset)
        model = fit(params, dataset)
        inputs, truth = dataset.part("test")
        predicted = model.predict(inputs)
        found = evaluation.metrics(truth, predicted, dataset.colours("test"))
        log.info("%s: %s", params.estimator, _told(found))
        mlflow.log_metrics(found)
        for name, figure in evaluation.plots(model, inputs, truth, predicted, dataset.colours("test")).items():
            mlflow.log_figure(figure, f"plots/{name}")
        model_uri = _log_model(model, dataset)
    registered = mlflow.register_model(model_uri, MODEL_NAME, tags=tags)
    return Trained(run.info.run_id, int(registered.version))


def _end_abandoned(experiment_id: str, run_key: str) -> None:
    """Close the runs of earlier tries that were killed; MLflow would show them as running for ever."""
    client = MlflowClient()
    quoted = run_key.replace("'", "")
    for run in client.search_runs([experiment_id], f"tags.`{RUN_KEY_TAG}` = '{quoted}' and status = 'RUNNING'"):
        log.warning("run %s of an earlier try was killed; it is closed", run.info.run_id)
        client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def _log_dataset(dataset: Dataset) -> None:
    for split in ("train", "test"):
        inputs, quality = dataset.part(split)
        table = inputs.assign(quality=quality)
        described = from_pandas(table, targets="quality", name=f"wine-{split}", digest=dataset.checksum[:32])
        mlflow.log_input(described, context="training" if split == "train" else "testing")
    mlflow.log_metrics(
        {"train_rows": float((dataset.split == "train").sum()), "test_rows": float((dataset.split == "test").sum())}
    )


def _log_baseline(dataset: Dataset) -> None:
    baseline = fit_baseline(dataset)
    inputs, truth = dataset.part("test")
    found = evaluation.metrics(truth, baseline.predict(inputs), dataset.colours("test"))
    parent = mlflow.active_run()
    assert parent is not None
    tags = {RUN_KEY_TAG: parent.data.tags[RUN_KEY_TAG], artifact.CHECKSUM_TAG: dataset.checksum}
    with mlflow.start_run(run_name="baseline", nested=True, tags=tags):
        mlflow.log_param("estimator", "mean")
        mlflow.log_metrics(found)
    log.info("baseline (mean): %s", _told(found))


def _log_model(model: Pipeline, dataset: Dataset) -> str:
    inputs, _ = dataset.part("train")
    shown = inputs.head(_EXAMPLE_ROWS)
    predicted = model.predict(shown)
    logged = mlflow.sklearn.log_model(
        model,
        name="model",
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
        skops_trusted_types=list(artifact.TRUSTED_TYPES),
        signature=infer_signature(shown, predicted),
        input_example=shown,
        metadata=artifact.example(shown.to_numpy(np.float64), predicted),
        # Named here: MLflow would otherwise start a process of its own to guess them.
        pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"skops=={skops.__version__}"],
    )
    return str(logged.model_uri)


def _told(found: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in found.items())
