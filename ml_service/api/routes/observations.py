"""`POST /observations`: what tasters said later."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from ml_service import store
from ml_service.api.deps import CallerDep, EngineDep
from ml_service.api.schemas import ObservationOutcome, ObservationsRequest, ObservationsResponse

router = APIRouter(tags=["predictions"])


@router.post("/observations", summary="Tell the observed quality of wines that were predicted, late or again")
async def observations(
    body: ObservationsRequest, caller: CallerDep, engine: EngineDep, request: Request
) -> ObservationsResponse:
    # The prediction may have been answered a moment ago.
    await request.app.state.recorder.flush()
    found = [store.Observed(one.prediction_id, one.quality, one.observed_at) for one in body.observations]
    outcomes = await run_in_threadpool(store.observe, engine, caller.key_id, found)
    told = [ObservationOutcome(prediction_id=o.prediction_id, outcome=w) for o, w in zip(found, outcomes, strict=True)]
    return ObservationsResponse(observations=told)
