"""`GET /model` and `GET /versions`: what is served, and what could be."""

from fastapi import APIRouter

from cuvee.champions import DECISION_TAG
from ml_service.api.deps import CallerDep, ServingDep
from ml_service.api.schemas import ModelResponse, Trial, Version, VersionsResponse, failing
from ml_service.routing import Challenger
from ml_service.wine import MODEL_NAME

router = APIRouter(tags=["model"])


@router.get("/model", summary="What is served: version, metrics, data checksum, since when, who challenges it")
def model(_: CallerDep, serving: ServingDep) -> ModelResponse:
    served, challenger, failure = serving.model, serving.challenger, serving.challenger_failure
    return ModelResponse(
        name=served.name,
        version=served.version,
        since=served.since,
        metrics=served.metrics,
        data_checksum=served.data_checksum,
        challenger=_trial(challenger) if challenger else None,
        challenger_error=failure.message if failure else None,
        **failing(serving.failure),
    )


def _trial(challenger: Challenger) -> Trial:
    mode = "canary" if challenger.weight else "shadow"
    return Trial(version=challenger.model.version, mode=mode, weight=challenger.weight)


@router.get("/versions", summary="Every registered version: since when, aliases, metrics, what was decided about it")
def versions(_: CallerDep, serving: ServingDep) -> VersionsResponse:
    aliases = serving.registry.aliases(MODEL_NAME)
    found = serving.registry.versions(MODEL_NAME)
    metrics = serving.registry.metrics(found)
    return VersionsResponse(
        versions=[
            Version(
                version=one.version,
                registered_at=one.registered_at,
                aliases=sorted(alias for alias, number in aliases.items() if number == one.version),
                metrics=metrics.get(one.run_id, {}),
                decision=one.tags.get(DECISION_TAG),
                reason=one.tags.get("cuvee.reason"),
            )
            for one in found
        ]
    )
