"""Reads bytes as a table."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from service.datasets.reading import ReadOptions, TableLimits
from service.datasets.reading.read import read_table
from service.http.errors import TableError
from storage.datasets.schema import TABLE_SCHEMA, ColumnSchema, TableSchema


class Reader:
    """Reads bytes as a table, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parquet = folder / "table.parquet"

    def __call__(
        self,
        body: bytes | str,
        media_type: str = "text/csv",
        encoding: str = "",
        limits: TableLimits | None = None,
        **query: str,
    ) -> TableSchema:
        source = self.folder / "body"
        source.write_bytes(body.encode() if isinstance(body, str) else body)
        schema = read_table(
            source,
            media_type=media_type,
            content_encoding=encoding,
            options=ReadOptions.parse(query),
            limits=limits or TableLimits(),
            destination=self.parquet,
        )
        assert sorted(path.name for path in self.folder.iterdir()) == ["body", "table.parquet"]
        assert TABLE_SCHEMA.validate_json(TABLE_SCHEMA.dump_json(schema)) == schema
        return schema

    def rows(self) -> list[list[Any]]:
        return [list(row.values()) for row in pq.read_table(self.parquet).to_pylist()]

    def error(
        self, body: bytes | str, media_type: str = "text/csv", encoding: str = "", **query: Any
    ) -> dict[str, Any]:
        with pytest.raises(TableError) as caught:
            self(body, media_type, encoding, **query)
        return {"code": caught.value.code, "status": caught.value.status, **caught.value.members}


def codes(column: ColumnSchema | TableSchema) -> list[str]:
    return [warning.code for warning in column.warnings]
