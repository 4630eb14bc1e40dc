"""The requests and answers of `/jobs`. Members without a default are required; unknown members are refused."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, Field, StringConstraints, Tag, WithJsonSchema

from perceptron import ACTIVATIONS, INITIALIZATIONS, LOSSES, MAX_CLASSES, OPTIMIZERS, hidden_activations
from service.http.names import Name, VersionNumber
from service.http.payloads import ROW, TAG, Matrix, Numbers, OneOf, RequestPayload, at_most, json_tag
from storage.jobs.events import EVENT_ID_PATTERN, MAX_EVENTS, Event
from storage.jobs.record import JobStatus
from storage.jobs.shown import JobPayload
from storage.times import rfc3339
from storage.webhooks.receivers import MAX_URL_CHARACTERS

MetadataKey = Annotated[str, StringConstraints(min_length=1, max_length=64)]


MetadataValue = Annotated[str, StringConstraints(max_length=512)]


EventId = Annotated[str, StringConstraints(pattern=f"^{EVENT_ID_PATTERN}$")]


MAX_METADATA = 16


MAX_TYPES = 20_000
"""As many as a table may have columns."""


Targets = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "array", "items": {"type": "boolean"}, "minItems": 1},
                {"type": "array", "items": ROW, "minItems": 1},
            ]
        }
    ),
]


FeatureName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


FeatureNames = Annotated[list[FeatureName], Field(fail_fast=True)]


Records = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": each} for each in ("number", "string", "boolean", "null")]},
            },
            "minItems": 1,
        }
    ),
]


ClassWeights = Annotated[dict[str, Annotated[float, Field(ge=0)]], at_most(MAX_CLASSES, "classes")]


Metadata = Annotated[dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA), at_most(MAX_METADATA, "pairs")]


LearningRate = Annotated[
    Annotated[float, Field(gt=0), Tag(f"{TAG}number")] | Annotated[Literal["auto"], Tag(f"{TAG}string")],
    Discriminator(json_tag),
]


Penalty = Annotated[
    Annotated[float, Field(ge=0), Tag(f"{TAG}number")] | Annotated[Literal["auto"], Tag(f"{TAG}string")],
    Discriminator(json_tag),
]


ColumnName = Annotated[str, StringConstraints(min_length=1)]


ColumnNames = Annotated[list[ColumnName], Field(min_length=1, fail_fast=True)]


ExcludedNames = Annotated[list[ColumnName], Field(fail_fast=True)]


ColumnTypes = Annotated[
    dict[ColumnName, Literal["numeric", "boolean", "categorical", "date"]], at_most(MAX_TYPES, "columns")
]


class InlineData(RequestPayload):
    """The instances to learn from: features and targets, or records."""

    features: Matrix | None = Field(
        None,
        description="One row of numbers for each instance. With feature_names also texts, booleans and null, by the "
        "rules for data sets.",
    )
    targets: Targets | None = Field(
        None,
        description="One target for each instance. All are numbers, booleans, class names, or lists of numbers of one "
        "length. Lists of one element are a column.",
    )
    records: Records | None = Field(
        None,
        description="Instead of features and targets: an object by column name for each instance, with numbers, "
        "texts, booleans and null, by the rules for data sets.",
    )
    feature_names: FeatureNames | None = Field(
        None, description="A distinct name for each feature. Null: x0, x1, and so on."
    )
    instance_weights: Numbers | None = Field(
        None, description="A weight of at least 0 for each instance. Null: all instances count the same."
    )


class NetworkSettings(RequestPayload):
    """The shape of the network. Null: chosen from the targets."""

    activation: Annotated[str, OneOf(lambda: ACTIVATIONS)] | None = Field(
        None, description="The activation of the output layer."
    )
    hidden_layers: Annotated[list[int], Field(fail_fast=True)] = Field(
        default_factory=list, description="The width of each hidden layer: at most 16 layers of at most 4,096 neurons."
    )
    hidden_activation: Annotated[str, OneOf(hidden_activations)] = Field(
        "tanh", description="The activation of every hidden layer."
    )


class TrainingSettings(RequestPayload):
    """How the network learns. Null: chosen from the targets, the network and the data.

    Without `optimizer`, `learning_rate` and `batch_size`, all settings are chosen together; the job's `config` shows
    them, with `reasons`. An explicit `gradient_descent`, or a number as `learning_rate`, is plain gradient descent.
    """

    loss: Annotated[str, OneOf(lambda: LOSSES)] | None = None
    optimizer: Annotated[str, OneOf(lambda: OPTIMIZERS)] | None = None
    learning_rate: LearningRate | None = Field(
        None,
        description="alpha of the update w <- w - alpha dC/dw. Null, with gradient descent: 0.5. `auto`: "
        "as large as the curvature of the cost allows.",
    )
    batch_size: int | None = Field(None, ge=1, description="Instances per update. Null: all of them.")
    max_epochs: int = Field(1000, ge=1, description="At most the setting MAX_EPOCHS, 1,000,000 by default.")
    tolerance: float | None = Field(
        None,
        ge=0,
        description="Stop when the cost changes by less. 0: never. Null: when it changes by no more than a millionth "
        "of the cost of the best constant output, 5 epochs in a row.",
    )
    time_limit_s: float | None = Field(
        None, gt=0, description="Stop after this many seconds of training, and publish what was learned."
    )
    l2: Penalty | None = Field(
        None,
        description="Add l2 times the sum of the squared weights to the cost. Null: chosen from the data if "
        "the optimizer is, too, else 0. `auto`: the best of several by cross-validation.",
    )
    scale_targets: bool | None = Field(
        None,
        description="Train on targets of mean 0 and standard deviation 1; outputs and metrics stay in raw units. Only "
        "for identity outputs. Null: yes, except with gradient descent.",
    )
    class_weights: (
        Annotated[
            Annotated[Literal["balanced"], Tag(f"{TAG}string")] | Annotated[ClassWeights, Tag(f"{TAG}object")],
            Discriminator(json_tag),
        ]
        | None
    ) = Field(None, description="A weight for each class by its name, or `balanced`: all classes count the same.")
    initialization: Annotated[str, OneOf(lambda: INITIALIZATIONS)] | None = None
    standardize: bool = Field(True, description="Scale the features to mean 0 and standard deviation 1.")
    seed: int = Field(0, ge=0, le=2**32 - 1)
    dtype: Literal["float32", "float64"] = "float64"


class ValidationSettings(RequestPayload):
    """Which instances are held out to evaluate the network."""

    fraction: float | None = Field(
        None, gt=0, lt=1, description="Hold out this part of the instances. Null, without folds: 0.2."
    )
    folds: int | None = Field(
        None,
        ge=2,
        le=100,
        description="Cross-validate with this many folds: every instance is held out once, and the version is trained "
        "on all of them.",
    )
    early_stopping_patience: int | None = Field(
        None, ge=1, description="Stop after this many epochs without a lower validation cost."
    )


class SweepRange(RequestPayload):
    """A range to draw numbers from."""

    low: float = Field(ge=0)
    high: float = Field(gt=0)
    log: bool = Field(False, description="Draw the logarithms uniformly.")


_Value = TypeVar("_Value")


_ListOrRange = Annotated[
    Annotated[list[_Value], Field(min_length=1), Tag(f"{TAG}array")] | Annotated[SweepRange, Tag(f"{TAG}object")],
    Discriminator(json_tag),
]


class SweepSettings(RequestPayload):
    """Settings to try in one job: every combination of the lists, or random draws."""

    random: int | None = Field(None, ge=1, description="How many candidates to draw. Null: every combination.")
    learning_rate: _ListOrRange[LearningRate] | None = None
    l2: _ListOrRange[Annotated[float, Field(ge=0)]] | None = None
    seed: Annotated[list[Annotated[int, Field(ge=0, le=2**32 - 1)]], Field(min_length=1)] | None = None
    refit: bool = Field(False, description="Train the best candidate once more on all instances, and publish that.")


class StartFrom(RequestPayload):
    """The version whose weights the training starts from."""

    model: Name
    version: VersionNumber | None = Field(None, description="Null: the latest.")


class WebhookRequest(RequestPayload):
    """Who is told the end of the job."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_CHARACTERS)] = Field(
        description="An https URL whose host the service allows. It gets a signed POST once the job is done."
    )


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
    data: InlineData | None = Field(None, description="Required without a data set.")
    dataset: str | None = Field(None, description="Instead of data: the id of a data set.")
    target: ColumnName | None = Field(
        None, description="The column to learn to predict. Required with a data set or records."
    )
    features: ColumnNames | None = Field(
        None, description="The columns to learn from. Null: all that can be used but for the target and the weights."
    )
    exclude: Annotated[list[ColumnName], Field(fail_fast=True)] | None = Field(
        None, description="Instead of features: columns to leave out."
    )
    types: ColumnTypes | None = Field(
        None,
        description="What columns are to be taken for where their values alone would tell otherwise. Of a data set "
        "only numbers can be taken for categories; all else is asked for when it is uploaded.",
    )
    weights: ColumnName | None = Field(
        None, description="The column that says how many times each row counts. Null: all count the same."
    )
    task: Literal["classification", "regression"] | None = Field(None, description="Null: chosen from the targets.")
    network: NetworkSettings = Field(default_factory=NetworkSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    validation: ValidationSettings | None = Field(
        None, description="Null: no instances are held out, except where the defaults for hidden layers need some."
    )
    sweep: SweepSettings | None = Field(None, description="Train many candidates at once and publish the best.")
    start_from: StartFrom | None = Field(None, description="Start from the weights of a version with the same layers.")
    alias: Name | None = Field(None, description="An alias to point at the new version.")
    metadata: Metadata = Field(default_factory=dict, description="Texts of your own, shown with the job.")
    webhook: WebhookRequest | None = Field(None, description="Who is told when the job is done.")


class NewJobQuery(BaseModel):
    """What to do with a training job."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = Field(False, description="Only say what would be done; nothing is stored or started.")


class JobPath(BaseModel):
    """The job in a URL."""

    job_id: str


class JobsQuery(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    after: str | None = Field(None, description="The `last_id` of the page before.")
    status: JobStatus | None = None
    model: Name | None = None


class EventsQuery(BaseModel):
    """Which events of a job to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(MAX_EVENTS, ge=1, le=MAX_EVENTS)
    after: EventId | None = Field(None, description="The id of the last event you have seen.")


class EventsHeader(BaseModel):
    """Where an event stream resumes."""

    last_event_id: EventId | None = Field(
        None, alias="Last-Event-ID", description="The same as `after`, which it overrides."
    )


class EventPayload(BaseModel):
    """Something that happened to a job."""

    id: str = Field(description="Give it as `after` or `Last-Event-ID` to see what comes next.")
    type: Literal["status", "epoch", "log"]
    at: str
    data: dict[str, Any] = Field(
        description="Of a `status` event: the state, the attempt, the reason, and the version once there is one. Of an "
        "`epoch` event: a point of the learning curve. Of a `log` event: a message."
    )

    @classmethod
    def of(cls, event: Event) -> "EventPayload":
        """Return the payload of an event."""
        return cls(id=event.id, type=event.type, at=rfc3339(event.at_ms), data=dict(event.data))


class EventList(BaseModel):
    """A page of events, the oldest first."""

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]  # flask-openapi3's
            "description": "The events so far as JSON. With `Accept: text/event-stream`: a live stream.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    )

    data: list[EventPayload]
    has_more: bool
    last_id: str | None


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    data: list[JobPayload]
    has_more: bool
    last_id: str | None
