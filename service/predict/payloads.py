"""What `/predict` takes and answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from service.http.names import Name, VersionNumber
from service.http.payloads import ROW, TAG, RequestPayload, json_tag

MAX_COMPARED = 64


"""Versions that one prediction compares."""


Instances = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": ROW, "minItems": 1},
                {
                    "type": "array",
                    "items": {"type": "object", "additionalProperties": {"type": "number"}},
                    "minItems": 1,
                },
            ]
        }
    ),
]


Versions = Annotated[
    Annotated[Literal["aliases"], Tag(f"{TAG}string")]
    | Annotated[list[VersionNumber], Field(min_length=1, max_length=MAX_COMPARED, fail_fast=True), Tag(f"{TAG}array")],
    Discriminator(json_tag),
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


class OutputsPayload(BaseModel):
    """What forward propagation gives."""

    outputs: list[list[float]] = Field(description="y_hat, one row for each instance")
    predictions: list[Any] = Field(description="The class, the value, or the list of values for each instance")


class VersionOutputsPayload(OutputsPayload):
    """What one of several versions gives."""

    aliases: list[str] | None = Field(None, description="The aliases that name it, if they were asked for.")


class PredictionPayload(OutputsPayload):
    """What a model gives."""

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]  # flask-openapi3's
            "description": "The outputs, in the form that `Accept` asks for; npy has the outputs alone.",
            "headers": {
                "Server-Timing": {"description": "`predict;dur=` and milliseconds", "schema": {"type": "string"}},
                "X-Model-Stale": {"description": "true while Redis is away", "schema": {"type": "string"}},
                "X-Model-Version": {"description": "in npy, CSV and Arrow answers", "schema": {"type": "string"}},
            },
            "content": {
                "application/x-npy": {"schema": {"type": "string", "format": "binary"}},
                "text/csv": {"schema": {"type": "string"}, "example": "output,prediction\n0.95,1\n0.04,0\n"},
                "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    )

    model: str
    version: int | None = Field(None, description="None of a provisional network, which is no version.")
    job: str | None = Field(None, description="As asked for.")
    provisional: bool = Field(False, description="From the best network so far of a job that still runs.")
    epoch: int | None = Field(None, description="Of a provisional network, as are cost and validation_cost.")
    cost: float | None = None
    validation_cost: float | None = None
    stale: bool = Field(False, description="Redis could not be asked: the version may have been superseded.")
    contributions: list[Any] | None = Field(
        None,
        description="With explain: for each instance a number for each feature (with several outputs, such a list for "
        "each output); with base and residual they sum to z.",
    )
    base: float | list[float] | None = Field(None, description="z of an instance whose features are all 0")
    residual: list[Any] | None = Field(
        None, description="What is missing of z: rounding, or for hidden layers the error of the integral"
    )
    by_version: dict[str, VersionOutputsPayload] | None = Field(None, description="With versions.")
