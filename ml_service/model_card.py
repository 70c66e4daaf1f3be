"""The model card that is logged with each version: what it is, on what data, how good it is for whom, what it is not.

After Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from collections.abc import Mapping

from ml_service.candidates import TrainingParams
from ml_service.dataset import Dataset
from ml_service.evaluation import BANDS
from ml_service.wine import COLOURS, FEATURES, MODEL_NAME

_FIGURES = {"rmse": "RMSE", "mae": "MAE", "r2": "R²", "within_half": "within ±0.5", "kappa": "quadratic kappa"}
_LIMITS = """\
- It knows Portuguese *vinho verde*, red and white, sampled between 2004 and 2007, and what was observed since.
- Quality is the median of at least three tasters, in whole points; most wines have 5, 6 or 7. Very good and very bad
  ones are few, and the model draws them towards the middle: see the bands below.
- It predicts what tasters said. It does not say what changing a measurement would do to a wine.
- The interval holds the stated share of qualities as long as wines are like those it was made from; `monitor_wine`
  watches that.
- MAE favours models that answer in whole numbers; models are chosen and promoted by squared error."""
_LICENCE = """\
Data: P. Cortez, A. Cerdeira, F. Almeida, T. Matos and J. Reis, *Modeling wine preferences by data mining from
physicochemical properties*, Decision Support Systems 47(4), 2009; UCI Machine Learning Repository, CC BY 4.0.
Who publishes this model names them."""


def write(
    params: TrainingParams,
    dataset: Dataset,
    metrics: Mapping[str, Mapping[str, float]],
    coverage: Mapping[str, float],
    level: float,
) -> str:
    """Markdown.

    Args:
        params: what was trained.
        dataset: with both sides of the split.
        metrics: on the test side, by who made the predictions; the model itself first.
        coverage: share of test qualities in the interval, by slice.
        level: what the interval is made for.
    """
    train = int((dataset.split == "train").sum())
    test = len(dataset.split) - train
    chosen = "\n".join(f"- {name}: {value}" for name, value in params.model_dump().items())
    names = "".join(f" {name} |" for name in metrics)
    held = "\n".join(f"- {name}: {share:.1%}" for name, share in coverage.items())
    rows = [_row(title, [found.get(name) for found in metrics.values()]) for name, title in _FIGURES.items()]
    for part in (*COLOURS, *BANDS):
        label = f"{part} quality" if part in BANDS else part
        rows += [
            _row(f"{_FIGURES[name]}, {label}", [found.get(f"{name}_{part}") for found in metrics.values()])
            for name in ("rmse", "mae")
        ]
    table = "\n".join([f"| on {test} test wines |{names}", "| --- |" + " ---: |" * len(metrics), *rows])
    features = ", ".join(f"{feature.csv_name} ({feature.unit})" for feature in FEATURES)
    return (
        f"# {MODEL_NAME}\n\nPredicts a wine's quality, 0 to 10, from its colour and: {features}.\n\n"
        f"## Data\n\n{train} distinct wines to learn from, {test} others to be measured on; no wine stands on both "
        f"sides. Checksum of the table: `{dataset.checksum}`.\n\n"
        f"## Model\n\n{chosen}\n\n## Errors\n\nIn quality points. Bands of observed quality: low to 4, middle 5 and "
        f"6, high from 7.\n\n{table}\n\n## Interval\n\nMade for {level:.0%} by conformal prediction; share of test "
        f"qualities it held:\n\n{held}\n\n## Limits\n\n{_LIMITS}\n\n## Licence\n\n{_LICENCE}\n"
    )


def _row(title: str, values: list[float | None]) -> str:
    cells = "".join(f" {'-' if value is None else f'{value:.3f}'} |" for value in values)
    return f"| {title} |{cells}"
