"""The Open Inference Protocol, version 2 (KServe, Triton, MLServer): health, metadata, inference."""

from collections.abc import Mapping
from importlib.metadata import version as installed_version
from typing import Any

from fastapi import APIRouter, Request, Response

from cuvee.errors import NotFoundError
from cuvee.service import route_telling
from ml_service.api import answering, tensors
from ml_service.api.deps import CallerDep, ServingDep
from ml_service.routing import Serving
from ml_service.wine import MODEL_NAME

router = APIRouter(
    prefix="/v2",
    tags=["Open Inference Protocol"],
    route_class=route_telling(lambda status, message: (400 if status == 422 else status, {"error": message})),
)
_BODY = {
    "required": True,
    "content": {"application/json": {"schema": {"type": "object", "description": "inputs, and outputs if not all"}}},
}


@router.get("", summary="What this server is")
async def server() -> dict[str, Any]:
    return {"name": "cuvee", "version": installed_version("cuvee"), "extensions": ["binary_tensor_data"]}


@router.get("/health/live", summary="Does the process live?")
async def live() -> dict[str, bool]:
    return {"live": True}


@router.get("/health/ready", summary="Can it answer?")
async def ready(serving: ServingDep) -> dict[str, bool]:
    return {"ready": serving.model is not None}


@router.get("/models/{name}", summary="Inputs and outputs of the model")
@router.get("/models/{name}/versions/{version}", summary="Inputs and outputs of a version")
def metadata(_: CallerDep, serving: ServingDep, name: str, version: int | None = None) -> dict[str, Any]:
    model = _model(serving, name, version)
    described = {"inputs": tensors.INPUTS, "outputs": tensors.OUTPUTS}
    return {"name": name, "versions": [str(model)], "platform": "onnxruntime", **described}


@router.get("/models/{name}/ready", summary="Can the model answer?")
@router.get("/models/{name}/versions/{version}/ready", summary="Can this version answer?")
def model_ready(_: CallerDep, serving: ServingDep, name: str, version: int | None = None) -> dict[str, Any]:
    _model(serving, name, version)
    return {"name": name, "ready": True}


@router.post(
    "/models/{name}/infer",
    summary="Predict",
    response_class=Response,
    openapi_extra={"requestBody": _BODY, "security": [{"HTTPBearer": []}]},
)
async def infer(request: Request, name: str) -> Response:
    return await _infer(request, name, None)


@router.post(
    "/models/{name}/versions/{version}/infer",
    summary="Predict by one version",
    response_class=Response,
    openapi_extra={"requestBody": _BODY, "security": [{"HTTPBearer": []}]},
)
async def infer_version(request: Request, name: str, version: int) -> Response:
    return await _infer(request, name, version)


async def _infer(request: Request, name: str, version: int | None) -> Response:
    _check_name(name)
    asked = tensors.Request(_json_bytes(request.headers))
    answered = await answering.answer(request, asked.parse, version)
    body, headers = asked.answer(name, answered)
    return Response(body, headers=headers)


def _json_bytes(headers: Mapping[str, str]) -> int | None:
    told = headers.get("inference-header-content-length", "")
    # Not `isdigit`, which holds for ² too.
    return int(told) if told.isdecimal() else None


def _check_name(name: str) -> None:
    if name != MODEL_NAME:
        raise NotFoundError(f"There is no model {name}; the one that is served is {MODEL_NAME}.")


def _model(serving: Serving, name: str, version: int | None) -> int:
    _check_name(name)
    if version is None:
        return serving.model.version
    route = serving.named(version) or serving.load_named(version)
    return route.model.version
