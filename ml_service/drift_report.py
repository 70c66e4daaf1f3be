"""One monitoring report as people look at it: an MLflow run with measures and a page with tables and plots."""

import base64
import io
from typing import Any

import jinja2
import mlflow
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities import RunStatus

from cuvee.drift import Distribution, Profile
from cuvee.registry import RegisteredVersion
from ml_service.dataset import Floats
from ml_service.monitoring import SQUARED_ERROR, Verdict, Window

EXPERIMENT = "wine-monitoring"
RUN_KEY_TAG = "cuvee.run_key"

_COLUMNS_OF_PLOTS = 4
_PAGE = jinja2.Environment(autoescape=True).from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ verdict.word }}: version {{ version }}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}img{max-width:100%}.moved{font-weight:bold}</style></head><body>
<h1>{{ verdict.word | capitalize }}</h1>
<p>Version {{ version }} of {{ name }}; {{ window.predicted | length }} predictions,
{{ window.squared_errors | length }} observed qualities. {{ asked }}</p>
<ul>{% for reason in verdict.reasons %}<li>{{ reason }}</li>{% endfor %}</ul>
{% if verdict.error %}<h2>Live error</h2>
<table><tr><th></th><th>mean squared error</th></tr>
<tr><td>observed lately</td><td>{{ "%.3f" | format(verdict.error.mean) }}</td></tr>
<tr><td>unseen wines in training</td><td>{{ "%.3f" | format(verdict.error.baseline) }}</td></tr>
<tr><td>difference, interval</td><td>{{ "%.3f to %.3f" | format(verdict.error.low, verdict.error.high) }}</td></tr>
</table>{% endif %}
{% if verdict.moved %}<h2>Columns</h2>
<table><tr><th>column</th><th>PSI</th><th>KS distance</th><th>p-value, corrected</th></tr>
{% for one in verdict.moved %}<tr{% if one.p_value < significance and one.psi > psi %} class="moved"{% endif %}>
<td>{{ one.column }}</td><td>{{ "%.3f" | format(one.psi) }}</td><td>{{ "%.3f" | format(one.ks) }}</td>
<td>{{ "%.3g" | format(one.p_value) }}</td></tr>{% endfor %}</table>{% endif %}
<h2>Distributions</h2><p>Grey: when the model was trained. Blue: lately.</p>
<img alt="Distributions of every column, in training and lately" src="data:image/png;base64,{{ plots }}">
</body></html>
""")


def log_run(
    tracking_uri: str, run_key: str, version: RegisteredVersion, page: str, verdict: Verdict, retraining: bool
) -> tuple[str, str]:
    """Log to MLflow; ids of experiment and run. A run that an earlier try left open is closed."""
    mlflow.set_tracking_uri(tracking_uri)
    experiment = mlflow.set_experiment(EXPERIMENT)
    client, quoted = MlflowClient(tracking_uri), run_key.replace("'", "")
    open_runs = f"tags.`{RUN_KEY_TAG}` = '{quoted}' and status = 'RUNNING'"
    for left in client.search_runs([experiment.experiment_id], open_runs):
        client.set_terminated(left.info.run_id, RunStatus.to_string(RunStatus.KILLED))
    tags = {
        RUN_KEY_TAG: quoted,
        "cuvee.verdict": verdict.word,
        "cuvee.version": str(version.version),
        "cuvee.retraining": str(retraining).lower(),
    }
    with mlflow.start_run(experiment_id=experiment.experiment_id, run_name=verdict.word, tags=tags) as run:
        mlflow.log_metrics(_metrics(verdict))
        mlflow.log_text(page, "report.html")
        return str(experiment.experiment_id), str(run.info.run_id)


def _metrics(verdict: Verdict) -> dict[str, float]:
    found = {f"psi.{one.column}": one.psi for one in verdict.moved}
    found |= {f"ks.{one.column}": one.ks for one in verdict.moved}
    if verdict.error is not None:
        found |= {"live_mse": verdict.error.mean, "expected_mse": verdict.error.baseline}
        found |= {"mse_rise_low": verdict.error.low, "mse_rise_high": verdict.error.high}
    return found


def html(
    version: RegisteredVersion, profile: Profile, window: Window, verdict: Verdict, asked: str, limits: Any
) -> str:
    """The page, complete in itself.

    Args:
        version: the champion.
        profile: of its training.
        window: what is judged.
        verdict: on it.
        asked: whether a retraining is asked for, in words.
        limits: of the verdict, to mark the columns that moved.
    """
    return _PAGE.render(
        name=version.name,
        version=version.version,
        window=window,
        verdict=verdict,
        asked=asked,
        significance=limits.significance,
        psi=limits.psi,
        plots=_plots(profile, window),
    )


def _plots(profile: Profile, window: Window) -> str:
    """A PNG in base64: for every column the distribution in training and lately."""
    shown = {name: values for name, values in window.columns().items() if len(values)}
    if len(window.squared_errors):
        shown[SQUARED_ERROR] = window.squared_errors
    rows = -(-len(shown) // _COLUMNS_OF_PLOTS)
    figure = Figure(figsize=(12, 2.4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, _COLUMNS_OF_PLOTS, squeeze=False).flat
    for panel, (name, values) in zip(panels, shown.items(), strict=False):
        _panel(panel, name, profile.columns[name], values)
    for panel in list(panels):
        panel.set_axis_off()
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=90)
    return base64.b64encode(written.getvalue()).decode()


def _panel(panel: Any, name: str, baseline: Distribution, values: Floats) -> None:
    before = baseline.rows_like_it(5_000)
    low, high = np.quantile(np.concatenate([before, values]), [0.005, 0.995])
    bins = np.linspace(low, high if high > low else low + 1, 25)
    panel.hist(before, bins=bins, density=True, color="0.75")
    panel.hist(values, bins=bins, density=True, histtype="step", color="tab:blue", linewidth=1.5)
    panel.set(title=name, yticks=[])
