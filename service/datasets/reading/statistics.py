"""Statistics of a column of numbers, part by part in bounded memory."""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perceptron.preprocessing.standardization import SMALLEST_SCALE

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


@dataclass(frozen=True)
class _Moments:
    """Mean and squared deviations of some values, in units of a power of two: scaling is exact and nothing overflows.

    `perceptron`'s Moments are in units of the largest value, which would cost the last digit of the mean of 1, 2, 4.
    """

    n: int
    unit: float
    mean: float
    squared_deviations: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "_Moments":
        unit = 2.0 ** min(int(np.frexp(np.abs(values).max())[1]), 1023)
        scaled = values / unit
        scaled -= scaled[0]  # so that equal values have their own mean, and no deviation
        mean = float(scaled.mean())
        return cls(len(values), unit, float(values[0]) / unit + mean, float(np.square(scaled - mean).sum()))

    def combine(self, other: "_Moments") -> "_Moments":
        """Give the moments of both, after T. Chan, G. Golub and R. LeVeque (1983)."""
        unit, n = max(self.unit, other.unit), self.n + other.n
        left, right = self.unit / unit, other.unit / unit
        difference = other.mean * right - self.mean * left
        return _Moments(
            n,
            unit,
            self.mean * left + difference * (other.n / n),
            self.squared_deviations * left**2
            + other.squared_deviations * right**2
            + difference**2 * (self.n * other.n / n),
        )


class NumberStatistics:
    """Mean, deviation, range, quantiles and number of different values, of those that are not missing."""

    def __init__(self, max_distinct: int) -> None:
        self.moments: _Moments | None = None
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
        moments = _Moments.of(values)
        self.moments = moments if self.moments is None else self.moments.combine(moments)
        self.min = min(self.min, float(values.min()))
        self.max = max(self.max, float(values.max()))
        if self._distinct is not None:
            of_these = pc.unique(pa.array(values)).to_numpy()
            is_few = len(of_these) <= self._max_distinct
            distinct = np.unique(np.append(self._distinct, of_these)) if is_few else of_these
            self._distinct = distinct if len(distinct) <= self._max_distinct else None

    @property
    def mean(self) -> float | None:
        """The mean; None: there is no value."""
        return None if self.moments is None else self.moments.mean * self.moments.unit

    @property
    def std(self) -> float | None:
        """The standard deviation of the population."""
        if self.moments is None:
            return None
        return math.sqrt(self.moments.squared_deviations / self.moments.n) * self.moments.unit

    @property
    def is_constant(self) -> bool:
        """Whether all values are the same but for rounding, as 0.3 and 0.1 + 0.2 are."""
        if self.mean is None or self.std is None:
            return False
        return self.std <= max(np.finfo(np.float64).eps * abs(self.mean), SMALLEST_SCALE)

    @property
    def distinct(self) -> tuple[int, bool]:
        """How many different values there are, and whether that is exact: counting stops at a limit."""
        return (self._max_distinct, False) if self._distinct is None else (len(self._distinct), True)

    @property
    def quantiles(self) -> dict[str, float] | None:
        """Those of the sample; None: it has no value."""
        sample = np.concatenate([*self._sample, np.zeros(0)])
        sample = np.sort(sample[~np.isnan(sample)])
        if len(sample) == 0:
            return None
        at = np.array(QUANTILES) * (len(sample) - 1)
        below = at.astype(np.intp)
        above = np.minimum(below + 1, len(sample) - 1)
        part = at - below
        values = sample[below] * (1 - part) + sample[above] * part  # their difference may overflow
        return {str(share): float(value) for share, value in zip(QUANTILES, values, strict=True)}
