"""What goes over the wire; every bound comes from the table in `ml_service.wine`."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, FailFast, Field, model_validator

from ml_service import wine
from ml_service.routing import ReloadFailure

MOST_SAMPLES = 10_000
_BY_NAME = {feature.name: feature for feature in wine.FEATURES}
_CLOCK_ERROR = timedelta(days=1)


def _measured(name: str) -> Any:
    feature = _BY_NAME[name]
    return Field(
        ge=feature.lowest,
        le=feature.highest,
        allow_inf_nan=False,
        strict=True,
        description=f"{feature.meaning}; {feature.unit}",
    )


class Sample(BaseModel):
    """One wine."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": dict(wine.EXAMPLE)})

    fixed_acidity: Annotated[float, _measured("fixed_acidity")]
    volatile_acidity: Annotated[float, _measured("volatile_acidity")]
    citric_acid: Annotated[float, _measured("citric_acid")]
    residual_sugar: Annotated[float, _measured("residual_sugar")]
    chlorides: Annotated[float, _measured("chlorides")]
    free_sulfur_dioxide: Annotated[float, _measured("free_sulfur_dioxide")]
    total_sulfur_dioxide: Annotated[float, _measured("total_sulfur_dioxide")]
    density: Annotated[float, _measured("density")]
    ph: Annotated[float, _measured("ph")]
    sulphates: Annotated[float, _measured("sulphates")]
    alcohol: Annotated[float, _measured("alcohol")]
    colour: Literal["red", "white"]


class FeatureDescription(BaseModel):
    name: str
    label: str
    unit: str
    lowest: float
    highest: float
    usual_lowest: Annotated[float, Field(description="98 of 100 wines of the table are not below")]
    usual_highest: float
    meaning: str

    @classmethod
    def of(cls, feature: wine.Feature) -> "FeatureDescription":
        return cls(**asdict(feature), label=feature.csv_name)


class FeaturesResponse(BaseModel):
    """The table in `ml_service.wine`."""

    features: list[FeatureDescription]
    colours: list[str]
    quality: FeatureDescription
    interval_level: Annotated[float, Field(description="share of observed qualities meant to lie from low to high")]
    example: Sample


class VersionQuery(BaseModel):
    version: Annotated[int | None, Field(ge=1, description="a registered version instead of the champion")] = None


class PredictQuery(VersionQuery):
    explain: Annotated[bool, Field(description="what each measurement adds, for up to 20 samples")] = False
    record: Annotated[
        bool,
        Field(
            description="false: trying out. No row, so no drift, no live error and no observation; prediction_id is "
            "null, and a challenger takes no part"
        ),
    ] = True


class PredictRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # One wrong sample is enough to refuse them all: of thousands, telling each would hold up everybody else.
    samples: Annotated[list[Sample], FailFast(), Field(min_length=1, max_length=MOST_SAMPLES)]


class Explanation(BaseModel):
    """`base` and all contributions add up to the quality; quality points."""

    base: Annotated[float, Field(description="what the model expects of any wine")]
    contributions: Annotated[dict[str, float], Field(description="by measurement, and of the colour")]


class Prediction(BaseModel):
    prediction_id: Annotated[UUID | None, Field(description="for `POST /observations`; null with record=false")]
    quality: Annotated[float, Field(description="expected median score of a blind tasting, 0 to 10 points")]
    low: Annotated[float, Field(description="lower end of the prediction interval")]
    high: float
    explanation: Annotated[Explanation | None, Field(description="only with explain=true")] = None


class ModelName(BaseModel):
    name: str
    version: int


class PredictResponse(BaseModel):
    """Predictions in the order of the samples; each is a row of the record, but for record=false."""

    predictions: list[Prediction]
    model: ModelName


def _whole(quality: float) -> float:
    if not quality.is_integer():
        raise ValueError(f"a quality is told in whole points, not {quality}")
    return quality


def _possible(observed_at: datetime) -> datetime:
    """One date out of the world would be the last, or the oldest, by which training judges all others."""
    if not wine.EARLIEST_TASTING <= observed_at <= datetime.now(UTC) + _CLOCK_ERROR:
        raise ValueError(f"a wine was tasted since {wine.EARLIEST_TASTING:%Y-%m-%d} and not later than a day from now")
    return observed_at


class Observation(BaseModel):
    """What tasters said later of a wine that was predicted."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: UUID
    quality: Annotated[
        float,
        Field(
            ge=wine.QUALITY.lowest,
            le=wine.QUALITY.highest,
            allow_inf_nan=False,
            strict=True,
            description="whole points, as training takes them",
        ),
        AfterValidator(_whole),
    ]
    observed_at: Annotated[
        Annotated[AwareDatetime, AfterValidator(_possible)] | None,
        Field(description="with its time zone, from 1990 to a day from now; left out: now"),
    ] = None


class ObservationsRequest(BaseModel):
    """One observation may also come alone, without the list around it."""

    model_config = ConfigDict(extra="forbid")

    observations: Annotated[list[Observation], Field(min_length=1, max_length=MOST_SAMPLES)]

    @model_validator(mode="before")
    @classmethod
    def _put_one_in_a_list(cls, sent: Any) -> Any:
        return {"observations": [sent]} if isinstance(sent, dict) and "prediction_id" in sent else sent


class ObservationOutcome(BaseModel):
    prediction_id: UUID
    outcome: Annotated[
        Literal["recorded", "replaced", "unknown"],
        Field(description="replaced: an earlier one was there; unknown: no such prediction was answered"),
    ]


class ObservationsResponse(BaseModel):
    """In the order in which they came."""

    observations: list[ObservationOutcome]


class Version(BaseModel):
    version: int
    registered_at: datetime
    aliases: list[str]
    metrics: Annotated[dict[str, float], Field(description="of the training run, on wines it had not seen")]
    decision: Annotated[str | None, Field(description="promoted or not promoted")]
    reason: str | None


class VersionsResponse(BaseModel):
    """Newest first."""

    versions: list[Version]


class Trial(BaseModel):
    """A challenger: asked beside the champion, or for a share of the requests."""

    version: int
    mode: Literal["shadow", "canary"]
    weight: Annotated[float, Field(description="share of the requests that it answers")]


class Served(ModelName):
    """What is served, and whether a newer champion could not be loaded."""

    since: datetime
    reload_failing_since: datetime | None
    reload_error: str | None


class ModelResponse(Served):
    challenger: Trial | None
    challenger_error: str | None
    metrics: Annotated[dict[str, float], Field(description="of the training run, on wines it had not seen")]
    data_checksum: Annotated[str, Field(description="SHA-256 of the feature table it was trained on")]


def failing(failure: ReloadFailure | None) -> dict[str, Any]:
    """The two fields of `Served` about a failed reload."""
    return {
        "reload_failing_since": failure.since if failure else None,
        "reload_error": failure.message if failure else None,
    }
