"""Requests that arrive together are one call of the model, and each gets its own answer."""

import asyncio
from typing import Any

import numpy as np
import pytest

from ml_service.api.batching import Batcher
from ml_service.inference import Predicted


class Model:
    """Answers the sum of a row; remembers how many rows each call had."""

    def __init__(self, broken: bool = False) -> None:
        self.calls: list[int] = []
        self.broken = broken

    def answer(self, inputs: np.ndarray) -> Predicted:
        self.calls.append(len(inputs))
        if self.broken:
            raise ValueError("no")
        quality = inputs.sum(axis=1)
        return Predicted(quality, quality - 1, quality + 1)


def rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 10, (1 + seed % 3, 12))


async def together(batcher: Batcher, *asked: tuple[Any, np.ndarray]) -> list[Any]:
    return await asyncio.gather(*(batcher.answer(*one) for one in asked), return_exceptions=True)


def test_each_request_gets_what_the_model_answers_to_it_alone() -> None:
    first, second = Model(), Model()
    asked: list[tuple[Any, np.ndarray]] = [((first, second)[seed % 2], rows(seed)) for seed in range(20)]

    found = asyncio.run(together(Batcher(), *asked))

    assert (len(first.calls), len(second.calls)) == (1, 1)
    for (_, inputs), one in zip(asked, found, strict=True):
        alone = Model().answer(inputs)
        assert one.quality == pytest.approx(alone.quality)
        assert (one.low == one.quality - 1).all() and (one.high == one.quality + 1).all()


def test_what_comes_later_is_answered_later() -> None:
    async def twice() -> list[int]:
        batcher, model = Batcher(), Model()
        await together(batcher, (model, rows(0)), (model, rows(1)))
        await together(batcher, (model, rows(2)))
        return model.calls

    assert asyncio.run(twice()) == [3, 3]


def test_a_model_that_fails_fails_its_own_requests_only() -> None:
    good, broken = Model(), Model(broken=True)

    found = asyncio.run(together(Batcher(), (good, rows(0)), (broken, rows(1)), (broken, rows(2))))

    assert isinstance(found[0], Predicted)
    assert [type(one) for one in found[1:]] == [ValueError, ValueError]


def test_a_request_whose_client_has_gone_does_not_harm_the_others() -> None:
    async def one_goes() -> Predicted:
        batcher, model = Batcher(), Model()
        gone, stays = (asyncio.ensure_future(batcher.answer(model, rows(seed))) for seed in (0, 1))
        await asyncio.sleep(0)
        gone.cancel()
        return await stays

    assert asyncio.run(one_goes()).quality == pytest.approx(rows(1).sum(axis=1))
