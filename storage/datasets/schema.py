"""What is known about a table: its columns, their statistics, and what to know before it is used."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter

ColumnType: TypeAlias = Literal["numeric", "boolean", "categorical", "date", "empty"]


@dataclass(frozen=True)
class TableWarning:
    """Something that users should know about a table or a column; it stops nothing."""

    code: str
    detail: str


@dataclass(frozen=True)
class CategoryCount:
    """How many rows have a category."""

    category: str
    count: int


@dataclass(frozen=True, kw_only=True)
class ColumnSchema:
    """One column. Statistics are of the values that are not missing; a boolean counts as 0 or 1."""

    name: str
    type: ColumnType
    use: bool
    """Whether a job that does not name its features takes this column."""
    nulls: int
    distinct: int
    """How many different values there are, or the number at which counting stopped."""
    distinct_is_exact: bool = True
    mean: float | None = None
    std: float | None = None
    """of the population"""
    min: float | None = None
    max: float | None = None
    quantiles: Annotated[
        dict[str, float] | None, Field(description="By share of the values; an estimate from a sample of many rows.")
    ] = None
    n_categories: int | None = None
    categories: tuple[str, ...] | None = None
    """All of them, sorted; none if there are more than MAX_CATEGORIES: the column is then kept as text."""
    most_frequent: tuple[CategoryCount, ...] = ()
    null_spellings: tuple[str, ...] = ()
    """The texts that were taken for missing values, the empty one aside."""
    warnings: tuple[TableWarning, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableSchema:
    """A table: its columns in the order of the file."""

    rows: int
    columns: tuple[ColumnSchema, ...]
    warnings: tuple[TableWarning, ...] = ()
    delimiter: str | None = None
    """of a file of delimited text"""


TABLE_SCHEMA = TypeAdapter(TableSchema)
"""Reads and writes a schema as JSON."""
