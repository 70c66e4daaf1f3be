"""Predictions as rows of the record."""

import uuid
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cuvee.database import predictions
from ml_service.dataset import Floats
from ml_service.inference import ServedModel


def record(
    engine: sa.Engine, key_id: int, model: ServedModel, samples: Sequence[dict[str, Any]], qualities: Floats
) -> list[uuid.UUID]:
    """Write one row per sample, all or none; their ids in the order of the samples."""
    ids = [uuid.uuid4() for _ in samples]
    rows = [
        {
            "prediction_id": prediction_id,
            "key_id": key_id,
            "model_name": model.name,
            "model_version": model.version,
            "sample": sample,
            "quality": float(quality),
        }
        for prediction_id, sample, quality in zip(ids, samples, qualities, strict=True)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(predictions), rows)
    return ids
