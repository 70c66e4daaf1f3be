"""What the tasks of one DAG run hand on: receipts, the run's folder and its feature table."""

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cuvee.errors import IntegrityError
from cuvee.settings import Settings

if TYPE_CHECKING:
    from ml_service.dataset import Dataset

Receipt = dict[str, Any]
"""Small and JSON; what is heavy stays in Parquet, MLflow and PostgreSQL."""
RUNS, OBSERVED = "wine", "wine-observed"
"""Among the batches: the folders of what runs make, and of the observed wines that they take."""


def work_dir(settings: Settings, run_key: str) -> Path:
    """Spark takes no ':' in a path; the hash keeps apart what the cleaning makes equal."""
    cleaned = re.sub(r"[^A-Za-z0-9-]+", "-", run_key).strip("-")[:80]
    return settings.batches_dir / RUNS / f"{cleaned}-{hashlib.sha256(run_key.encode()).hexdigest()[:8]}"


def features_of(features: Receipt) -> "Dataset":
    """The feature table of the receipt, unchanged since.

    Raises:
        IntegrityError: its content is another than when it was made.
    """
    from ml_service import dataset

    loaded = dataset.load(Path(features["path"]), features["most_rows"])
    if loaded.checksum != features["checksum"]:
        raise IntegrityError(f"The feature table in {features['path']} was changed; clear the task prepare_features.")
    return loaded
