"""One feature table by a real Spark, and an MLflow whose registry is empty at the start of each test."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from mlflow import MlflowClient
from mlflow.exceptions import RestException

from cuvee.settings import Settings
from ml_service import pipeline
from ml_service.wine import MODEL_NAME


@pytest.fixture(scope="session")
def features(spark_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Receipt of `prepare_features` on the real wine table."""
    settings = Settings(home=tmp_path_factory.mktemp("features"), spark_url=spark_url)
    return pipeline.prepare_features("scheduled__2026-11-21T03:00:00+00:00", settings)


@pytest.fixture
def wine_settings(settings: Settings, engine: sa.Engine, mlflow_url: str) -> Settings:
    """Settings of a PostgreSQL and an MLflow that are both empty."""
    try:
        MlflowClient(mlflow_url, mlflow_url).delete_registered_model(MODEL_NAME)
    except RestException as error:
        assert error.error_code == "RESOURCE_DOES_NOT_EXIST"
    return settings.model_copy(update={"mlflow_uri": mlflow_url})


@pytest.fixture
def wine_table(tmp_path: Path) -> Path:
    """A folder for wine CSVs that `Settings.wine_dir` finds first, as `home` is `tmp_path`."""
    folder = tmp_path / "data" / "wine"
    folder.mkdir(parents=True)
    return folder
