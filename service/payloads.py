"""What comes in as JSON. Members without a default are required; unknown members are refused."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

import storage
from perceptron.data.task import MAX_CLASSES

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

# Pydantic's `$` is Rust's: it matches at the very end only, so no name can end in a line break.
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
EventId = Annotated[str, StringConstraints(pattern=f"^{storage.EVENT_ID_PATTERN}$")]
VersionNumber = Annotated[int, Field(ge=1, le=2**53)]

MAX_METADATA = 16
MAX_COMPARED = 64
"""Versions that one prediction compares."""


def _at_most(maximum: int, what: str) -> BeforeValidator:
    """Count the members of an object before each of them is looked at: an error for each would take gigabytes."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > maximum:
            raise PydanticCustomError("too_many", f"at most {maximum:,} {what}, got {len(value):,}")
        return value

    return BeforeValidator(check)


# Rows of numbers are checked by `parsing.parse_matrix`, many times faster than pydantic could.
_Row = {"type": "array", "items": {"type": "number"}, "minItems": 1}
Matrix = Annotated[list[Any], WithJsonSchema({"type": "array", "items": _Row, "minItems": 1})]
Numbers = Annotated[list[Any], WithJsonSchema({"type": "array", "items": {"type": "number"}, "minItems": 1})]
Targets = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "array", "items": _Row, "minItems": 1},
            ]
        }
    ),
]
Instances = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": _Row, "minItems": 1},
                {
                    "type": "array",
                    "items": {"type": "object", "additionalProperties": {"type": "number"}},
                    "minItems": 1,
                },
            ]
        }
    ),
]


FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=128)]
FeatureNames = Annotated[list[FeatureName], Field(fail_fast=True)]
ClassWeights = Annotated[dict[str, Annotated[float, Field(ge=0)]], _at_most(MAX_CLASSES, "classes")]
Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA), _at_most(MAX_METADATA, "pairs")]


TAG = "\0"
"""Begins the names of a union's cases, which pydantic puts into the location of a fault; no member's name does."""


def _json_tag(value: Any) -> str:
    """Tell the cases of a union by their JSON types, so that a fault names one thing and not one for each case."""
    names: dict[type, str] = {dict: "object", list: "array", str: "string"}
    return TAG + names.get(type(value), "number")


LearningRate = Annotated[
    Annotated[float, Field(gt=0), Tag(f"{TAG}number")] | Annotated[Literal["auto"], Tag(f"{TAG}string")],
    Discriminator(_json_tag),
]


class RequestPayload(BaseModel):
    """Base of what clients send: no conversion between types, no NaN, no unknown members."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _only_the_first_unknown_member(cls, value: Any) -> Any:
        """Let pydantic meet, and refuse, one unknown member: for a million it would make a million errors."""
        if not isinstance(value, dict) or len(value) <= len(cls.model_fields):
            return value
        first = next(name for name in value if name not in cls.model_fields)
        return {name: value[name] for name in value if name in cls.model_fields or name == first}


class InlineData(RequestPayload):
    """The instances to learn from."""

    features: Matrix = Field(description="One row of numbers for each instance.")
    targets: Targets = Field(
        description="What to learn for each instance: numbers, class names, or a list of numbers each."
    )
    feature_names: FeatureNames | None = Field(
        None, description="A distinct name for each feature; x0, x1, ... when left out."
    )
    instance_weights: Numbers | None = Field(
        None, description="How much each instance counts, at least 0; all the same when left out."
    )


class NetworkSettings(RequestPayload):
    """The network's shape. Null means: chosen from the targets."""

    activation: Literal["sigmoid", "step", "identity", "tanh", "relu", "softmax"] | None = Field(
        None, description="Of the output layer."
    )
    hidden_layers: Annotated[list[int], Field(fail_fast=True)] = Field(
        default_factory=list, description="The width of each hidden layer, at most 16 of at most 4,096."
    )
    hidden_activation: Literal["sigmoid", "tanh", "relu", "identity"] = "tanh"


class TrainingSettings(RequestPayload):
    """How the network learns. Null means: chosen from the targets and the network."""

    loss: Literal["mean_squared_error", "cross_entropy"] | None = None
    optimizer: Literal["gradient_descent", "momentum", "adam", "lbfgs", "newton", "perceptron_rule"] | None = None
    learning_rate: LearningRate = Field(
        0.5,
        description="alpha of the update w <- w - alpha dC/dw; auto is as large as the curvature of the cost allows, "
        "for networks without hidden layers",
    )
    batch_size: int | None = Field(None, ge=1, description="Null is the whole data set.")
    max_epochs: int = Field(1000, ge=1, description="At most MAX_EPOCHS, 1,000,000 by default.")
    tolerance: float = Field(1e-6, ge=0, description="Stop when the cost changes by less; never when 0.")
    time_limit_s: float | None = Field(None, gt=0, description="Stop after so long with what was learned.")
    l2: float = Field(0.0, ge=0, description="Adds l2 times the sum of the squared weights to the cost.")
    class_weights: (
        Annotated[
            Annotated[Literal["balanced"], Tag(f"{TAG}string")] | Annotated[ClassWeights, Tag(f"{TAG}object")],
            Discriminator(_json_tag),
        ]
        | None
    ) = Field(None, description="How much the instances of each class count.")
    initialization: Literal["zeros", "glorot_uniform", "he_normal"] | None = None
    standardize: bool = Field(True, description="Learn on features with mean 0 and deviation 1.")
    seed: int = Field(0, ge=0, le=2**32 - 1)
    dtype: Literal["float32", "float64"] = "float64"


class ValidationSettings(RequestPayload):
    """Which rows are held out to judge the network."""

    fraction: float | None = Field(None, gt=0, lt=1, description="0.2 when neither it nor folds is given.")
    folds: int | None = Field(
        None, ge=2, le=100, description="Cross-validation: every row is held out once; the version learns from all."
    )
    early_stopping_patience: int | None = Field(
        None, ge=1, description="Stop after so many epochs without a better validation cost."
    )


class SweepRange(RequestPayload):
    """Numbers to draw from."""

    low: float = Field(ge=0)
    high: float = Field(gt=0)
    log: bool = Field(False, description="Draw their logarithms evenly.")


_Value = TypeVar("_Value")
_ListOrRange = Annotated[
    Annotated[list[_Value], Field(min_length=1), Tag(f"{TAG}array")] | Annotated[SweepRange, Tag(f"{TAG}object")],
    Discriminator(_json_tag),
]


class SweepSettings(RequestPayload):
    """Settings to try, all in one job: every combination of the lists, or random draws."""

    random: int | None = Field(None, ge=1, description="How many candidates to draw; without it, all combinations.")
    learning_rate: _ListOrRange[LearningRate] | None = None
    l2: _ListOrRange[Annotated[float, Field(ge=0)]] | None = None
    seed: Annotated[list[Annotated[int, Field(ge=0, le=2**32 - 1)]], Field(min_length=1)] | None = None
    refit: bool = Field(False, description="Train the best one once more, on all rows, for the version.")


class StartFrom(RequestPayload):
    """A version whose weights the training starts from."""

    model: Name
    version: VersionNumber | None = Field(None, description="The latest when left out.")


class TrainingRequest(RequestPayload):
    """A training job."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "or",
                "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]},
            }
        }
    )

    model: Name = Field(description="The model that gets a new version.")
    data: InlineData
    task: Literal["classification", "regression"] | None = Field(
        None, description="Chosen from the targets when left out."
    )
    network: NetworkSettings = Field(default_factory=NetworkSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    validation: ValidationSettings | None = Field(None, description="Null: all rows train.")
    sweep: SweepSettings | None = Field(None, description="Train many candidates at once and keep the best.")
    start_from: StartFrom | None = Field(None, description="Go on from a version of the same shape.")
    alias: Name | None = Field(None, description="An alias that is to point at the new version.")
    metadata: Metadata = Field(default_factory=dict)


Versions = Annotated[
    Annotated[Literal["aliases"], Tag(f"{TAG}string")]
    | Annotated[list[VersionNumber], Field(min_length=1, max_length=MAX_COMPARED, fail_fast=True), Tag(f"{TAG}array")],
    Discriminator(_json_tag),
]


class PredictionRequest(RequestPayload):
    """Instances to run through a model."""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "or", "instances": [[0, 1], [0, 0]]}})

    model: Name | None = Field(None, description="Required, unless a job is given.")
    version: VersionNumber | None = Field(None, description="The latest when neither it nor an alias is given.")
    alias: Name | None = None
    job: str | None = Field(
        None,
        description="Instead of a model: the best network so far of a job that still runs, later its version.",
    )
    instances: Instances = Field(
        description="A list of numbers each in the order of the features, or an object each by feature name."
    )
    explain: bool = Field(False, description="Add what each feature contributes to z.")
    versions: Versions | None = Field(
        None, description='Add the outputs of these versions, or of all that "aliases" name, for comparison.'
    )


class AliasRequest(RequestPayload):
    """Where an alias is to point."""

    version: VersionNumber


class ModelPath(BaseModel):
    """A model in a URL."""

    name: str


class VersionPath(ModelPath):
    """A version in a URL."""

    version: int = Field(ge=1)


class AliasPath(ModelPath):
    """An alias in a URL."""

    alias: Name


class JobPath(BaseModel):
    """A job in a URL."""

    job_id: str


class JobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    after: str | None = Field(None, description="The last_id of the page before.")
    status: storage.JobStatus | None = None
    model: Name | None = None


class EventsQuery(BaseModel):
    """Which events of a job to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(storage.MAX_EVENTS, ge=1, le=storage.MAX_EVENTS)
    after: EventId | None = Field(None, description="The id of the last event seen.")


class EventsHeader(BaseModel):
    """Where an event stream goes on."""

    last_event_id: EventId | None = Field(None, alias="Last-Event-ID", description="As `after`; it comes first.")


class ModelsQuery(BaseModel):
    """Which models to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    after: Name | None = Field(None, description="The last_id of the page before.")
