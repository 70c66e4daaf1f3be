"""The wine table's contract: every feature with its unit, its allowed range and its meaning. Imports nothing heavy.

Ranges are what a finished, drinkable wine can have, with room around everything in `data/wine`; a value outside is an
error of measurement or of units, not a wine.
"""

from dataclasses import dataclass

MODEL_NAME = "wine-quality"


@dataclass(frozen=True)
class Feature:
    """One measured property; `lowest` and `highest` are allowed themselves."""

    name: str
    csv_name: str
    unit: str
    lowest: float
    highest: float
    meaning: str

    @property
    def range_text(self) -> str:
        return f"{self.lowest:g}..{self.highest:g}"


FEATURES: tuple[Feature, ...] = (
    Feature("fixed_acidity", "fixed acidity", "g/dm³ tartaric acid", 2.0, 20.0, "acids that do not evaporate"),
    Feature("volatile_acidity", "volatile acidity", "g/dm³ acetic acid", 0.0, 2.5, "vinegar; a fault when high"),
    Feature("citric_acid", "citric acid", "g/dm³", 0.0, 3.0, "freshness; often added"),
    Feature("residual_sugar", "residual sugar", "g/dm³", 0.0, 250.0, "sugar left after fermentation"),
    Feature("chlorides", "chlorides", "g/dm³ sodium chloride", 0.0, 1.0, "salt"),
    Feature("free_sulfur_dioxide", "free sulfur dioxide", "mg/dm³", 0.0, 350.0, "sulphur dioxide that still protects"),
    Feature("total_sulfur_dioxide", "total sulfur dioxide", "mg/dm³", 0.0, 600.0, "free and bound sulphur dioxide"),
    Feature("density", "density", "g/cm³", 0.97, 1.1, "falls with alcohol, rises with sugar"),
    Feature("ph", "pH", "pH", 2.5, 4.5, "strength of the acid; lower is sourer"),
    Feature("sulphates", "sulphates", "g/dm³ potassium sulphate", 0.0, 3.0, "comes with sulphiting"),
    Feature("alcohol", "alcohol", "% vol", 5.0, 20.0, "alcohol by volume"),
)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)

COLOURS: tuple[str, ...] = ("red", "white")

QUALITY = Feature("quality", "quality", "points", 0.0, 10.0, "median of at least three blind tastings, a whole number")

INPUT_COLUMNS: tuple[str, ...] = (*FEATURE_NAMES, "is_white")
"""What a model gets, in this order: the eleven features, then the colour as 0 (red) or 1 (white)."""
