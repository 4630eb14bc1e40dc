"""The values of the column to learn: of each row, or of a large table each of them once."""

from dataclasses import dataclass

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


def _distinct(table: Table, column: Column) -> TargetValues:
    """Read the distinct values, a block of rows at a time.

    Of more numbers than there may be classes some are kept, among them those that decide the task: the smallest, the
    largest, and one with a fraction.
    """
    found: dict[float, tuple[int, int]] = {}  # the first row, and the number of rows
    n_missing, first_missing, n_rows = 0, None, 0
    for block in table.blocks([column]):
        values = block[:, 0]
        is_missing = np.isnan(values)
        if is_missing.any():
            n_missing += int(is_missing.sum())
            first_missing = n_rows + int(is_missing.argmax()) if first_missing is None else first_missing
        for value, first, count in zip(
            *(each.tolist() for each in np.unique(values[~is_missing], return_index=True, return_counts=True)),
            strict=True,
        ):
            known = found.get(value)
            row = n_rows + int(np.flatnonzero(~is_missing)[first]) if known is None else known[0]
            found[value] = row, count + (known[1] if known else 0)
        n_rows += len(values)
        if len(found) > MAX_CLASSES and column.kind != "categorical":
            found = _deciding(found)
    ordered = sorted(found)
    return TargetValues(
        np.array(ordered),
        np.array([found[value][0] for value in ordered], dtype=np.intp),
        np.array([found[value][1] for value in ordered], dtype=np.float64),
        n_rows,
        n_missing,
        first_missing,
    )


def _deciding(found: dict[float, tuple[int, int]]) -> dict[float, tuple[int, int]]:
    kept = {*sorted(found)[: MAX_CLASSES + 1], max(found), next((value for value in found if value % 1), min(found))}
    n_others = sum(count for value, (_, count) in found.items() if value not in kept)
    reduced = {value: found[value] for value in kept}
    first, count = reduced[min(found)]
    reduced[min(found)] = first, count + n_others
    return reduced
