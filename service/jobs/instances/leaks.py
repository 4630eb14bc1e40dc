"""Features that give the target away: usually what is only known once the target is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from perceptron import Column
from storage.jobs.reports import TrainingWarning

ROWS_PER_VALUE = 3
"""Fewer rows for each value of a feature, in the mean, may fix the target by chance."""

NEARLY_ONE = 1 - 1e-12
"""A larger correlation, or a smaller one than its negative, is a straight line but for rounding."""


def leak_warnings(
    features: Sequence[Column], target: Column, table: NDArray[np.float64]
) -> tuple[TrainingWarning, ...]:
    """Return a warning for each feature that is equal to the target or determines it.

    Args:
        table: (n_rows, n_features + 1) in the codes of `TableEncoder`, the target last.
    """
    known = table[~np.isnan(table[:, -1])]
    if not len(known) or (known[:, -1] == known[0, -1]).all():
        return ()  # anything determines a constant
    found = []
    for k, column in enumerate(features):
        is_there = ~np.isnan(known[:, k])
        values, targets = known[is_there, k], known[is_there, -1]  # not whole rows: they are as wide as the table
        is_known = len(values) > max(1, len(known) // 2)  # few values agree by chance
        relation = _relation(column, values, target, targets) if is_known else None
        if relation is not None:
            found.append(
                TrainingWarning(
                    "leak",
                    f"column {column.name!r} {relation} {target.name!r}: exclude it if it is not known when predicting",
                )
            )
    return tuple(found)


def _relation(column: Column, values: NDArray[np.float64], target: Column, targets: NDArray[np.float64]) -> str | None:
    if column.kind == target.kind != "categorical" and (values == targets).all():
        return "is equal to the target"
    if column.kind == target.kind == "categorical" and column.levels == target.levels and (values == targets).all():
        return "is equal to the target"
    if (targets == targets[0]).all():
        return None
    _, codes = np.unique(values, return_inverse=True)
    n_values = int(codes.max()) + 1
    if n_values > 1 and n_values * ROWS_PER_VALUE <= len(values):
        first = np.empty(n_values)
        first[codes[::-1]] = targets[::-1]
        if (first[codes] == targets).all():
            return "determines the target"
    if column.kind == target.kind == "numeric" and n_values > 2:
        with np.errstate(all="ignore"):
            correlation = float(np.corrcoef(values, targets)[0, 1])
        if abs(correlation) > NEARLY_ONE:
            return "is a straight line of the target"
    return None
