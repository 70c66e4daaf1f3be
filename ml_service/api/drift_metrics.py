"""The last monitoring report as Prometheus metrics: read from the record at each scrape of `GET /metrics`."""

import logging
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cuvee.database import monitoring_reports
from ml_service.wine import MODEL_NAME

log = logging.getLogger(__name__)

_VERDICTS = ("stable", "drifting", "degraded")


class DriftMetrics(Collector):
    """What `monitor_wine` wrote last; nothing before its first report, nor while the database does not answer."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def describe(self) -> list[Metric]:
        # Without it the registry would ask the database when this is registered.
        return []

    def collect(self) -> Iterator[Metric]:
        newest = monitoring_reports.c.report_id.desc()
        statement = sa.select(monitoring_reports).where(monitoring_reports.c.model_name == MODEL_NAME)
        try:
            with self._engine.connect() as connection:
                report = connection.execute(statement.order_by(newest).limit(1)).one_or_none()
        except sa.exc.SQLAlchemyError as error:
            log.warning("the last monitoring report cannot be read: %s", error)
            return
        if report is not None:
            yield from _families(report)


def _families(report: Any) -> Iterator[Metric]:
    made_at = GaugeMetricFamily("cuvee_wine_report_timestamp_seconds", "When the last monitoring report was made.")
    made_at.add_metric([], report.made_at.timestamp())
    yield made_at
    verdict = GaugeMetricFamily(
        "cuvee_wine_verdict", "1 for the verdict of the last report.", labels=["verdict", "version"]
    )
    for word in _VERDICTS:
        verdict.add_metric([word, str(report.model_version)], float(word == report.verdict))
    yield verdict
    columns = report.measures["columns"]
    for measure, meaning in (
        ("psi", "Population stability index"),
        ("ks", "Kolmogorov-Smirnov distance"),
        ("p_value", "p-value, corrected"),
    ):
        family = GaugeMetricFamily(
            f"cuvee_wine_drift_{measure}", f"{meaning} of a column against training.", labels=["column"]
        )
        for name, found in columns.items():
            family.add_metric([name], found[measure])
        yield family
    error = report.measures["error"]
    if error is not None:
        squared = GaugeMetricFamily(
            "cuvee_wine_squared_error", "Mean squared error, in quality points squared.", labels=["of"]
        )
        squared.add_metric(["live"], error["mean"])
        squared.add_metric(["training"], error["baseline"])
        yield squared
