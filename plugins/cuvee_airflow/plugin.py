"""Links from the Airflow UI to what a task made: its MLflow run, and the service that serves the result."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.bases.operatorlink import BaseOperatorLink
from airflow.serialization.definitions.operatorlink import XComOperatorLink

from cuvee.settings import Settings


class _ReceiptLink(BaseOperatorLink):
    """A button on every task whose receipt (its XCom values) has this key; grey on the others."""

    name = ""
    receipt_key = ""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XComOperatorLink(name=self.name, xcom_key=self.receipt_key).get_link(operator, ti_key=ti_key)


class MlflowRunLink(_ReceiptLink):
    name = "MLflow run"
    receipt_key = "run_url"


class ServiceLink(_ReceiptLink):
    name = "Service"
    receipt_key = "service_url"


def _views() -> list[dict[str, str]]:
    settings = Settings.load()
    places = {
        "MLflow": settings.public_mlflow_url,
        "Questions (rag_service)": f"{settings.public_rag_url}/docs",
        "Predictions (ml_service)": f"{settings.public_ml_url}/docs",
    }
    return [{"name": name, "href": href, "destination": "nav", "category": "browse"} for name, href in places.items()]


class CuveePlugin(AirflowPlugin):
    name = "cuvee"
    global_operator_extra_links = [MlflowRunLink(), ServiceLink()]  # noqa: RUF012  Airflow's own protocol
    external_views = _views()
