"""The verdict on what was predicted and observed, and when it asks for a retraining."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from cuvee.drift import Profile
from cuvee.errors import IntegrityError
from cuvee.registry import RegisteredVersion
from cuvee.settings import Settings
from ml_service.drift_report import html
from ml_service.monitoring import Earlier, Limits, Verdict, Window, asks_for_retraining, judge
from ml_service.wine import INPUT_COLUMNS

LIMITS = Limits.of(Settings())
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def columns(seed: int, rows: int) -> dict[str, np.ndarray]:
    """Made-up wines: twelve inputs, predictions, and squared errors whose mean is 0.5."""
    rng = np.random.default_rng(seed)
    found = {name: rng.standard_normal(rows) for name in INPUT_COLUMNS}
    return found | {"prediction": rng.normal(6, 0.5, rows), "squared_error": 0.5 * rng.standard_normal(rows) ** 2}


PROFILE = Profile.of(columns(0, 4_000))


def window(seed: int = 1, rows: int = 400, observed: int = 200, moved: float = 0.0, worse: float = 0.0) -> Window:
    found = columns(seed, max(rows, observed))
    found["alcohol"] += moved
    inputs = np.column_stack([found[name] for name in INPUT_COLUMNS])[:rows]
    return Window(inputs, found["prediction"][:rows], found["squared_error"][:observed] + worse)


def verdict(**changes: float) -> Verdict:
    found = judge(PROFILE, window(**changes), LIMITS)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_world_as_it_was_is_stable_and_says_what_was_looked_at() -> None:
    found = verdict()

    assert (found.word, found.strong) == ("stable", False)
    assert len(found.moved) == 13
    assert found.error is not None and found.error.baseline == pytest.approx(0.5, rel=0.05)
    assert "No column moved on 400 predictions." in found.reasons
    assert found.reasons[0].startswith("Mean squared error of 200 observed wines: 0.")


def test_a_column_that_moved_is_named_in_the_verdict_drifting() -> None:
    found = verdict(moved=0.6)

    assert (found.word, found.strong) == ("drifting", False)
    assert [reason.split()[0] for reason in found.reasons if "moved: PSI" in reason] == ["alcohol"]


def test_a_higher_live_error_is_degraded_also_where_columns_drift() -> None:
    assert (verdict(worse=0.25).word, verdict(worse=0.25).strong) == ("degraded", False)
    assert verdict(worse=0.25, moved=0.6).word == "degraded"


@pytest.mark.parametrize("changes", [{"moved": 2.0}, {"worse": 1.5}])
def test_what_leaves_no_doubt_is_strong_evidence(changes: dict[str, float]) -> None:
    assert verdict(**changes).strong


def test_a_move_that_is_sure_but_small_is_no_drift() -> None:
    found = verdict(rows=4_000, moved=0.15)

    alcohol = next(one for one in found.moved if one.column == "alcohol")
    assert alcohol.p_value < LIMITS.significance
    assert found.word == "stable"


@pytest.mark.parametrize(
    ("rows", "observed", "told"),
    [(199, 50, "199 predictions are too few"), (200, 49, "49 observed qualities are too few")],
)
def test_one_kind_of_evidence_is_enough_and_the_other_is_called_missing(rows: int, observed: int, told: str) -> None:
    assert any(told in reason for reason in verdict(rows=rows, observed=observed).reasons)


def test_with_too_little_of_both_there_is_no_verdict() -> None:
    assert judge(PROFILE, window(rows=199, observed=49), LIMITS) is None


def test_a_profile_without_a_column_is_refused_by_name() -> None:
    lacking = Profile({name: one for name, one in PROFILE.columns.items() if name != "squared_error"})

    with pytest.raises(IntegrityError, match="lacks squared_error"):
        judge(lacking, window(), LIMITS)


def report(word: str, hours_ago: float, retraining: bool = False, version: int = 3) -> Earlier:
    return Earlier(version, word, retraining, NOW - timedelta(hours=hours_ago))


DRIFTING, STRONG, WORSE = verdict(moved=0.6), verdict(moved=2.0), verdict(worse=0.25)


@pytest.mark.parametrize(
    ("now", "earlier", "asked"),
    [
        (verdict(), [report("degraded", 1)], False),
        (DRIFTING, [], False),
        (DRIFTING, [report("stable", 1), report("drifting", 2)], False),
        (DRIFTING, [report("drifting", 1, version=2)], False),
        (DRIFTING, [report("degraded", 1)], True),
        (STRONG, [], True),
        (STRONG, [report("drifting", 23, retraining=True, version=2)], False),
        (DRIFTING, [report("drifting", 1), report("drifting", 23, retraining=True)], False),
        (WORSE, [report("degraded", 1), report("degraded", 25, retraining=True)], True),
    ],
    ids=[
        "stable asks for nothing",
        "one alarm is not enough",
        "a stable report between two alarms",
        "an alarm about another version",
        "two alarms in a row",
        "strong evidence asks at once",
        "but not within the cool-down, whatever the version",
        "nor do two alarms",
        "after the cool-down a worse error asks again",
    ],
)
def test_when_a_retraining_is_asked_for(now: Verdict, earlier: list[Earlier], asked: bool) -> None:
    assert asks_for_retraining(now, 3, earlier, LIMITS, NOW)[0] is asked


ASKED = report("drifting", 25, retraining=True, version=2)


@pytest.mark.parametrize(
    ("earlier", "received", "asked"),
    [
        ([report("drifting", 1), ASKED], 49, False),
        ([report("drifting", 1), ASKED], 50, True),
        ([report("drifting", 1), report("stable", 3), ASKED], 0, True),
        ([report("drifting", 1), ASKED, report("stable", 26)], 0, False),
    ],
    ids=[
        "nothing new can be learnt",
        "enough qualities were observed",
        "it is another shift: the last was over",
        "what was stable before the retraining was asked for ends no shift",
    ],
)
@pytest.mark.parametrize("now", [DRIFTING, STRONG], ids=["drifting", "strong"])
def test_inputs_that_stay_moved_ask_again_only_with_new_observed_qualities(
    now: Verdict, earlier: list[Earlier], received: int, asked: bool
) -> None:
    found, told = asks_for_retraining(now, 3, earlier, LIMITS, NOW, received)

    assert found is asked
    if not asked:
        assert f"asked for at 2026-11-23 11:00, and since then {received} observed qualities" in told
        assert "nothing new" in told and "POST /observations" in told


def test_a_shift_that_lasts_a_month_asks_for_one_retraining() -> None:
    earlier: list[Earlier] = []
    for hour in range(30 * 24):
        now = NOW + timedelta(hours=hour)
        retraining, _ = asks_for_retraining(STRONG, 3, earlier, LIMITS, now)
        earlier.insert(0, Earlier(3, STRONG.word, retraining, now))

    assert [one.made_at for one in earlier if one.retraining] == [NOW]


def test_the_report_shows_verdict_reasons_every_column_and_a_plot_and_escapes_what_it_quotes() -> None:
    version = RegisteredVersion("wine <b>", 3, "run", "source", {}, NOW)

    page = html(version, PROFILE, window(moved=2.0), replace(STRONG, reasons=("a < b",)), "Asked.", LIMITS)

    assert "<h1>Drifting</h1>" in page and "Asked." in page
    assert "wine &lt;b&gt;" in page and "a &lt; b" in page
    assert all(f"<td>{name}</td>" in page for name in INPUT_COLUMNS)
    assert page.count('class="moved"') == 1
    assert "data:image/png;base64,iVBOR" in page
