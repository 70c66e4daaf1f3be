"""A model that a person has gone back from does not come back by itself."""

from datetime import UTC, datetime

import pytest

from cuvee.champions import DECISION_TAG, ROLLED_BACK
from cuvee.promotion import Decision
from cuvee.registry import RegisteredVersion
from ml_service.artifact import CHECKSUM_TAG
from ml_service.pipeline.promotion import held_back
from ml_service.training import PARAMS_TAG

BETTER = Decision(True, "It is better.", 0.1, 0.05, 1_000)
WORSE = Decision(False, "It is worse.", -0.1, -0.2, 1_000)


def version(number: int, data: str = "a", params: str = "{}", decided: str = "promoted") -> RegisteredVersion:
    tags = {CHECKSUM_TAG: data, PARAMS_TAG: params, DECISION_TAG: decided}
    return RegisteredVersion("wine-quality", number, f"run{number}", "", tags, datetime.now(UTC))


CHAMPION = version(1, data="old")
LEFT = version(2, decided=ROLLED_BACK)


def test_the_same_model_again_is_kept_out_after_a_rollback_and_says_why() -> None:
    found = held_back(BETTER, version(3), CHAMPION, [version(3), LEFT, CHAMPION])

    assert not found.promoted
    assert found.reason.startswith("It is better.")
    assert "version 2, which was rolled back from" in found.reason


@pytest.mark.parametrize(
    ("decision", "challenger", "champion", "versions"),
    [
        (BETTER, version(3, data="b"), CHAMPION, [LEFT, CHAMPION]),
        (BETTER, version(3, params='{"seed": 8}'), CHAMPION, [LEFT, CHAMPION]),
        (BETTER, version(3), LEFT, [LEFT, CHAMPION]),
        (BETTER, version(3), CHAMPION, [version(2), CHAMPION]),
        (WORSE, version(3), CHAMPION, [LEFT, CHAMPION]),
    ],
    ids=["other data", "other parameters", "served again by hand", "no rollback", "no better anyway"],
)
def test_all_else_is_decided_as_it_was(
    decision: Decision, challenger: RegisteredVersion, champion: RegisteredVersion, versions: list[RegisteredVersion]
) -> None:
    assert held_back(decision, challenger, champion, versions) == decision
