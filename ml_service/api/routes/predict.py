"""`POST /predict`."""

from fastapi import APIRouter

from ml_service import store
from ml_service.api.deps import CallerDep, EngineDep, ServingDep
from ml_service.api.schemas import ModelName, Prediction, PredictRequest, PredictResponse
from ml_service.dataset import encode

router = APIRouter(tags=["predictions"])


@router.post("/predict", summary="Predict the quality of one or many wines")
def predict(request: PredictRequest, caller: CallerDep, serving: ServingDep, engine: EngineDep) -> PredictResponse:
    samples, model = [sample.model_dump() for sample in request.samples], serving.model
    qualities = model.predict(encode(samples))
    ids = store.record(engine, caller.key_id, model, samples, qualities)
    found = [Prediction(prediction_id=i, quality=float(q)) for i, q in zip(ids, qualities, strict=True)]
    return PredictResponse(predictions=found, model=ModelName(name=model.name, version=model.version))
