"""`POST /invocations`: what MLflow's model server answers, so that its clients can be pointed here."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from cuvee.service import RawRoute, route_telling
from ml_service.api import answering, tables
from ml_service.api.schemas import VersionQuery


def _as_mlflow_tells(status: int, message: str) -> tuple[int, dict[str, Any]]:
    codes = {400: "BAD_REQUEST", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST"}
    status = 400 if status == 422 else status
    code = codes.get(status, "TEMPORARILY_UNAVAILABLE" if status == 503 else "INTERNAL_ERROR")
    return status, {"error_code": code, "message": message}


router = APIRouter(tags=["MLflow"], route_class=route_telling(_as_mlflow_tells, RawRoute))

_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "description": "one of these; columns are the eleven features and is_white (0 or 1) or colour",
                "properties": {name: {} for name in ("dataframe_split", "dataframe_records", "instances", "inputs")},
                "minProperties": 1,
            }
        },
        "text/csv": {"schema": {"type": "string"}},
    },
}


@router.get("/ping", summary="MLflow's question whether the server lives")
async def ping(_: Request) -> Response:
    return Response("\n", media_type="application/json")


@router.post(
    "/invocations",
    summary="Predict as MLflow's model server does",
    description="Answers `predictions`, one number per sample, and `prediction_ids`, for `POST /observations`.",
    response_class=Response,
    openapi_extra={
        "requestBody": _BODY,
        "parameters": answering.query_parameters(VersionQuery),
        "security": [{"HTTPBearer": []}],
    },
)
async def invocations(request: Request) -> Response:
    csv = request.headers.get("content-type", "").startswith("text/csv")
    asked = answering.query(request, VersionQuery)
    answered = await answering.answer(request, tables.from_csv if csv else tables.from_invocation, asked.version)
    body = {"predictions": answered.found.quality.tolist(), "prediction_ids": answered.ids}
    return Response(to_json(body), media_type="application/json")
