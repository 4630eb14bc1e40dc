"""How the columns of a table become features.

A table is a matrix (n_rows, n_columns) of float64. A column of numbers holds them, a boolean one 0 and 1, and one of
categories their codes: k for level k, and `UNKNOWN` for a category that is no level. NaN stands for a missing value.
"""

import contextlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats

ColumnKind: TypeAlias = Literal["numeric", "boolean", "categorical"]

UNKNOWN = -1.0
"""The code of a category that is no level."""


@dataclass(frozen=True)
class Column:
    """One column of a table, and what stands for its missing values."""

    name: str
    kind: ColumnKind
    levels: tuple[str, ...] = ()
    """of a categorical column: its categories, sorted"""
    mean: float = 0.0
    """of the others: what a missing number counts as"""
    has_gaps: bool = False
    """whether a value was missing in training: being missing is then a feature of its own"""
    null_values: tuple[str, ...] = ()
    """texts that stood for a missing value where the table came from; of a column of numbers also numbers"""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of its features."""
        if self.kind == "categorical":
            return (*((f"{self.name}=<missing>",) if self.has_gaps else ()), *(f"{self.name}={x}" for x in self.levels))
        return (self.name, f"{self.name}:missing") if self.has_gaps else (self.name,)

    @property
    def n_features(self) -> int:
        """Their number."""
        return (len(self.levels) if self.kind == "categorical" else 1) + self.has_gaps

    @cached_property
    def _null_numbers(self) -> tuple[float, ...]:
        found = []
        for text in self.null_values if self.kind == "numeric" else ():
            with contextlib.suppress(ValueError):
                found.append(float(text))
        return tuple(found)

    def is_missing(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which values (n_rows,) are missing: NaN, and numbers that stand for it."""
        is_nan = np.isnan(values)
        return is_nan | np.isin(values, self._null_numbers) if self._null_numbers else is_nan

    def encode(self, values: NDArray[np.float64], features: Floats) -> None:
        """Write the features of values (n_rows,) into features (n_rows, n_features).

            number x     x, and a 0 if there were gaps        missing     the mean, and a 1 if there were gaps
            level k      1 in place k, and 0 in all others    missing     1 in a place of its own if there were gaps

        All places of a category that is no level are 0, and of a missing one if training had no gaps.
        """
        is_missing = self.is_missing(values)
        if self.kind != "categorical":
            features[:, 0] = np.where(is_missing, self.mean, values)
            if self.has_gaps:
                features[:, 1] = is_missing
            return
        features[...] = 0
        if self.has_gaps:
            features[:, 0] = is_missing
        rows = np.flatnonzero(values >= 0)  # neither missing nor unknown
        features[rows, values[rows].astype(np.intp) + self.has_gaps] = 1


@dataclass(frozen=True)
class TableEncoder:
    """Turns rows of a table into features: the same in training and in predicting."""

    columns: tuple[Column, ...]

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        """The names of all features, in order."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def n_features(self) -> int:
        """Their number."""
        return sum(column.n_features for column in self.columns)

    @cached_property
    def first_features(self) -> tuple[int, ...]:
        """The index of the first feature of each column."""
        return tuple(np.cumsum([0, *(column.n_features for column in self.columns)])[:-1].tolist())

    def encode(self, table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the features (n_rows, n_features) of rows of a table (n_rows, n_columns)."""
        features = np.empty((len(table), self.n_features))
        for values, column, first in zip(table.T, self.columns, self.first_features, strict=True):
            column.encode(values, features[:, first : first + column.n_features])
        return features

    @classmethod
    def learn(
        cls, columns: Sequence[Column], blocks: Iterable[tuple[NDArray[np.float64], Floats | None]]
    ) -> "TableEncoder":
        """Learn means, gaps and levels from the rows to train on; a level that none of them has is dropped.

        Args:
            columns: names, kinds and levels; their means and gaps are not read.
            blocks: some rows of the table at a time, (n_rows, n_columns), in codes of these levels, none of them
                unknown; and how many times each row counts, (n_rows,); None: once. Of a row that counts 0 times,
                levels and gaps are learned alone.
        """
        tallies = [_Tally(column) for column in columns]
        for table, weights in blocks:
            for tally, values in zip(tallies, table.T, strict=True):
                tally.add(values, weights)
        return cls(tuple(tally.learned() for tally in tallies))

    def recode(self, columns: Sequence[Column], table: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give a table that is in codes of the levels of other columns in those of this encoder's."""
        changed = [k for k, column in enumerate(columns) if column.levels != self.columns[k].levels]
        if not changed:
            return table
        table = table.copy()
        for k in changed:
            code_of = {level: code for code, level in enumerate(self.columns[k].levels)}
            codes = np.array([code_of.get(level, UNKNOWN) for level in columns[k].levels] or [UNKNOWN])
            known = table[:, k] >= 0
            table[known, k] = codes[table[known, k].astype(np.intp)]
        return table


class _Tally:
    """What is learned of one column."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._has_gaps = False
        self._occurs = np.zeros(len(column.levels), dtype=bool)
        self._mean = self._weight = 0.0

    def add(self, values: NDArray[np.float64], weights: Floats | None) -> None:
        is_missing = self._column.is_missing(values)
        self._has_gaps |= bool(is_missing.any())
        counted = values[~is_missing]
        if self._column.kind == "categorical":
            self._occurs[counted.astype(np.intp)] = True
            return
        of_rows = np.ones(len(counted)) if weights is None else weights[~is_missing].astype(np.float64)
        weight = float(of_rows.sum())
        if weight:
            # Of the shares, since sums would overflow where the values are near 1e308.
            self._weight += weight
            self._mean = self._mean * (1 - weight / self._weight) + float(of_rows / self._weight @ counted)

    def learned(self) -> Column:
        column = replace(self._column, has_gaps=self._has_gaps)
        if column.kind != "categorical":
            return replace(column, mean=self._mean)
        return replace(column, levels=tuple(itertools.compress(column.levels, self._occurs)))
