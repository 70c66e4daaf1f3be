"""`POST /predict`. Body and answer are read and written as bytes: thousands of requests a second come this way."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json

from cuvee.service import RawRoute
from ml_service.api import answering
from ml_service.api.schemas import PredictQuery, PredictRequest, PredictResponse, Sample
from ml_service.dataset import Floats
from ml_service.explanations import Explanation
from ml_service.recording import Answered
from ml_service.wine import FEATURE_NAMES

router = APIRouter(tags=["predictions"], route_class=RawRoute)


def _body_schema() -> dict[str, Any]:
    found = PredictRequest.model_json_schema()
    del found["$defs"]
    found["properties"]["samples"]["items"] = Sample.model_json_schema()
    return {"required": True, "content": {"application/json": {"schema": found}}}


@router.post(
    "/predict",
    summary="Predict the quality of one or many wines, with intervals",
    response_class=Response,
    responses={200: {"model": PredictResponse}},
    openapi_extra={
        "requestBody": _body_schema(),
        "parameters": answering.query_parameters(PredictQuery),
        "security": [{"HTTPBearer": []}],
    },
)
async def predict(request: Request) -> Response:
    asked = answering.query(request, PredictQuery)
    parser = parse_explained if asked.explain else parse
    answered = await answering.answer(request, parser, asked.version, asked.record)
    explanation = await answering.explained(answered) if asked.explain else None
    ids = answered.ids if asked.record else [None] * len(answered.ids)
    return Response(_body(answered, ids, explanation), media_type="application/json")


def parse(body: bytes) -> Floats:
    """Inputs, shape (samples, 12). Raises RequestValidationError naming field, bound and what came."""
    try:
        samples = PredictRequest.model_validate_json(body).samples
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error
    rows = [list(sample.__dict__.values()) for sample in samples]
    for row in rows:
        row[-1] = row[-1] == "white"
    return np.array(rows, dtype=np.float64)


def parse_explained(body: bytes) -> Floats:
    inputs = parse(body)
    answering.check_explainable(len(inputs))
    return inputs


def _body(answered: Answered, ids: Sequence[UUID | None], explanation: Explanation | None) -> bytes:
    found, model = answered.found, answered.route.model
    columns = (ids, found.quality.tolist(), found.low.tolist(), found.high.tolist())
    predictions = [
        {"prediction_id": one, "quality": quality, "low": low, "high": high}
        for one, quality, low, high in zip(*columns, strict=True)
    ]
    if explanation is not None:
        names = (*FEATURE_NAMES, "colour")
        bases, contributions = explanation.base.tolist(), explanation.contributions.tolist()
        for prediction, base, row in zip(predictions, bases, contributions, strict=True):
            prediction["explanation"] = {"base": base, "contributions": dict(zip(names, row, strict=True))}
    return to_json({"predictions": predictions, "model": {"name": model.name, "version": model.version}})
