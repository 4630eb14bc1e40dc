"""The values of the column to learn: of each row, or of a large table each of them once."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron import EXACT_ROWS, MAX_CLASSES, Column
from storage.datasets.table import Table


@dataclass(frozen=True, eq=False)
class TargetValues:
    """Values in the codes of `TableEncoder`, none of them missing, and where they are."""

    values: NDArray[np.float64]
    """(n_values,)"""
    rows: NDArray[np.intp]
    """(n_values,): the row of each, or the first row that has it"""
    weights: NDArray[np.float64] | None
    """(n_values,): how many times each counts; None: once"""
    n_rows: int
    """That count, with those without a value."""
    n_missing: int = 0
    first_missing: int | None = None

    @classmethod
    def of(cls, table: Table, column: Column, weights: NDArray[np.float64] | None) -> "TargetValues":
        """Read the column.

        Args:
            weights: of each row, (n_rows,); None: each counts once.
        """
        if table.n_rows > EXACT_ROWS and weights is None:
            return _distinct(table, column)
        rows = np.arange(table.n_rows) if weights is None else np.flatnonzero(weights)
        values = table.matrix([column])[rows, 0]
        is_missing = np.isnan(values)
        return cls(
            values[~is_missing],
            rows[~is_missing],
            None if weights is None else weights[rows][~is_missing],
            len(rows),
            int(is_missing.sum()),
            int(rows[is_missing.argmax()]) if is_missing.any() else None,
        )


class _Found(NamedTuple):
    """Distinct values in ascending order, the first row that has each, and the number of rows that have it."""

    values: NDArray[np.float64]
    rows: NDArray[np.intp]
    counts: NDArray[np.intp]


def _distinct(table: Table, column: Column) -> TargetValues:
    """Read the distinct values, a block of rows at a time.

    Of more numbers than there may be classes some are kept, among them those that decide the task: the smallest, the
    largest, and one with a fraction.
    """
    found = _Found(np.empty(0), np.empty(0, np.intp), np.empty(0, np.intp))
    n_missing, first_missing, n_rows = 0, None, 0
    for block in table.blocks([column]):
        values = block[:, 0]
        is_missing = np.isnan(values)
        if is_missing.any():
            n_missing += int(is_missing.sum())
            first_missing = n_rows + int(is_missing.argmax()) if first_missing is None else first_missing
        rows = np.flatnonzero(~is_missing)
        found = _with(found, values[rows], n_rows + rows)
        n_rows += len(values)
        if len(found.values) > MAX_CLASSES and column.kind != "categorical":
            found = _deciding(found)
    return TargetValues(found.values, found.rows, found.counts.astype(np.float64), n_rows, n_missing, first_missing)


def _with(found: _Found, values: NDArray[np.float64], rows: NDArray[np.intp]) -> _Found:
    """Add values, each with its row, which is after all rows before."""
    together = np.concatenate([found.values, values])
    distinct, first, place = np.unique(together, return_index=True, return_inverse=True)
    counts = np.concatenate([found.counts, np.ones(len(values), np.intp)])
    counted = np.zeros(len(distinct), np.intp)
    np.add.at(counted, place, counts)
    return _Found(distinct, np.concatenate([found.rows, rows])[first], counted)


def _deciding(found: _Found) -> _Found:
    """Keep those values that decide the task; the smallest counts for the others, too."""
    is_kept = np.arange(len(found.values)) <= MAX_CLASSES
    is_kept[-1] = True
    is_kept[(found.values % 1 != 0).argmax()] = True
    counts = found.counts.copy()
    counts[0] += counts[~is_kept].sum()
    return _Found(found.values[is_kept], found.rows[is_kept], counts[is_kept])
