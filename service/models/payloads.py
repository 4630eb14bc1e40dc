"""The requests and answers of `/models`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from perceptron import Column
from service.http.names import Name, VersionNumber
from service.http.payloads import RequestPayload
from storage.models.versions import Model
from storage.tenants import local


class AliasRequest(RequestPayload):
    """The version to point an alias at."""

    version: VersionNumber


class ModelsQuery(BaseModel):
    """Which models to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    after: Name | None = Field(None, description="The `last_id` of the page before.")


class ModelSummary(BaseModel):
    """A model in a list."""

    name: str
    latest_version: int
    n_versions: int
    aliases: dict[str, int]

    @classmethod
    def of(cls, model: Model) -> "ModelSummary":
        """Return the payload of a model in a list."""
        return cls(
            name=local(model.name),
            latest_version=model.latest,
            n_versions=len(model.versions),
            aliases=dict(model.aliases),
        )


class ModelList(BaseModel):
    """A page of models, sorted by name."""

    data: list[ModelSummary]
    has_more: bool
    last_id: str | None


class VersionSummary(BaseModel):
    """A version in the list of its model."""

    version: int
    created_at: str
    job: str
    metrics: dict[str, Any]


class ModelPayload(BaseModel):
    """A model with its versions and aliases."""

    name: str
    latest_version: int
    versions: list[VersionSummary]
    aliases: dict[str, int]


class ColumnPayload(BaseModel):
    """A column of the table that a version was trained on."""

    name: str
    type: Literal["numeric", "boolean", "categorical"]
    categories: list[str] | None = Field(description="Those of training, sorted; null for the other types.")
    mean: float | None = Field(description="What stands for a missing value; null for categorical.")
    has_gaps: bool = Field(description="Whether values were missing in training: missing is then a feature of its own.")
    null_values: list[str] = Field(description="What stood for a missing value in the data set; it does in rows, too.")

    @classmethod
    def of(cls, column: Column) -> "ColumnPayload":
        """Return the payload of a column."""
        is_categorical = column.kind == "categorical"
        return cls(
            name=column.name,
            type=column.kind,
            categories=list(column.levels) if is_categorical else None,
            mean=None if is_categorical else column.mean,
            has_gaps=column.has_gaps,
            null_values=list(column.null_values),
        )


class VersionPayload(BaseModel):
    """One immutable trained network."""

    model_config = ConfigDict(extra="allow")

    model: str
    version: int
    created_at: str
    aliases: list[str] = Field(description="The aliases that point at this version.")
    weights: list[list[list[float]]] | None = Field(
        description="weights[k] is the matrix [n_inputs_k][n_outputs_k] of layer k, in the units of the raw features. "
        "Null for networks of more than 10,000 parameters."
    )
    bias: list[list[float]] | None
    columns: list[ColumnPayload] | None = Field(
        description="Of a version trained on a table: the columns of the rows to predict for, in order. feature_names "
        "are then the features that they become. Null for a version that takes features."
    )
    target: str | None = Field(description="The column of that table that was learned.")
