"""The tasks that watch the champion, and that bring what was observed back into training."""

import json
import logging
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cuvee.errors import IntegrityError
from cuvee.settings import Settings
from ml_service.pipeline.run import OBSERVED, Receipt, work_dir
from ml_service.wine import MODEL_NAME

if TYPE_CHECKING:
    import sqlalchemy as sa

    from cuvee.drift import Profile
    from cuvee.registry import RegisteredVersion, Registry

log = logging.getLogger(__name__)


def measure_drift(run_key: str, settings: Settings | None = None) -> Receipt:
    """Judge what the champion answered lately; log the report to MLflow and one row in `monitoring_reports`.

    A repeated try of the same run finds its row and changes nothing.

    Returns:
        verdict (None: there is no champion, or too little to say anything), reasons, retraining, version, run_url.

    Raises:
        IntegrityError: the champion's run has no profile.
        NotReadyError: MLflow does not answer.
    """
    from cuvee.database import connect
    from cuvee.registry import Registry
    from ml_service import observations

    settings = settings or Settings.load()
    engine = connect(settings.resolved_database_url)
    try:
        with engine.connect() as connection:
            found = observations.recorded_report(connection, run_key)
        if found is None:
            nothing = _report(engine, Registry(settings.resolved_mlflow_uri), run_key, settings)
            if nothing is not None:
                log.info("%s", nothing)
                return {"verdict": None, "reasons": [nothing], "retraining": False, "version": None, "run_url": None}
            with engine.connect() as connection:
                found = observations.recorded_report(connection, run_key)
    finally:
        engine.dispose()
    assert found is not None, "it was written a moment ago"
    for told in (f"version {found.model_version} is {found.verdict}", *found.reasons):
        log.info("%s", told)
    return {
        "verdict": found.verdict,
        "reasons": list(found.reasons),
        "retraining": found.retraining,
        "version": found.model_version,
        "run_url": found.run_url,
    }


def _report(engine: "sa.Engine", registry: "Registry", run_key: str, settings: Settings) -> str | None:
    """Make and record one report; why not, where there is nothing to report."""
    from ml_service import drift_report, observations
    from ml_service.monitoring import Limits, asks_for_retraining, judge

    champion = registry.champion(MODEL_NAME)
    if champion is None:
        return "No champion yet: run the DAG train_wine; then there is something to watch."
    limits, now, version = Limits.of(settings), datetime.now(UTC), champion.version
    since = now - timedelta(hours=settings.monitor_window_hours)
    profile = _profile(registry, champion)
    with engine.connect() as connection:
        window = observations.window(connection, version, since, settings.monitor_most_rows)
        earlier = observations.earlier_reports(connection, limits.consecutive)
        asked_at = next((one.made_at for one in earlier if one.retraining), None)
        received = observations.received_since(connection, asked_at) if asked_at else 0
    verdict = judge(profile, window, limits)
    if verdict is None:
        return (
            f"Lately version {version} made {len(window.predicted)} predictions, and {len(window.squared_errors)} "
            f"qualities were observed; a report needs {limits.least_rows} of the former (CUVEE_MONITOR_LEAST_ROWS) or "
            f"{limits.least_observed} of the latter (CUVEE_MONITOR_LEAST_OBSERVED)."
        )
    retraining, asked = asks_for_retraining(verdict, version, earlier, limits, now, received)
    page = drift_report.html(champion, profile, window, verdict, asked, limits)
    mlflow_url, public_url = settings.resolved_mlflow_uri, settings.public_mlflow_url
    experiment, run = drift_report.log_run(mlflow_url, run_key, champion, page, verdict, retraining)
    run_url = f"{public_url}/#/experiments/{experiment}/runs/{run}"
    told = replace(verdict, reasons=(*verdict.reasons, asked))
    with engine.begin() as connection:
        observations.record_report(connection, run_key, version, told, retraining, run_url)
    return None


def _profile(registry: "Registry", champion: "RegisteredVersion") -> "Profile":
    """What the champion's training run logged; IntegrityError where it is not there or is none."""
    from cuvee.drift import Profile

    with tempfile.TemporaryDirectory(prefix="cuvee-profile-") as folder:
        written = registry.run_file(champion, "serving/profile.json", Path(folder)).read_text()
    try:
        return Profile.from_json(json.loads(written))
    except ValueError as error:
        raise IntegrityError(
            f"The profile of {champion.name} version {champion.version} is no JSON; train it again: {error}."
        ) from error


def collect_observations(run_key: str, settings: Settings | None = None) -> Receipt:
    """Export every wine whose quality was observed, in the form of the wine table, for the Spark job.

    A repeated try writes the file anew.

    Returns:
        path (a folder; None where nothing was observed), rows.
    """
    from cuvee.database import connect
    from ml_service import observations

    settings = settings or Settings.load()
    target = settings.batches_dir / OBSERVED / work_dir(settings, run_key).name / "observed.parquet"
    engine = connect(settings.resolved_database_url)
    try:
        with engine.connect() as connection:
            rows = observations.export(connection, target)
    finally:
        engine.dispose()
    log.info("%d wines were observed: %s", rows, target)
    return {"path": str(target.parent) if rows else None, "rows": rows}
