"""Data sets and their columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from perceptron_client.answers import html
from perceptron_client.answers.answer import Answer, time_of
from perceptron_client.answers.jobs import Notice, notices_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class DatasetColumn(Answer):
    """A column of a data set. What its type has besides (mean, categories, ...) are attributes, too."""

    name: str
    type: str
    nulls: int
    use: bool
    """Whether jobs learn from it, unless they say otherwise."""
    warnings: tuple[Notice, ...]

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {
            "name": raw["name"],
            "type": raw["type"],
            "nulls": raw.get("nulls", 0),
            "use": raw.get("use", True),
            "warnings": notices_of(raw.get("warnings")),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Dataset(Answer):
    """An uploaded table."""

    id: str
    name: str
    digest: str
    """Of the columns: equal tables have equal ones, whatever file they came in."""
    rows: int
    n_columns: int
    bytes: int
    """Of the file as it was uploaded."""
    created_at: datetime | None
    columns: tuple[DatasetColumn, ...] | None = field(repr=False)
    """None in a list of data sets."""
    warnings: tuple[Notice, ...]

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        columns = raw.get("columns")
        return {
            **{name: raw[name] for name in ("id", "name", "digest", "rows", "n_columns", "bytes")},
            "created_at": time_of(raw.get("created_at")),
            "columns": None if columns is None else tuple(map(DatasetColumn.of, columns)),
            "warnings": notices_of(raw.get("warnings")),
        }

    def _repr_html_(self) -> str:
        rows = {"id": self.id, "name": self.name, "rows": self.rows, "columns": self.n_columns}
        card = html.card("Data set", rows | html.notices(self.warnings))
        if self.columns is None:
            return card
        names = ("column", "type", "missing", "distinct", "used", "warnings")
        cells = [
            (
                each.name,
                each.type,
                each.nulls,
                each.raw.get("distinct", each.raw.get("n_categories", "")),
                "yes" if each.use else "no",
                ", ".join(notice.code for notice in each.warnings),
            )
            for each in self.columns
        ]
        return card + html.table(names, cells)
