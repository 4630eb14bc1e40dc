"""The JSON bodies and answers of `/predict`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from service.http.names import Name, VersionNumber
from service.http.payloads import TAG, RequestPayload, json_tag
from service.predict.formats.table import openapi_content

MAX_COMPARED = 64
"""The most versions that one prediction may compare."""

_CELL: dict[str, Any] = {"anyOf": [{"type": kind} for kind in ("number", "string", "boolean", "null")]}

Instances = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "array", "items": _CELL, "minItems": 1}, "minItems": 1},
                {
                    "type": "array",
                    "items": {"type": "object", "additionalProperties": _CELL},
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
    """Instances to predict for."""

    model_config = ConfigDict(json_schema_extra={"example": {"model": "or", "instances": [[0, 1], [0, 0]]}})

    model: Name | None = Field(None, description="Required without a job.")
    version: VersionNumber | None = Field(None, description="The latest if neither a version nor an alias is given.")
    alias: Name | None = None
    job: str | None = Field(
        None,
        description="Instead of a model: the best network so far of a job that still runs, then its version.",
    )
    instances: Instances = Field(
        description="Each a list of numbers in the order of the features, or an object by feature name. Of a version "
        "that was trained on a table: a list of cells in the order of its columns, or an object by column name."
    )
    explain: bool = Field(False, description="Add what each feature, or each column of a table, contributes to z.")
    versions: Versions | None = Field(
        None, description='Add the outputs of these versions, or with "aliases" of all that an alias names.'
    )


class WarningPayload(BaseModel):
    """What to know about an instance that was answered."""

    pointer: str
    code: Literal["unknown_category", "missing_value", "unknown_key", "more_warnings"]
    detail: str


class OutputsPayload(BaseModel):
    """The outputs of forward propagation, and what they stand for."""

    outputs: list[list[float]] = Field(description="y_hat, one row for each instance")
    predictions: list[Any] = Field(description="The class, the value, or the list of values for each instance")
    warnings: list[WarningPayload] | None = Field(
        None,
        description="About rows of a table: the first 100, and if there are more, one with the code more_warnings.",
    )


class VersionOutputsPayload(OutputsPayload):
    """The outputs of one of several versions."""

    aliases: list[str] | None = Field(
        None, description='The aliases that name the version, if the request names "aliases".'
    )


class PredictionPayload(OutputsPayload):
    """The outputs of a model."""

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]  # flask-openapi3's
            "description": "The outputs in the format that `Accept` names. The npy format has no predictions.",
            "headers": {
                "Server-Timing": {"description": "`predict;dur=` and milliseconds", "schema": {"type": "string"}},
                "X-Model-Stale": {"description": "true while Redis is away", "schema": {"type": "string"}},
                "X-Warnings": {"description": "the number of warnings, if there are any", "schema": {"type": "string"}},
                "X-Model-Version": {"description": "in all formats but JSON", "schema": {"type": "string"}},
            },
            "content": openapi_content(with_examples=False),
        }
    )

    model: str
    version: int | None = Field(None, description="null for a provisional network, which is not a version.")
    job: str | None = Field(None, description="The job of the request.")
    provisional: bool = Field(False, description="The network is the best so far of a job that still runs.")
    epoch: int | None = Field(None, description="The epoch of a provisional network; so are cost and validation_cost.")
    cost: float | None = None
    validation_cost: float | None = None
    stale: bool = Field(False, description="Redis is away: there may be a newer version.")
    contributions: list[Any] | None = Field(
        None,
        description="With explain: a number for each feature, or each column of a table, of each instance, or with "
        "several outputs such a list for each output. With base and residual they sum to z.",
    )
    base: float | list[float] | None = Field(None, description="z of an instance whose features are all 0")
    residual: list[Any] | None = Field(
        None, description="z minus base and contributions: rounding, or with hidden layers the error of the integral"
    )
    by_version: dict[str, VersionOutputsPayload] | None = Field(
        None, description="The outputs of each version, if the request has versions."
    )
