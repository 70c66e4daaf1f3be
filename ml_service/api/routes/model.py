"""`GET /model`."""

from fastapi import APIRouter

from ml_service.api.deps import CallerDep, ServingDep
from ml_service.api.schemas import ModelResponse, failing

router = APIRouter(tags=["model"])


@router.get("/model", summary="What is served: version, metrics, data checksum, since when")
def model(_: CallerDep, serving: ServingDep) -> ModelResponse:
    served = serving.model
    return ModelResponse(
        name=served.name,
        version=served.version,
        since=served.since,
        metrics=served.metrics,
        data_checksum=served.data_checksum,
        **failing(serving.failure),
    )
