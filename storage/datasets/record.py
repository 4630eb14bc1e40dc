"""One data set as its record in Redis describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

from pydantic import Json, TypeAdapter

from storage.datasets.schema import TableSchema
from storage.errors import CorruptDataError
from storage.log.faults import describe


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What a list shows of a data set."""

    id: str
    name: str
    blob: str
    """sha256 and name, in the blob store, of its Parquet file."""
    n_rows: int
    n_columns: int
    n_bytes: int
    """Of the file as it was uploaded."""
    n_stored_bytes: int = 0
    """Of its Parquet file; 0: an older release stored it, and did not note this."""
    created_at_ms: int = 0
    """Milliseconds since 1970, UTC; the store sets it."""


@dataclass(frozen=True, kw_only=True)
class DatasetRecord(DatasetSummary):
    """A data set with the description of its columns."""

    schema: Json[TableSchema]


_Dataset = TypeVar("_Dataset", bound=DatasetSummary)

LISTED_FIELDS = tuple(each.name for each in fields(DatasetSummary) if each.name != "id")

_SUMMARY = TypeAdapter(DatasetSummary)
_RECORD = TypeAdapter(DatasetRecord)
_SCHEMA = TypeAdapter(TableSchema)


def encode_dataset_record(record: DatasetRecord) -> dict[str, bytes | str | int]:
    """Return the fields of a record in Redis but for its time of creation."""
    listed = {name: getattr(record, name) for name in LISTED_FIELDS if name != "created_at_ms"}
    return {**listed, "schema": _SCHEMA.dump_json(record.schema)}


def decode_dataset_record(dataset_id: str, record: Mapping[str, bytes]) -> DatasetRecord:
    """Read the fields of a record.

    Raises:
        CorruptDataError: it is not the record of a data set.
    """
    return _decoded(_RECORD, dataset_id, record)


def decode_dataset_summary(dataset_id: str, record: Mapping[str, bytes]) -> DatasetSummary:
    """Read `LISTED_FIELDS` of a record.

    Raises:
        CorruptDataError: it is not the record of a data set.
    """
    return _decoded(_SUMMARY, dataset_id, record)


def _decoded(adapter: TypeAdapter[_Dataset], dataset_id: str, record: Mapping[str, bytes]) -> _Dataset:
    try:
        return adapter.validate_python({"id": dataset_id, **{name: value.decode() for name, value in record.items()}})
    except ValueError as error:  # pydantic's ValidationError is one
        raise CorruptDataError(f"the record of data set {dataset_id!r} cannot be read: {describe(error)}") from error
