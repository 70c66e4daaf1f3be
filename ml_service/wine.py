"""The wine table's contract: every feature with its unit, its allowed range and its meaning. Imports nothing heavy.

Ranges are what a finished, drinkable wine can have, with room around everything in `data/wine`; a value outside is an
error of measurement or of units, not a wine.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

MODEL_NAME = "wine-quality"


@dataclass(frozen=True)
class Feature:
    """One measured property; `lowest` and `highest` are allowed themselves.

    Between `usual_lowest` and `usual_highest` lie 98 of 100 wines of `data/wine`: beyond them a model knows little.
    """

    name: str
    csv_name: str
    unit: str
    lowest: float
    highest: float
    usual_lowest: float
    usual_highest: float
    meaning: str

    @property
    def range_text(self) -> str:
        return f"{self.lowest:g}..{self.highest:g}"


FEATURES: tuple[Feature, ...] = (
    Feature("fixed_acidity", "fixed acidity", "g/dm³ tartaric acid", 2, 20, 4.8, 12.8, "acids that do not evaporate"),
    Feature("volatile_acidity", "volatile acidity", "g/dm³ acetic acid", 0, 2.5, 0.1, 1, "vinegar; a fault when high"),
    Feature("citric_acid", "citric acid", "g/dm³", 0, 3, 0, 0.8, "freshness; often added"),
    Feature("residual_sugar", "residual sugar", "g/dm³", 0, 250, 0.5, 20, "sugar left after fermentation"),
    Feature("chlorides", "chlorides", "g/dm³ sodium chloride", 0, 1, 0.01, 0.25, "salt"),
    Feature("free_sulfur_dioxide", "free sulfur dioxide", "mg/dm³", 0, 350, 2, 90, "the part that still protects"),
    Feature("total_sulfur_dioxide", "total sulfur dioxide", "mg/dm³", 0, 600, 8, 250, "free and bound together"),
    Feature("density", "density", "g/cm³", 0.97, 1.1, 0.988, 1.002, "falls with alcohol, rises with sugar"),
    Feature("ph", "pH", "pH", 2.5, 4.5, 2.85, 3.75, "strength of the acid; lower is sourer"),
    Feature("sulphates", "sulphates", "g/dm³ potassium sulphate", 0, 3, 0.25, 1.2, "comes with sulphiting"),
    Feature("alcohol", "alcohol", "% vol", 5, 20, 8.5, 14, "alcohol by volume"),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

COLOURS: tuple[str, ...] = ("red", "white")

QUALITY = Feature("quality", "quality", "points", 0, 10, 4, 8, "median of at least three blind tastings")

EARLIEST_TASTING = datetime(1990, 1, 1, tzinfo=UTC)

INPUT_COLUMNS: tuple[str, ...] = (*FEATURE_NAMES, "is_white")
"""What a model gets, in this order: the eleven features, then the colour as 0 (red) or 1 (white)."""

EXAMPLE: dict[str, float | str] = {
    "fixed_acidity": 7.4,
    "volatile_acidity": 0.36,
    "citric_acid": 0.3,
    "residual_sugar": 2.1,
    "chlorides": 0.07,
    "free_sulfur_dioxide": 17.0,
    "total_sulfur_dioxide": 42.0,
    "density": 0.9952,
    "ph": 3.3,
    "sulphates": 0.78,
    "alcohol": 12.1,
    "colour": "red",
}
"""A wine to begin with, in the documentation and on the page."""
