"""What the files of a model version must be before anything is loaded from them, and proof that they work here."""

import logging
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from skops.io.exceptions import UntrustedTypesFoundException

from cuvee.errors import IntegrityError
from ml_service.dataset import Floats, as_frame
from ml_service.wine import INPUT_COLUMNS

log = logging.getLogger(__name__)

TRUSTED_TYPES = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils._bunch.Bunch",
)
"""Beyond skops' own, what a forest, a boosting and a blend need. What a model asks to be trusted is not asked."""

CHECKSUM_TAG = "cuvee.data_checksum"
"""On run and version: checksum of the feature table that the model was trained on."""

EXAMPLE = "cuvee_example"
"""Key in the MLmodel's metadata: inputs and what the model answered when it was trained."""


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


def load(folder: Path) -> Any:
    """The scikit-learn pipeline in these MLflow model files, checked on the example they carry.

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
    except (OSError, MlflowException, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(f"{folder} holds no model that ml_service trained: {error!r}.") from error
    if serialization != "skops":
        raise IntegrityError(
            f"The model in {folder} is serialised as {serialization!r}; only skops is loaded, since loading a pickle "
            "runs whatever code is in it."
        )
    model = _read(folder / Path(name).name)
    _check(model, inputs, expected)
    return model


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
            "with other versions of scikit-learn or numpy, or its files are damaged. Train it again."
        )
