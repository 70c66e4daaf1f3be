"""Wines as they come in after training: the real table resampled, and a vintage whose quality follows another rule."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from cuvee.settings import PROJECT_DIR
from ml_service.wine import COLOURS, FEATURES

Sample = dict[str, Any]


@cache
def table() -> pd.DataFrame:
    """Every distinct wine: the eleven features under our names, `colour`, `quality`."""
    folder = PROJECT_DIR / "data" / "wine"
    parts = [pd.read_csv(folder / f"winequality-{colour}.csv", sep=";").assign(colour=colour) for colour in COLOURS]
    found = pd.concat(parts).rename(columns={feature.csv_name: feature.name for feature in FEATURES})
    return found.drop_duplicates(ignore_index=True)


def samples(seed: int, count: int) -> tuple[list[Sample], np.ndarray]:
    """Wines of the world as it was, half of them red so that both colours are well covered, and their qualities."""
    rng = np.random.default_rng(seed)
    halves = [table()[table().colour == colour].sample(count // 2, random_state=rng) for colour in COLOURS]
    return _split(pd.concat(halves).sample(frac=1, random_state=rng))


def vintage(seed: int, count: int) -> tuple[list[Sample], np.ndarray]:
    """Wines of a hot year, stronger and less sour, and a public that now likes what it used to dislike."""
    found, quality = samples(seed, count)
    hot = [
        sample
        | {
            "alcohol": round(sample["alcohol"] + 1.5, 4),
            "ph": round(sample["ph"] + 0.15, 4),
            "density": round(sample["density"] - 0.0015, 6),
        }
        for sample in found
    ]
    return hot, 12 - quality


def _split(rows: pd.DataFrame) -> tuple[list[Sample], np.ndarray]:
    records = rows.drop(columns="quality").to_dict("records")
    return records, rows["quality"].to_numpy(float)
