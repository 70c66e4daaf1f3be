"""What can be trained: parameters, and the estimators they stand for.

What comes out, for whoever compiles it: a scikit-learn `Pipeline` whose last step `model` is a `Ridge` behind a
`StandardScaler`, a `RandomForestRegressor`, an `ExtraTreesRegressor`, a `HistGradientBoostingRegressor` without
categorical features, our `GaussianProcess`, or a `VotingRegressor` of such with weights. Trees see the twelve inputs as
they are.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.ensemble import (
    ExtraTreesRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from cuvee.errors import InvalidInputError
from ml_service.gaussian_process import GaussianProcess

if TYPE_CHECKING:
    from optuna import Trial

_MOST_LEAVES = 5_000
"""Of one tree: from here on more rows make leaves larger, so that a model of any table stays some tens of MB."""
_BLEND = {"extra_trees": 0.5, "gaussian_process": 0.5}
"""Steps and curves err on other wines; `benchmarks/wine.py` measures what comes of it."""


class TrainingParams(BaseModel):
    """What the form of the DAG `train_wine` sends; an estimator ignores what is not about it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimator: Literal[
        "blend", "extra_trees", "random_forest", "gradient_boosting", "gaussian_process", "ridge", "search"
    ] = "blend"
    n_estimators: Annotated[int, Field(ge=10, le=2000)] = 120
    max_features: Annotated[float, Field(gt=0, le=1)] = 0.5
    min_samples_leaf: Annotated[int, Field(ge=1, le=100)] = 1
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.08
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    trials: Annotated[int, Field(ge=5, le=500)] = 20
    recency_half_life_days: Annotated[float, Field(ge=0, le=36500)] = 0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7

    @classmethod
    def parse(cls, params: dict[str, Any]) -> "TrainingParams":
        """Raises InvalidInputError naming each parameter, what is wrong with it and what came."""
        try:
            return cls(**params)
        except ValidationError as error:
            wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}, not {e['input']!r}" for e in error.errors())
            raise InvalidInputError(f"Training parameters: {wrong}.") from error


def build(params: TrainingParams, rows: int = 0) -> Pipeline:
    """An unfitted pipeline over the columns of `INPUT_COLUMNS`, to be fitted to so many rows."""
    if params.estimator == "ridge":
        return Pipeline([("scale", StandardScaler()), ("model", Ridge(alpha=params.alpha))])
    leaf = max(params.min_samples_leaf, rows // _MOST_LEAVES)
    if params.estimator == "blend":
        members = [(name, _member(name, params, leaf)) for name in _BLEND]
        return Pipeline([("model", VotingRegressor(members, weights=list(_BLEND.values())))])
    return Pipeline([("model", _member(params.estimator, params, leaf))])


def _member(name: str, params: TrainingParams, leaf: int) -> Any:
    if name == "gaussian_process":
        return GaussianProcess(random_state=params.seed)
    if name == "gradient_boosting":
        return HistGradientBoostingRegressor(
            learning_rate=params.learning_rate,
            max_iter=max(1, params.n_estimators // 2),
            max_leaf_nodes=63,
            # Leaves of one wine, good for an average of many trees, would be learnt by heart here.
            min_samples_leaf=max(5, leaf),
            max_features=params.max_features,
            early_stopping=False,
            random_state=params.seed,
        )
    forests = {"extra_trees": ExtraTreesRegressor, "random_forest": RandomForestRegressor}
    return forests[name](
        n_estimators=params.n_estimators,
        max_features=params.max_features,
        min_samples_leaf=leaf,
        random_state=params.seed,
    )


def suggest(trial: "Trial", params: TrainingParams) -> TrainingParams:
    """One point of the search space."""
    names = ["blend", "extra_trees", "random_forest", "gradient_boosting", "gaussian_process", "ridge"]
    estimator = trial.suggest_categorical("estimator", names)
    chosen: dict[str, Any] = {"estimator": estimator}
    if estimator == "ridge":
        chosen["alpha"] = trial.suggest_float("alpha", 1e-2, 1e3, log=True)
    elif estimator != "gaussian_process":
        chosen["max_features"] = trial.suggest_float("max_features", 0.2, 1.0)
        chosen["min_samples_leaf"] = trial.suggest_int("min_samples_leaf", 1, 20, log=True)
    if estimator == "gradient_boosting":
        chosen["learning_rate"] = trial.suggest_float("learning_rate", 0.01, 0.2, log=True)
    return params.model_copy(update=chosen)
