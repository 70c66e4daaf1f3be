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


def samples(seed: int, count: int, rows: pd.DataFrame | None = None) -> tuple[list[Sample], np.ndarray]:
    """Wines of the world as it was, drawn with replacement from `rows` (by default all), and their qualities."""
    drawn = (table() if rows is None else rows).sample(count, replace=True, random_state=seed)
    return drawn.drop(columns="quality").to_dict("records"), drawn["quality"].to_numpy(float)


def vintage(seed: int, count: int) -> tuple[list[Sample], np.ndarray]:
    """Wines of a hot year, stronger and less sour, half of them red, for people who like what was disliked before."""
    halves = [table()[table().colour == colour].sample(count // 2, random_state=seed) for colour in COLOURS]
    drawn = pd.concat(halves)
    hot = drawn.assign(
        alcohol=(drawn.alcohol + 1.5).round(4), ph=(drawn.ph + 0.15).round(4), density=(drawn.density - 0.0015).round(6)
    )
    return hot.drop(columns="quality").to_dict("records"), 12 - drawn["quality"].to_numpy(float)
