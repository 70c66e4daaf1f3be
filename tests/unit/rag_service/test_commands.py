"""How `cuvee index list` tells of what made which generations."""

import pytest

from rag_service.commands import spans


@pytest.mark.parametrize(
    ("numbers", "told"), [([], ""), ([3], "3"), ([3, 2, 1], "1 to 3"), ([9, 8, 5, 3, 2], "8 to 9, 5, 2 to 3")]
)
def test_generations_in_a_row_are_told_together(numbers: list[int], told: str) -> None:
    assert spans(numbers) == told
