"""Features -> a fitted model in MLflow, with its intervals, what its data looked like, a card, and rivals beside it.

Which estimators can come is said in `ml_service.candidates`.
"""

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
import sklearn
import skops
from mlflow import MlflowClient
from mlflow.data.pandas_dataset import from_pandas
from mlflow.entities import RunStatus
from mlflow.models import infer_signature
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline

from cuvee.drift import Profile
from ml_service import artifact, cross_validation, evaluation, model_card, plots
from ml_service.candidates import TrainingParams, build
from ml_service.dataset import Dataset, Floats, as_frame
from ml_service.intervals import LEVEL, Intervals
from ml_service.search import Found, search
from ml_service.wine import COLOURS, INPUT_COLUMNS, MODEL_NAME

__all__ = ["Trained", "TrainingParams", "build", "fit", "fit_baseline", "train"]

log = logging.getLogger(__name__)

EXPERIMENT = MODEL_NAME
RUN_KEY_TAG = "cuvee.run_key"
PARAMS_TAG = "cuvee.params"
FOLDS = 5
"""Of the train side, for the residuals that intervals are made from."""
_EXAMPLE_ROWS = 5
_REFERENCE_ROWS = 200_000
_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Trained:
    """One finished MLflow run and the version that its model was registered as."""

    run_id: str
    version: int


def fit(params: TrainingParams, dataset: Dataset) -> Pipeline:
    """Fit on the train side."""
    return cross_validation.fit(params, dataset, np.flatnonzero(dataset.split == "train"))


def fit_baseline(dataset: Dataset) -> DummyRegressor:
    """Predicts the mean quality of the train side, whatever the wine."""
    return DummyRegressor(strategy="mean").fit(*dataset.part("train"))


def train(
    dataset: Dataset,
    params: TrainingParams,
    tags: dict[str, str],
    tracking_uri: str,
    work_dir: Path,
    lineage: Mapping[str, Any],
    rivals: Mapping[str, Floats],
) -> Trained:
    """Choose if asked to, fit, evaluate, log and register one candidate, with its rivals beside it.

    Args:
        dataset: both sides of the split; metrics are of the test side, nothing else is learnt from it.
        params: checked parameters.
        tags: put on the run and, in one step with registering, on the version: by them a repeated step finds both.
        tracking_uri: the MLflow server.
        work_dir: where the trials of a search are kept, so that a repeated step goes on with them.
        lineage: what is known of how the table was made; `path` is where it is.
        rivals: predictions of the test wines by others, such as the champion, by their names.
    """
    rows = np.flatnonzero(dataset.split == "train")
    found = search(params, dataset, rows, work_dir / "search.sqlite") if params.estimator == "search" else None
    chosen = found.params if found else params
    out_of_fold = cross_validation.out_of_fold(chosen, dataset, rows, FOLDS)
    model = fit(chosen, dataset)
    mlflow.set_tracking_uri(tracking_uri)
    experiment = mlflow.set_experiment(EXPERIMENT)
    _end_abandoned(experiment.experiment_id, tags[RUN_KEY_TAG])
    with mlflow.start_run(run_name=tags[RUN_KEY_TAG], tags=tags) as run, cross_validation.one_thread():
        mlflow.log_params(chosen.model_dump())
        _log_dataset(dataset, lineage)
        if found:
            _log_search(found, tags)
        intervals = Intervals.of(dataset.quality[rows], out_of_fold, dataset.inputs[rows, -1] == 1, LEVEL)
        _log_evaluation(model, chosen, dataset, (rows, out_of_fold), rivals, tags)
        _log_serving(model, dataset, rows, out_of_fold)
        model_uri = _log_model(model, dataset, intervals)
    registered = mlflow.register_model(model_uri, MODEL_NAME, tags=tags)
    return Trained(run.info.run_id, int(registered.version))


def _end_abandoned(experiment_id: str, run_key: str) -> None:
    """Close the runs of earlier tries that were killed; MLflow would show them as running for ever."""
    client = MlflowClient()
    quoted = run_key.replace("'", "")
    for run in client.search_runs([experiment_id], f"tags.`{RUN_KEY_TAG}` = '{quoted}' and status = 'RUNNING'"):
        log.warning("run %s of an earlier try was killed; it is closed", run.info.run_id)
        client.set_terminated(run.info.run_id, RunStatus.to_string(RunStatus.KILLED))


def _log_dataset(dataset: Dataset, lineage: Mapping[str, Any]) -> None:
    for split in ("train", "test"):
        inputs, quality = dataset.part(split)
        table = inputs.assign(quality=quality)
        described = from_pandas(table, str(lineage["path"]), "quality", f"wine-{split}", dataset.checksum[:32])
        mlflow.log_input(described, context="training" if split == "train" else "testing")
    mlflow.log_dict({**lineage, "checksum": dataset.checksum}, "data/lineage.json")
    mlflow.log_metrics(
        {"train_rows": float((dataset.split == "train").sum()), "test_rows": float((dataset.split == "test").sum())}
    )


def _log_search(found: Found, tags: Mapping[str, str]) -> None:
    """Every trial, and every outer fold, as a nested run."""
    mlflow.log_metric("nested_rmse", float(np.sqrt(np.mean([fold.rmse**2 for fold in found.outer]))))
    kinds = {"outer fold": found.outer, "trial": found.trials}
    for kind, trials in kinds.items():
        for number, trial in enumerate(trials):
            with mlflow.start_run(run_name=f"{kind} {number}", nested=True, tags={RUN_KEY_TAG: tags[RUN_KEY_TAG]}):
                mlflow.log_params(trial.params)
                mlflow.log_metric("rmse", trial.rmse)


def _log_evaluation(
    model: Pipeline,
    params: TrainingParams,
    dataset: Dataset,
    unseen: tuple[cross_validation.Rows, Floats],
    rivals: Mapping[str, Floats],
    tags: Mapping[str, str],
) -> None:
    inputs, truth = dataset.part("test")
    colours, predicted = dataset.colours("test"), model.predict(inputs)
    found = {"this model": evaluation.metrics(truth, predicted, colours)}
    for name, answered in {"baseline": fit_baseline(dataset).predict(inputs), **rivals}.items():
        found[name] = evaluation.metrics(truth, answered, colours)
        run_tags = {RUN_KEY_TAG: tags[RUN_KEY_TAG], artifact.CHECKSUM_TAG: dataset.checksum}
        with mlflow.start_run(run_name=name, nested=True, tags=run_tags):
            mlflow.log_metrics(found[name])
    for name, figures in found.items():
        log.info("%s: %s", name, ", ".join(f"{figure} {value:.4f}" for figure, value in figures.items()))
    held = {level: _coverage(dataset, unseen, predicted, level) for level in _LEVELS}
    by_slice = {name.removeprefix("coverage_"): share for name, share in held[LEVEL].items()}
    mlflow.log_metrics({**found["this model"], **held[LEVEL]})
    levels = {level: shares["coverage"] for level, shares in held.items()}
    for name, figure in plots.plots(model, inputs, truth, predicted, colours, levels).items():
        mlflow.log_figure(figure, f"plots/{name}")
    mlflow.log_text(model_card.write(params, dataset, found, by_slice, LEVEL), "model_card.md")


def _coverage(
    dataset: Dataset, unseen: tuple[cross_validation.Rows, Floats], predicted: Floats, level: float
) -> dict[str, float]:
    """Share of the test wines' qualities in intervals made from the train side, over all and by colour."""
    rows, out_of_fold = unseen
    made = Intervals.of(dataset.quality[rows], out_of_fold, dataset.inputs[rows, -1] == 1, level)
    _, truth = dataset.part("test")
    colours = dataset.colours("test")
    low, high = made.around(predicted, colours == "white")
    inside = (truth >= low) & (truth <= high)
    by_colour = {f"coverage_{name}": float(inside[colours == name].mean()) for name in COLOURS if name in colours}
    return {"coverage": float(inside.mean()), **by_colour}


def _log_serving(model: Pipeline, dataset: Dataset, rows: cross_validation.Rows, out_of_fold: Floats) -> None:
    """What serving and monitoring compare with: how the data looked, and what the library answers to all of it."""
    columns = {name: dataset.inputs[rows, number] for number, name in enumerate(INPUT_COLUMNS)}
    errors = evaluation.squared_errors(dataset.quality[rows], out_of_fold)
    profile = Profile.of({**columns, "prediction": out_of_fold, "squared_error": errors})
    mlflow.log_dict(profile.to_json(), "serving/profile.json")
    inputs = dataset.inputs
    if len(inputs) > _REFERENCE_ROWS:
        inputs = inputs[np.sort(np.random.default_rng(0).choice(len(inputs), _REFERENCE_ROWS, replace=False))]
    table = as_frame(inputs)
    with tempfile.TemporaryDirectory(prefix="cuvee-reference-") as folder:
        path = Path(folder) / Path(artifact.REFERENCE).name
        table.assign(predicted=model.predict(table)).to_parquet(path, index=False)
        mlflow.log_artifact(str(path), Path(artifact.REFERENCE).parent.as_posix())


def _log_model(model: Pipeline, dataset: Dataset, intervals: Intervals) -> str:
    inputs, _ = dataset.part("train")
    shown = inputs.head(_EXAMPLE_ROWS)
    predicted = model.predict(shown)
    with tempfile.TemporaryDirectory(prefix="cuvee-code-") as folder:
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=list(artifact.TRUSTED_TYPES),
            signature=infer_signature(shown, predicted),
            input_example=shown,
            metadata={
                **artifact.example(shown.to_numpy(np.float64), predicted),
                artifact.INTERVALS: intervals.to_json(),
            },
            code_paths=[str(_code(Path(folder)))],
            # Named here: MLflow would otherwise start a process of its own to guess them.
            pip_requirements=[f"scikit-learn=={sklearn.__version__}", f"skops=={skops.__version__}"],
        )
    return str(logged.model_uri)


def _code(folder: Path) -> Path:
    """The package as far as a loaded model needs it, so that MLflow loads a version where this project is not."""
    package = folder / "ml_service"
    package.mkdir()
    for module in ("__init__.py", "gaussian_process.py"):
        shutil.copy(Path(__file__).with_name(module), package)
    return package
