"""Statistics of a column of numbers, part by part in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from perceptron.preprocessing.standardization import Moments

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_SAMPLE_VALUES = 2_000_000
"""of all columns together"""
_MIN_SAMPLE_ROWS, _MAX_SAMPLE_ROWS = 100, 10_000


class RowSample:
    """Rows that are drawn by a hash of their number: the same ones however the table was read."""

    def __init__(self, n_rows: int, n_columns: int) -> None:
        wanted = min(max(_SAMPLE_VALUES // max(n_columns, 1), _MIN_SAMPLE_ROWS), _MAX_SAMPLE_ROWS)
        self._share = wanted / n_rows if n_rows > wanted else 1.0

    def of(self, first_row: int, n_rows: int) -> NDArray[np.intp]:
        """Give those of some rows, counted from the first of them.

        References:
            G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014.
        """
        if self._share == 1:
            return np.arange(n_rows)
        mixed = np.arange(first_row, first_row + n_rows, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
        return np.flatnonzero(mixed < np.uint64(self._share * 2.0**64))


class NumberStatistics:
    """Mean, deviation, range, quantiles and number of different values, of those that are not missing."""

    def __init__(self, max_distinct: int) -> None:
        self.moments: Moments | None = None
        """None: there is no value"""
        self.min = np.inf
        self.max = -np.inf
        self._max_distinct = max_distinct
        self._distinct: NDArray[np.float64] | None = np.zeros(0)
        self._sample: list[NDArray[np.float64]] = []

    def add(self, values: NDArray[np.float64], sampled: NDArray[np.intp]) -> None:
        """Count the next rows.

        Args:
            values: (n_rows,), NaN where they are missing.
            sampled: the rows that belong to the sample.
        """
        self._sample.append(values[sampled])
        is_missing = np.isnan(values)
        if is_missing.any():
            values = values[~is_missing]
        if len(values) == 0:
            return
        moments = Moments.of(values[:, np.newaxis])
        self.moments = moments if self.moments is None else self.moments.combine(moments)
        self.min = min(self.min, float(values.min()))
        self.max = max(self.max, float(values.max()))
        if self._distinct is not None:
            distinct = np.unique(np.append(self._distinct, np.unique(values)))
            self._distinct = distinct if len(distinct) <= self._max_distinct else None

    @property
    def mean(self) -> float | None:
        """The mean; None: there is no value."""
        return None if self.moments is None else float((self.moments.mean * self.moments.unit)[0])

    @property
    def std(self) -> float | None:
        """The standard deviation of the population."""
        return None if self.moments is None else float(self.moments.deviation[0])

    @property
    def is_constant(self) -> bool:
        """Whether all values are the same but for rounding."""
        return self.moments is not None and bool(self.moments.is_constant[0])

    @property
    def distinct(self) -> tuple[int, bool]:
        """How many different values there are, and whether that is exact: counting stops at a limit."""
        return (self._max_distinct, False) if self._distinct is None else (len(self._distinct), True)

    @property
    def quantiles(self) -> dict[str, float] | None:
        """Those of the sample; None: it has no value."""
        sample = np.concatenate([*self._sample, np.zeros(0)])
        sample = sample[~np.isnan(sample)]
        if len(sample) == 0:
            return None
        # Halved, since the difference of two large numbers may overflow.
        values = np.quantile(sample / 2, QUANTILES) * 2
        return {str(share): float(value) for share, value in zip(QUANTILES, values, strict=True)}
