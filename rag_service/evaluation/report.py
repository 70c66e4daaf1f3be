"""An evaluation as people look at it: an MLflow run with measures, a table by topic, and two plots."""

import json
from collections.abc import Mapping, Sequence

import mlflow
from matplotlib.figure import Figure

from rag_service.evaluation import threshold
from rag_service.evaluation.measuring import SYSTEMS, Measured, summary
from rag_service.evaluation.threshold import OperatingPoint

EXPERIMENT = "index-evaluation"


def log_run(
    tracking_uri: str,
    name: str,
    measured: Sequence[Measured],
    about: Mapping[str, str],
    refused_below: float,
    fitted: Sequence[Measured] = (),
) -> str:
    """Log to MLflow; the run's id.

    Args:
        tracking_uri: of MLflow.
        name: of the run.
        measured: every case.
        about: generation, golden set and so on, as tags.
        refused_below: the threshold of refusal.
        fitted: the cases on which that was chosen, if it was.
    """
    point = threshold.point(measured, refused_below)
    mlflow.set_tracking_uri(tracking_uri)
    experiment = mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(experiment_id=experiment.experiment_id, run_name=name, tags=dict(about)) as run:
        mlflow.log_metrics(summary(measured) | {f"refusal.{name}": value for name, value in vars(point).items()})
        groups = sorted({one.case.group for one in measured})
        by_group = {group: summary([one for one in measured if one.case.group == group]) for group in groups}
        mlflow.log_text(json.dumps(by_group, indent=2), "by_group.json")
        mlflow.log_figure(systems_figure(summary(measured)), "plots/systems.png")
        mlflow.log_figure(risk_coverage_figure(measured, point), "plots/risk_coverage.png")
        if fitted:
            chosen = threshold.point(fitted, refused_below)
            mlflow.log_figure(risk_coverage_figure(fitted, chosen), "plots/risk_coverage_fitted.png")
        return str(run.info.run_id)


def systems_figure(found: Mapping[str, float]) -> Figure:
    """nDCG@10 and hit@1 of hybrid search beside its plain rivals."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for place, measure in enumerate(("ndcg_10", "hit_1")):
        places = [index + (place - 0.5) * 0.38 for index in range(len(SYSTEMS))]
        bars = axes.bar(places, [found.get(f"{system}.{measure}", 0.0) for system in SYSTEMS], 0.36, label=measure)
        axes.bar_label(bars, fmt="%.3f", fontsize=8)
    axes.set_xticks(range(len(SYSTEMS)), SYSTEMS)
    axes.set_ylim(0, 1.05)
    axes.legend(loc="lower right")
    axes.set_title("Retrieval")
    return figure


def risk_coverage_figure(measured: Sequence[Measured], point: OperatingPoint) -> Figure:
    """How often an answer is wrong, when the surest so many questions are answered; the threshold is marked."""
    curve = threshold.curve(measured)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.coverage, curve.risk, color="#7b1e3b")
    label = f"refused below {point.threshold:.3f}: {point.kept:.0%} of the answerable questions answered"
    axes.plot([point.coverage], [point.risk], "o", color="#1e3b7b", label=label)
    axes.legend(loc="lower right")
    axes.set_xlabel("share of questions answered, the surest first")
    axes.set_ylabel("share of these answers without the right one")
    axes.set_ylim(0, 1)
    axes.set_title("Risk and coverage")
    return figure
