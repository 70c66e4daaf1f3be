"""Watching a real champion: its own profile, rows in a real PostgreSQL, reports in a real MLflow."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from mlflow import MlflowClient

from cuvee.database import monitoring_reports, observed_qualities, predictions
from cuvee.drift import Profile
from cuvee.registry import Registry
from cuvee.settings import Settings
from ml_service import dataset, inference, monitoring, observations, pipeline
from ml_service.api import app as service
from ml_service.inference import ServedModel
from ml_service.monitoring import Earlier, Limits, Window
from ml_service.wine import FEATURE_NAMES, MODEL_NAME
from tests import wine_world

pytestmark = pytest.mark.integration

SEEDS = 20


@pytest.fixture
def champion(wine_settings: Settings, engine: sa.Engine, features: dict[str, Any]) -> ServedModel:
    candidate = pipeline.train_candidate(
        features, "first", {"estimator": "extra_trees", "n_estimators": 60}, wine_settings
    )
    assert pipeline.decide_promotion(candidate, features, wine_settings)["promoted"]
    registry = Registry(wine_settings.resolved_mlflow_uri)
    return inference.load(registry, registry.version(MODEL_NAME, candidate["version"]))


@pytest.fixture
def profile(champion: ServedModel, wine_settings: Settings, tmp_path: Path) -> Profile:
    registry = Registry(wine_settings.resolved_mlflow_uri)
    version = registry.version(MODEL_NAME, champion.version)
    return Profile.from_json(json.loads(registry.run_file(version, "serving/profile.json", tmp_path).read_text()))


def answered(
    engine: sa.Engine, champion: ServedModel, wines: list[dict[str, Any]], quality: np.ndarray | None = None
) -> list[UUID]:
    """What the service records of these wines, and of their qualities once they are observed."""
    predicted = champion.predict(dataset.encode(wines))
    ids = [uuid4() for _ in wines]
    about = {"key_id": 1, "model_name": MODEL_NAME, "model_version": champion.version}
    rows = [
        {"prediction_id": i, "sample": wine, "quality": float(p), **about}
        for i, wine, p in zip(ids, wines, predicted, strict=True)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(predictions), rows)
        if quality is not None:
            seen = [{"prediction_id": i, "quality": float(q), "key_id": 1} for i, q in zip(ids, quality, strict=True)]
            connection.execute(sa.insert(observed_qualities), seen)
    return ids


def reports(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(monitoring_reports).order_by(monitoring_reports.c.report_id)))


def test_with_no_shift_no_retraining_is_asked_for_in_at_least_19_of_20_worlds(
    champion: ServedModel, profile: Profile, features: dict[str, Any]
) -> None:
    # Wines that the champion has not seen, as the future's are.
    held_out = dataset.load(Path(features["path"]))
    unseen = dataset.as_frame(held_out.inputs[held_out.split == "test"])
    rows = unseen.assign(
        colour=np.where(unseen.pop("is_white") == 1, "white", "red"),
        quality=held_out.quality[held_out.split == "test"],
    )
    limits, now = Limits.of(Settings()), datetime.now(UTC)

    asked, words = 0, []
    for seed in range(SEEDS):
        earlier: list[Earlier] = []
        # An hour's wines leave the window and as many come: the next report is of nearly the same ones.
        most, hourly = 300, 300 // 72
        wines, quality = wine_world.samples(seed, most + hourly, rows)
        inputs = dataset.encode(wines)
        predicted = champion.predict(inputs)
        errors = (predicted - quality) ** 2
        for hour in range(2):
            seen = slice(hour * hourly, hour * hourly + most)
            verdict = monitoring.judge(profile, Window(inputs[seen], predicted[seen], errors[seen]), limits)
            assert verdict is not None
            retraining, _ = monitoring.asks_for_retraining(verdict, 1, earlier, limits, now)
            earlier.insert(0, Earlier(1, verdict.word, retraining, now))
            words.append(verdict.word)
        asked += any(one.retraining for one in earlier)

    print(f"{SEEDS} worlds, {len(words)} reports: {asked} asked for a retraining; {words.count('stable')} stable")
    assert asked <= 1


def test_a_vintage_that_follows_another_rule_is_found_reported_and_asks_for_one_retraining(
    champion: ServedModel, profile: Profile, wine_settings: Settings, engine: sa.Engine
) -> None:
    wines, quality = wine_world.vintage(0, 400)
    answered(engine, champion, wines, quality)

    found = pipeline.measure_drift("monday 10:23", wine_settings)
    again = pipeline.measure_drift("monday 10:23", wine_settings)
    next_hour = pipeline.measure_drift("monday 11:23", wine_settings)

    assert (found["verdict"], found["retraining"], found["version"]) == ("degraded", True, 1)
    assert found["reasons"][0].startswith("Mean squared error of 400 observed wines: 1.")
    assert any(reason.startswith("alcohol moved: PSI") for reason in found["reasons"])
    assert again == found
    assert (next_hour["verdict"], next_hour["retraining"]) == ("degraded", False)
    assert "cool-down is not over" in next_hour["reasons"][-1]
    first, second = reports(engine)
    assert first.measures["error"]["mean"] == pytest.approx(
        float(((champion.predict(dataset.encode(wines)) - quality) ** 2).mean())
    )
    assert first.measures["columns"]["alcohol"]["psi"] > 0.5
    assert second.run_key == "monday 11:23"
    client = MlflowClient(wine_settings.resolved_mlflow_uri)
    run = client.get_run(found["run_url"].rsplit("/", 1)[-1])
    assert (run.data.tags["cuvee.verdict"], run.info.status) == ("degraded", "FINISHED")
    assert run.data.metrics["live_mse"] == pytest.approx(first.measures["error"]["mean"])
    page = Path(client.download_artifacts(run.info.run_id, "report.html")).read_text()
    assert "<h1>Degraded</h1>" in page and "A retraining" not in page


def test_what_decides_on_a_retraining_is_found_however_long_ago_it_was(engine: sa.Engine) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    hours_ago = {100: "stable", 90: "drifting", 80: "drifting", 70: "stable", 60: "stable", 3: "drifting"}
    hours_ago |= {2: "drifting", 1: "drifting"}
    rows = [
        {
            "run_key": str(hours),
            "made_at": now - timedelta(hours=hours),
            "model_name": MODEL_NAME,
            "model_version": 1,
            "verdict": word,
            "reasons": [],
            "strong": False,
            "retraining": hours in (90, 80),
            "measures": {},
            "run_url": "",
        }
        for hours, word in hours_ago.items()
    ]
    ids = [uuid4() for _ in range(4)]
    about = {"key_id": 1, "model_name": MODEL_NAME, "model_version": 1, "quality": 6.0}
    samples = [{"prediction_id": i, "sample": {}, "role": "champion", "shadow_of": None, **about} for i in ids]
    samples[3] |= {"role": "shadow", "shadow_of": ids[0]}
    seen = [
        {"prediction_id": i, "quality": 6.0, "key_id": 1, "received_at": now - timedelta(hours=hours)}
        for i, hours in zip(ids, (81, 79, 1, 1), strict=True)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(monitoring_reports), rows)
        connection.execute(sa.insert(predictions), samples)
        connection.execute(sa.insert(observed_qualities), seen)

    with engine.connect() as connection:
        found = observations.earlier_reports(connection, 2)
        received = observations.received_since(connection, now - timedelta(hours=80))

    assert [(now - one.made_at) / timedelta(hours=1) for one in found] == [1, 2, 60, 80]
    assert received == 2


def test_the_last_report_is_among_the_metrics_of_the_service(
    champion: ServedModel, profile: Profile, wine_settings: Settings, engine: sa.Engine
) -> None:
    with TestClient(service.create_app(wine_settings)) as client:
        assert "cuvee_wine" not in client.get("/metrics").text
        wines, quality = wine_world.vintage(0, 250)
        answered(engine, champion, wines, quality)
        pipeline.measure_drift("now", wine_settings)
        metrics = client.get("/metrics").text

    values = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("cuvee_wine"))
    (report,) = reports(engine)
    assert float(values['cuvee_wine_verdict{verdict="degraded",version="1"}']) == 1
    assert float(values['cuvee_wine_verdict{verdict="stable",version="1"}']) == 0
    assert float(values['cuvee_wine_drift_psi{column="alcohol"}']) == report.measures["columns"]["alcohol"]["psi"]
    assert float(values['cuvee_wine_squared_error{of="live"}']) == report.measures["error"]["mean"]
    assert float(values["cuvee_wine_report_timestamp_seconds"]) == pytest.approx(report.made_at.timestamp())


def test_without_a_champion_or_with_too_few_rows_it_says_so_and_writes_nothing(
    wine_settings: Settings, engine: sa.Engine, features: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    before = pipeline.measure_drift("none", wine_settings)
    champion = request.getfixturevalue("champion")
    request.getfixturevalue("profile")
    wines, quality = wine_world.samples(0, 49)
    ids = answered(engine, champion, wines, quality)
    # Neither shadows, nor other versions, nor what is older than the window counts.
    answered(engine, champion, wine_world.samples(1, 400)[0])
    with engine.begin() as connection:
        others = sa.select(predictions.c.prediction_id).where(predictions.c.prediction_id.not_in(ids)).limit(200)
        shadow = {"role": "shadow", "shadow_of": ids[0]}
        connection.execute(sa.update(predictions).where(predictions.c.prediction_id.in_(others)).values(**shadow))
        rest = predictions.c.prediction_id.not_in(ids) & (predictions.c.role == "champion")
        old = datetime.now(UTC) - timedelta(hours=73)
        connection.execute(sa.update(predictions).where(rest).values(predicted_at=old))

    after = pipeline.measure_drift("few", wine_settings)

    assert (before["verdict"], before["retraining"]) == (None, False)
    assert "No champion yet" in before["reasons"][0]
    assert after["verdict"] is None
    assert "made 49 predictions, and 49 qualities were observed" in after["reasons"][0]
    assert reports(engine) == []


def test_observed_wines_become_dated_rows_of_the_feature_table_and_shadows_do_not(
    champion: ServedModel, wine_settings: Settings, engine: sa.Engine, spark_url: str
) -> None:
    settings = wine_settings.model_copy(update={"spark_url": spark_url})
    assert pipeline.collect_observations("none", settings) == {"path": None, "rows": 0}
    wines, quality = wine_world.vintage(0, 40)
    ids = answered(engine, champion, wines, quality)
    tasted = datetime(2026, 11, 1, 12, tzinfo=UTC)
    (shadow,) = answered(engine, champion, wines[:1], np.array([3.0]))
    with engine.begin() as connection:
        beside = {"role": "shadow", "shadow_of": ids[0]}
        connection.execute(sa.update(predictions).where(predictions.c.prediction_id == shadow).values(**beside))
        connection.execute(sa.update(observed_qualities).values(observed_at=tasted))

    observed = pipeline.collect_observations("run", settings)
    assert pipeline.collect_observations("run", settings) == observed
    features = pipeline.prepare_features("run", settings, observed)

    assert observed["rows"] == 40
    table = pd.read_parquet(features["path"])
    dated = table[table.observed_at.notna()]
    expected = pd.DataFrame(wines).assign(quality=quality.astype(int))
    columns = [*FEATURE_NAMES, "colour", "quality"]
    pd.testing.assert_frame_equal(
        dated[columns].sort_values(columns, ignore_index=True),
        expected[columns].sort_values(columns, ignore_index=True),
        check_dtype=False,
    )
    assert set(pd.to_datetime(dated.observed_at, utc=True)) == {pd.Timestamp(tasted)}
    loaded = dataset.load(Path(features["path"]))
    assert loaded.observed_at is not None
    assert np.isnan(loaded.observed_at).sum() == len(table) - 40


def test_impossible_times_from_before_they_were_refused_stop_no_training(settings: Settings, engine: sa.Engine) -> None:
    wines, _ = wine_world.samples(0, 3)
    ids = [uuid4() for _ in wines]
    about = {"key_id": 1, "model_name": MODEL_NAME, "model_version": 1, "quality": 6.0}
    rows = [{"prediction_id": i, "sample": wine, **about} for i, wine in zip(ids, wines, strict=True)]
    with engine.begin() as connection:
        connection.execute(sa.insert(predictions), rows)
        for one, observed_at in zip(ids, ["0001-12-31 12:00 BC", "2026-11-01 12:00Z", "12000-01-01"], strict=True):
            seen = {"prediction_id": one, "quality": 6.0, "key_id": 1, "observed_at": sa.cast(observed_at, sa.Text)}
            seen["observed_at"] = sa.cast(seen["observed_at"], observed_qualities.c.observed_at.type)
            connection.execute(sa.insert(observed_qualities).values(**seen))
        told = connection.execute(sa.select(sa.func.max(observed_qualities.c.received_at))).scalar_one()

    observed = pipeline.collect_observations("run", settings)

    times = pd.read_parquet(observed["path"])["observed_at"].tolist()
    assert times == [datetime(1990, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, 12, tzinfo=UTC), told]


@pytest.mark.parametrize(("answer", "served"), [("Approve", 1), ("Reject", None)])
def test_a_person_is_asked_before_the_alias_moves_and_the_answer_is_recorded(
    answer: str, served: int | None, wine_settings: Settings, engine: sa.Engine, features: dict[str, Any]
) -> None:
    settings = wine_settings.model_copy(update={"wine_approval": "human"})
    registry = Registry(settings.resolved_mlflow_uri)
    candidate = pipeline.train_candidate(
        features, "asked", {"estimator": "extra_trees", "n_estimators": 10, "min_samples_leaf": 5}, settings
    )

    decided = pipeline.decide_promotion(candidate, features, settings)
    assert (decided["promoted"], decided["waiting"], registry.champion(MODEL_NAME)) == (False, True, None)
    assert decided["reason"] in decided["evidence"] and "| white |" in decided["evidence"]
    response = {
        "chosen_options": [answer],
        "params_input": {"why": "tasted it"},
        "responded_by_user": {"id": "1", "name": "Ada"},
    }
    settled = pipeline.settle_promotion(decided, response, settings)

    assert (settled["promoted"], settled["champion_version"]) == (served == 1, served)
    reason = registry.version(MODEL_NAME, 1).tags["cuvee.reason"]
    assert reason.endswith("pproved by Ada: tasted it." if served else "ejected by Ada: tasted it.")
