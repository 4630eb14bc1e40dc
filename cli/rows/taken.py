"""What a version takes: numbers by name, or the columns of a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

import click

Kind: TypeAlias = Literal["numeric", "boolean", "categorical"]


@dataclass(frozen=True)
class TakenColumn:
    """A column that a version reads."""

    name: str
    kind: Kind
    null_values: frozenset[str] = frozenset()
    """Texts that stood for a missing value in training."""
    may_be_missing: bool = True


@dataclass(frozen=True)
class Taken:
    """All columns that a version reads, in its order."""

    columns: tuple[TakenColumn, ...]
    target: str | None
    is_table: bool
    """Whether the version was trained on columns of a table; otherwise all are numbers, and none may be missing."""

    @classmethod
    def of(cls, version: Mapping[str, Any]) -> "Taken":
        """Read the description of a version, as the service gives it."""
        described = version.get("columns")
        if described is None:
            features = tuple(
                TakenColumn(str(name), "numeric", may_be_missing=False) for name in version["feature_names"]
            )
            return cls(features, None, is_table=False)
        columns = tuple(
            TakenColumn(str(each["name"]), each["type"], frozenset(each.get("null_values") or ())) for each in described
        )
        return cls(columns, version.get("target"), is_table=True)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    def places_in(self, given: Sequence[str], source: str) -> list[int]:
        """Find the columns among those of a file.

        Raises:
            RowsError: one is missing, or is there twice.
        """
        place_of = {name: k for k, name in enumerate(given)}
        for name in self.names:
            if name not in place_of:
                others = [other for other in given if other not in self.names]
                near = get_close_matches(name, others, 1)
                hint = f"; it has {near[0]!r}, which it does not read" if near else ""
                shown = ", ".join(given[:20]) + (", ..." if len(given) > 20 else "")
                raise RowsError(f"{source} has no column {name!r}, which the model needs{hint}. Its columns: {shown}")
            if given.count(name) > 1:
                raise RowsError(f"{source} has two columns {name!r}: rename one")
        return [place_of[name] for name in self.names]

    def ignored_in(self, given: Sequence[str]) -> list[str]:
        """Return the columns of a file that the model does not read, without the target."""
        return [name for name in given if name and name not in self.names and name != self.target]


class RowsError(click.ClickException):
    """The rows of a file cannot be read, or do not fit the model."""
