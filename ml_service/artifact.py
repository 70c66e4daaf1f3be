"""What the files of a model version must be before anything is loaded from them, and proof that they work here."""

import logging
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.special  # noqa: F401  (before skops: see below)
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from cuvee.errors import IntegrityError
from ml_service.dataset import Floats, as_frame
from ml_service.intervals import Intervals
from ml_service.wine import INPUT_COLUMNS

# At its import skops asks every loaded module for each of SciPy's functions until one has it. With those that have them
# in front it is done at once; else it takes 2 seconds in a task, where some modules are Airflow's old names, which warn
# of whatever they are asked for, in 1160 lines of the task's log. And it imports every package of scikit-learn: one,
# which is hidden from it here, would import torch, 2 seconds and 180 MB that nothing here uses.
for _name in [name for name in sys.modules if not name.startswith(("numpy", "scipy"))]:
    sys.modules[_name] = sys.modules.pop(_name)
_ADAPTS_TORCH = "sklearn.externals.array_api_compat.torch"
_hidden = _ADAPTS_TORCH not in sys.modules
if _hidden:
    sys.modules[_ADAPTS_TORCH] = None  # type: ignore[assignment]
import skops.io  # noqa: E402
from skops.io.exceptions import UntrustedTypesFoundException  # noqa: E402

if _hidden:
    del sys.modules[_ADAPTS_TORCH]

log = logging.getLogger(__name__)

TRUSTED_TYPES = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils._bunch.Bunch",
    "ml_service.gaussian_process.GaussianProcess",
)
"""Beyond skops' own, what a forest, a boosting, a Gaussian process and a blend need. What a model asks
to be trusted is not asked."""

CHECKSUM_TAG = "cuvee.data_checksum"
"""On run and version: checksum of the feature table that the model was trained on."""

EXAMPLE = "cuvee_example"
"""Key in the MLmodel's metadata: inputs and what the model answered when it was trained."""

INTERVALS = "cuvee_intervals"
"""Key in the MLmodel's metadata: `Intervals.to_json()`."""

TRAIN_AGAIN = (
    "Train it again with the libraries that are installed here; if it is the champion, remove the alias champion in "
    "MLflow first."
)

REFERENCE = "serving/reference.parquet"
"""File of the training run: `INPUT_COLUMNS` and `predicted`, what the training library answers to every row."""


_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
)


def example(inputs: Floats, predicted: Floats) -> dict[str, Any]:
    return {EXAMPLE: {"inputs": inputs.tolist(), "predicted": predicted.tolist()}}


@dataclass(frozen=True, eq=False)
class Artifact:
    """A fitted pipeline over `INPUT_COLUMNS`, and the intervals around its predictions."""

    pipeline: Any
    intervals: Intervals


def load(folder: Path) -> Artifact:
    """What is in these MLflow model files, checked on the example they carry.

    Raises:
        IntegrityError: not in the skops format, of a type that is not trusted, with other inputs than ours, or it does
            not answer its own example as it did when it was trained.
    """
    try:
        described = Model.load(str(folder))
        flavour = described.flavors["sklearn"]
        serialization, name = flavour.get("serialization_format"), flavour["pickled_model"]
        carried = (described.metadata or {})[EXAMPLE]
        inputs, expected = np.array(carried["inputs"], float), np.array(carried["predicted"], float)
        intervals = (described.metadata or {})[INTERVALS]
    except (OSError, MlflowException, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder} holds no model that ml_service trained: {error!r}.") from error
    if serialization != "skops":
        raise IntegrityError(
            f"The model in {folder} is serialised as {serialization!r}; only skops is loaded, since loading a pickle "
            "runs whatever code is in it."
        )
    model = _read(folder / Path(name).name)
    _check(model, inputs, expected)
    return Artifact(model, Intervals.from_json(intervals))


def reference(path: Path) -> tuple[Floats, Floats]:
    """Inputs, shape (rows, 12), and what the training library predicted for them, shape (rows,).

    Raises:
        IntegrityError: the file is no such table.
    """
    try:
        table = pd.read_parquet(path, columns=[*INPUT_COLUMNS, "predicted"]).astype(np.float64)
    except _DAMAGED as error:
        raise IntegrityError(f"{path.name} is no table of reference predictions: {error!r}.") from error
    if table.empty or table.isna().to_numpy().any():
        raise IntegrityError(f"{path.name} is empty or lacks values; train the model again.")
    return table[list(INPUT_COLUMNS)].to_numpy(), table["predicted"].to_numpy()


def _read(path: Path) -> Any:
    try:
        model = skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise IntegrityError(f"{path} holds types that are not trusted: {error}") from error
    except _DAMAGED as error:
        raise IntegrityError(f"{path} cannot be read: {error!r}.") from error
    if tuple(getattr(model, "feature_names_in_", ())) != INPUT_COLUMNS:
        raise IntegrityError(f"The model in {path} wants other inputs than {', '.join(INPUT_COLUMNS)}.")
    return model


def _check(model: Any, inputs: Floats, expected: Floats) -> None:
    answered = model.predict(as_frame(inputs))
    if not (len(expected) and np.isfinite(answered).all() and np.allclose(answered, expected, rtol=0, atol=1e-6)):
        raise IntegrityError(
            f"The model answers {answered.tolist()} to its own example instead of {expected.tolist()}; it was trained "
            f"with other versions of scikit-learn or numpy, or its files are damaged. {TRAIN_AGAIN}"
        )
