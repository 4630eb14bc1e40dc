"""Columns as they are kept: what the codes of a column stand for once all of its levels are known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from service.datasets.reading.classes import Look
from service.datasets.reading.column_types import Verdict, as_boolean
from service.datasets.reading.columns import ColumnReader
from service.datasets.reading.limits import TableLimits
from service.datasets.reading.sources.source import Array
from storage.datasets.categories import canonical_number

_WHOLE_AS_FLOAT = re.compile(r"(-?[0-9]+)\.0+")


@dataclass(frozen=True)
class OutputColumn:
    """One column, of a type that is decided."""

    name: str
    verdict: Verdict
    read: ColumnReader
    limits: TableLimits

    @cached_property
    def categories(self) -> tuple[str, ...] | None:
        """The categories, sorted; None if it has none, or too many for codes."""
        levels = self.read.levels
        if self.verdict.type != "categorical" or not levels.is_complete:
            return None
        categories = tuple(sorted(set(self._names)))
        return categories if len(categories) <= self.limits.max_categories else None

    @cached_property
    def _names(self) -> list[str]:
        """The category of each level.

        1 and 1.0 are one. Where all are numbers and categories are asked for, they have the texts of their numbers.
        """
        texts: list[str] = self.read.levels.texts.to_pylist()
        tally, rules = self.read.tally, self.read.rules
        if rules.asked == "categorical" and rules.kind == "cells" and tally.counts[Look.NUMBER] == tally.counts.sum():
            return [canonical_number(float(text.replace(",", "."))) for text in texts]
        known = set(texts)
        return [
            match[1] if (match := _WHOLE_AS_FLOAT.fullmatch(text)) and match[1] in known else text for text in texts
        ]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many rows have each category."""
        counts = dict.fromkeys(self._names, 0)
        for name, count in zip(self._names, self.read.levels.counts.tolist(), strict=True):
            counts[name] += count
        return counts

    @cached_property
    def type(self) -> pa.DataType:
        """The type of its values."""
        match self.verdict.type:
            case "numeric":
                return pa.float64()
            case "boolean":
                return pa.bool_()
            case "empty":
                return pa.null()
            case "categorical" if self.categories is not None:
                return pa.dictionary(pa.int32(), pa.string())
        return pa.string()

    @property
    def n_bytes(self) -> int:
        """About how many bytes all of its values take, decoded."""
        if self.type == pa.string():
            return self.read.levels.n_text_bytes + 4 * self.read.n_rows
        return {"numeric": 8, "boolean": 1, "empty": 0}.get(self.verdict.type, 4) * self.read.n_rows

    def convert(self, values: Array) -> Array:
        """Give values as read, in the type of the column."""
        if self.type == pa.null():
            return pa.nulls(len(values))
        if pa.types.is_null(values.type):
            return pa.nulls(len(values), self.type)
        if values.type == pa.int32():
            values = self._of_levels.take(values)
            if self.categories is not None:
                return pa.DictionaryArray.from_arrays(values, pa.array(self.categories, pa.string()))
        elif self.type == pa.bool_() and values.type != pa.bool_():
            values = pa.array([None if text is None else as_boolean(text) for text in values.to_pylist()], pa.bool_())
        elif self.verdict.type == "date" and self.read.rules.null_values is None:
            values = pc.if_else(pc.is_in(values, value_set=self._spellings), None, values)
        return values

    @cached_property
    def _of_levels(self) -> Array:
        """What each level is written as."""
        texts: list[str] = self.read.levels.texts.to_pylist()
        if self.categories is not None:
            codes = {category: code for code, category in enumerate(self.categories)}
            return pa.array([codes[name] for name in self._names], pa.int32())
        if self.type == pa.bool_():
            return pa.array(map(as_boolean, texts), pa.bool_())
        if self.verdict.type == "date":
            return pa.array([None if self.read.is_missing(text) else text for text in texts], pa.string())
        return self.read.levels.texts

    @cached_property
    def _spellings(self) -> Array:
        return pa.array(list(self.read.tally.spellings), pa.string())


def rows_of_parts(columns: Sequence[OutputColumn], n_rows: int) -> int:
    """Give how many rows each part of a table has: about 12 MB decoded, and never the rest of a part alone."""
    n_parts = max(1, round(sum(column.n_bytes for column in columns) / PART_BYTES))
    return -(-n_rows // n_parts)


PART_BYTES = 12 * 2**20


def as_floats(values: Array) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Give numbers or booleans (n,), NaN for nulls."""
    if pa.types.is_boolean(values.type):
        values = pc.cast(pc.cast(values, pa.int8()), pa.float64())
    floats: np.ndarray[tuple[int], np.dtype[np.float64]] = values.to_numpy(zero_copy_only=False)
    return floats
