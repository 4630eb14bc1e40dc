"""What `/models` takes and answers."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from service.http.names import Name, VersionNumber
from service.http.payloads import RequestPayload
from storage.models.store import Model


class AliasRequest(RequestPayload):
    """Where an alias is to point."""

    version: VersionNumber


class ModelsQuery(BaseModel):
    """Which models to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    after: Name | None = Field(None, description="The last_id of the page before.")


class ModelSummary(BaseModel):
    """A model in a list."""

    name: str
    latest_version: int
    n_versions: int
    aliases: dict[str, int]

    @classmethod
    def of(cls, model: Model) -> "ModelSummary":
        """Show a model in short."""
        return cls(
            name=model.name,
            latest_version=model.versions[-1],
            n_versions=len(model.versions),
            aliases=dict(model.aliases),
        )


class ModelList(BaseModel):
    """A page of models in the order of their names."""

    data: list[ModelSummary]
    has_more: bool
    last_id: str | None


class VersionSummary(BaseModel):
    """A version in its model's list."""

    version: int
    created_at: str
    job: str
    metrics: dict[str, Any]


class ModelPayload(BaseModel):
    """What exists under one name."""

    name: str
    latest_version: int
    versions: list[VersionSummary]
    aliases: dict[str, int]


class VersionPayload(BaseModel):
    """One immutable trained network."""

    model_config = ConfigDict(extra="allow")

    model: str
    version: int
    created_at: str
    aliases: list[str] = Field(description="The aliases that point at this version now.")
    weights: list[list[list[float]]] | None = Field(
        description="weights[k] is a matrix [n_inputs_k][n_outputs_k], in the units of the raw features; null for "
        "networks of more than 10,000 parameters."
    )
    bias: list[list[float]] | None
