"""The requests and answers of `/datasets`."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from storage.datasets.record import DatasetRecord, DatasetSummary
from storage.datasets.schema import TABLE_SCHEMA
from storage.tenants import local
from storage.times import rfc3339


class DatasetPath(BaseModel):
    """The data set in a URL."""

    dataset_id: str


class DatasetsQuery(BaseModel):
    """Which data sets to list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    after: str | None = Field(None, description="The `last_id` of the page before.")


class RowsQuery(BaseModel):
    """How many rows to show."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=1_000)


class DatasetSummaryPayload(BaseModel):
    """A data set in a list."""

    id: str
    name: str
    digest: str = Field(description="Of its columns: equal tables have equal ones, whatever file they came in.")
    rows: int
    n_columns: int
    bytes: int = Field(description="Of the file as it was uploaded.")
    created_at: str

    @classmethod
    def of(cls, dataset: DatasetSummary) -> "DatasetSummaryPayload":
        """Return the payload of a data set in a list."""
        return cls(**_summary(dataset))


class DatasetPayload(DatasetSummaryPayload):
    """A data set, column by column."""

    warnings: list[dict[str, str]]
    delimiter: str | None = Field(description="Of a file of delimited text.")
    columns: list[dict[str, Any]]

    @classmethod
    def of(cls, dataset: DatasetRecord) -> "DatasetPayload":  # type: ignore[override]  # a record is a summary
        """Return the payload of a data set."""
        schema = TABLE_SCHEMA.dump_python(dataset.schema, mode="json", exclude_none=True)
        return cls(
            **_summary(dataset),
            warnings=schema["warnings"],
            delimiter=schema.get("delimiter"),
            columns=schema["columns"],
        )


class DatasetList(BaseModel):
    """A page of data sets, the newest first."""

    data: list[DatasetSummaryPayload]
    has_more: bool
    last_id: str | None


class RowList(BaseModel):
    """The first rows of a data set."""

    data: list[dict[str, Any]] = Field(description="An object by column name for each row; null: missing.")
    has_more: bool


def _summary(dataset: DatasetSummary) -> dict[str, Any]:
    return {
        "id": local(dataset.id),
        "name": dataset.name,
        "digest": f"sha256:{dataset.blob}",
        "rows": dataset.n_rows,
        "n_columns": dataset.n_columns,
        "bytes": dataset.n_bytes,
        "created_at": rfc3339(dataset.created_at_ms) or "",
    }
