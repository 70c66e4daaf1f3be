"""Compiled models answer as scikit-learn does, on every wine; explanations add up to the prediction."""

from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from cuvee.errors import IntegrityError
from ml_service.compiled import Compiled
from ml_service.dataset import as_frame
from ml_service.explanations import Explainer
from ml_service.gaussian_process import GaussianProcess
from ml_service.inference import check
from tests.wine_versions import wines

INPUTS, QUALITY = wines()
_forest = ExtraTreesRegressor(8, min_samples_leaf=2, random_state=0)
_scaled_boosting = make_pipeline(StandardScaler(), HistGradientBoostingRegressor(max_iter=20, random_state=0))
MODELS: dict[str, Any] = {
    "ridge": make_pipeline(StandardScaler(), Ridge()),
    "random forest": Pipeline([("model", RandomForestRegressor(12, random_state=0))]),
    "trees of one leaf": RandomForestRegressor(3, min_samples_leaf=4000, random_state=0),
    "gradient boosting": GradientBoostingRegressor(n_estimators=20, random_state=0),
    "monotone boosting": HistGradientBoostingRegressor(max_iter=20, monotonic_cst=[0] * 10 + [1, 0], random_state=0),
    "gaussian process": GaussianProcess(most_rows=700),
    "scaled process": make_pipeline(StandardScaler(), GaussianProcess(most_rows=300)),
    "blend": VotingRegressor([("a", _forest), ("b", _scaled_boosting), ("c", GaussianProcess(300))], weights=[3, 2, 1]),
}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param].fit(as_frame(INPUTS), QUALITY)


def test_a_compiled_model_answers_as_the_training_library_on_every_wine(fitted: Any) -> None:
    expected = fitted.predict(as_frame(INPUTS))
    compiled = Compiled(fitted, 12)

    # All at once is sorted and split over threads; a few are not.
    assert np.abs(compiled.predict(INPUTS) - expected).max() < 1e-10
    assert np.abs(compiled.predict(INPUTS[:7]) - expected[:7]).max() < 1e-10


@pytest.mark.parametrize("left", [3, 5])
@pytest.mark.parametrize(
    "model", [RandomForestRegressor(4, bootstrap=False), HistGradientBoostingRegressor(max_iter=4)]
)
def test_wines_that_lie_on_a_split_go_the_way_of_the_training_library(model: Any, left: int) -> None:
    values = np.array([-1.0, 1.0]).repeat((left * 200, 1600 - left * 200))
    inputs = np.tile(values[:, None], 12)
    model.fit(inputs, np.where(values < 0, 4.0, 7.0))
    asked = np.tile(np.resize([0.0, -0.0, 1e-30, -1e-30, 5e-324, -5e-324], (1200, 1)), 12)

    answered = Compiled(model, 12).predict(asked)

    assert answered == pytest.approx(model.predict(asked), abs=1e-10)
    assert len(np.unique(answered.round(6))) == 2


def test_an_explanation_adds_up_to_the_prediction(fitted: Any) -> None:
    found = Explainer(Compiled(fitted, 12).parts, 12).explain(INPUTS[:5])

    total = found.base + found.contributions.sum(axis=1)
    assert np.abs(total - fitted.predict(as_frame(INPUTS[:5]))).max() < 1e-9
    assert np.allclose(found.base, found.base[0])


def test_an_explanation_of_a_single_split_is_what_shapley_values_are_by_hand() -> None:
    inputs = np.zeros((8, 12))
    inputs[:2, 10] = 1.0
    stump = RandomForestRegressor(1, bootstrap=False).fit(as_frame(inputs), np.array([9.0, 9] + [5.0] * 6))

    found = Explainer(Compiled(stump, 12).parts, 12).explain(inputs[[0, 7]])

    assert found.base == pytest.approx([6.0, 6.0])
    assert found.contributions[:, 10] == pytest.approx([3.0, -1.0])
    assert found.contributions[:, :10] == pytest.approx(np.zeros((2, 10)))


def test_an_explanation_of_a_gaussian_process_is_the_mean_over_all_orders_of_the_inputs() -> None:
    fitted = GaussianProcess(most_rows=40).fit(as_frame(INPUTS), QUALITY)
    posterior, wine = fitted.posterior(), INPUTS[5:6]
    found = Explainer(Compiled(fitted, 12).parts, 12).explain(wine)
    scaled = posterior.scaled(wine)[0]

    def worth(known: frozenset[int]) -> float:
        """With the other inputs drawn from the points, each by itself."""
        total = posterior.mean
        for number, power in ((0, 2), (1, 1)):
            factors = np.ones(len(posterior.points))
            for column, value in enumerate(scaled):
                values = np.array([value]) if column in known else posterior.points[:, column]
                far = np.abs(values[:, None] - posterior.points[:, column]) / posterior.length_scales[number, column]
                factors *= np.exp(-(far**power) / power).mean(axis=0)
            total += posterior.variances[number] * float(factors @ posterior.weights)
        return total

    others = [column for column in range(12) if column != 10]
    by_hand = 0.0
    for count in range(12):
        for chosen in combinations(others, count):
            share = 1 / (12 * comb(11, count))
            by_hand += share * (worth(frozenset({*chosen, 10})) - worth(frozenset(chosen)))
    assert found.base[0] == pytest.approx(worth(frozenset()))
    assert found.contributions[0, 10] == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize("model", [KNeighborsRegressor(), make_pipeline(PolynomialFeatures(2), Ridge())])
def test_what_cannot_be_compiled_is_refused_by_name(model: Any) -> None:
    with pytest.raises(IntegrityError, match=r"KNeighborsRegressor|PolynomialFeatures"):
        Compiled(model.fit(INPUTS[:50], QUALITY[:50]), 12)


@pytest.mark.parametrize("wrong", [2e-5, np.nan])
def test_one_reference_row_that_differs_refuses_the_version(wrong: float) -> None:
    compiled = Compiled(MODELS["ridge"].fit(as_frame(INPUTS), QUALITY), 12)
    expected = compiled.predict(INPUTS)
    check(compiled, INPUTS, expected + 5e-6)
    expected[4321] += wrong

    with pytest.raises(IntegrityError, match="answers 1 of 5320 reference rows otherwise"):
        check(compiled, INPUTS, expected)


@pytest.mark.parametrize("rows", [7, 1200])
@pytest.mark.parametrize("graphs", ["_forests", "_batch_forests"])
def test_a_graph_of_another_model_refuses_the_version_whichever_way_it_serves(graphs: str, rows: int) -> None:
    model, other = (
        ExtraTreesRegressor(4, min_samples_leaf=5, random_state=seed).fit(INPUTS, QUALITY) for seed in (0, 1)
    )
    compiled, expected = Compiled(model, 12), model.predict(INPUTS[:rows])
    check(compiled, INPUTS[:rows], expected)
    strange = getattr(Compiled(other, 12), graphs)[0].session
    getattr(compiled, graphs)[0] = replace(getattr(compiled, graphs)[0], session=strange)

    with pytest.raises(IntegrityError, match="reference rows otherwise"):
        check(compiled, INPUTS[:rows], expected)
