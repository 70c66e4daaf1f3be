"""`GET /features`: what a wine is described by, for whoever draws a form."""

from fastapi import APIRouter

from ml_service import wine
from ml_service.api.deps import CallerDep
from ml_service.api.schemas import FeatureDescription, FeaturesResponse, Sample
from ml_service.intervals import LEVEL

router = APIRouter(tags=["model"])


@router.get("/features", summary="The measurements of a wine: units, ranges, meanings, and a wine to begin with")
def features(_: CallerDep) -> FeaturesResponse:
    return FeaturesResponse(
        features=[FeatureDescription.of(feature) for feature in wine.FEATURES],
        colours=list(wine.COLOURS),
        quality=FeatureDescription.of(wine.QUALITY),
        interval_level=LEVEL,
        example=Sample.model_validate(wine.EXAMPLE),
    )
