"""Registers fitted models as `train_wine` does, without Spark: with intervals, an example and reference predictions."""

import tempfile
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

from cuvee.settings import PROJECT_DIR
from ml_service import artifact
from ml_service.dataset import Floats, as_frame
from ml_service.intervals import Intervals
from ml_service.wine import COLOURS, FEATURES, INPUT_COLUMNS, MODEL_NAME

INTERVALS = Intervals(level=0.9, edges=(5.5, 6.5), red=(0.9, 1.0, 1.1), white=(1.0, 1.1, 1.2))


def wines() -> tuple[Floats, Floats]:
    """Inputs, shape (5320, 12), and qualities of all distinct wines."""
    frames = []
    for colour in COLOURS:
        frame = pd.read_csv(PROJECT_DIR / "data" / "wine" / f"winequality-{colour}.csv", sep=";")
        frames.append(frame.assign(is_white=float(colour == "white")))
    table = pd.concat(frames).drop_duplicates()
    columns = [*(feature.csv_name for feature in FEATURES), "is_white"]
    return table[columns].to_numpy(np.float64), table["quality"].to_numpy(np.float64)


def register(url: str, model: Any, off_by: float = 0.0, with_reference: bool = True) -> int:
    """Log and register a pipeline fitted on `as_frame` inputs; its version.

    `off_by` is added to the reference predictions: what a model that was compiled wrongly looks like.
    """
    inputs, _ = wines()
    shown = as_frame(inputs[:5])
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment(MODEL_NAME)
    with mlflow.start_run(), tempfile.TemporaryDirectory() as folder:
        mlflow.log_metric("rmse", 0.7)
        if with_reference:
            path = Path(folder) / Path(artifact.REFERENCE).name
            predicted = model.predict(as_frame(inputs)) + off_by
            as_frame(inputs).assign(predicted=predicted).to_parquet(path)
            mlflow.log_artifact(str(path), Path(artifact.REFERENCE).parent.as_posix())
        predicted = model.predict(shown)
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=list(artifact.TRUSTED_TYPES),
            signature=infer_signature(shown, predicted),
            metadata=artifact.example(shown.to_numpy(), predicted) | {artifact.INTERVALS: INTERVALS.to_json()},
            pip_requirements=["scikit-learn", "skops"],
        )
    tags = {artifact.CHECKSUM_TAG: "0" * 64}
    assert tuple(shown.columns) == INPUT_COLUMNS
    return int(mlflow.register_model(logged.model_uri, MODEL_NAME, tags=tags).version)
