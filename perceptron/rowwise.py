"""Arrays whose rows are made when they are read: the features and targets of a table that is larger than memory."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, row_blocks
from perceptron.data.mapped import Pages

Make = Callable[[Any], Floats]
"""Makes rows (n_rows, n_columns) of others, each from one."""


_WORTH_BYTES = 200_000


class Rowwise:
    """Stands for an array (n_rows, n_columns), and has what of one is used here. Reading some rows makes them.

    Args:
        source: (n_rows, ...), in memory or mapped.
        make: makes some rows from those of the source.
    """

    ndim = 2

    def __init__(self, source: NDArray[Any], make: Make, n_columns: int, dtype: Any = np.float64) -> None:
        self.shape = (len(source), n_columns)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.nbytes = self.shape[0] * self.shape[1] * self.dtype.itemsize
        self.strides = (source.strides[0], self.dtype.itemsize)
        """The first is that of the source: what reading a row reads."""
        self._source = source
        self._make = make
        self._pages = Pages(source)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Floats:
        """Make some rows: a slice, an array of indices, or one index. With a column, give that column of them."""
        if isinstance(rows, int):
            row: Floats = self[rows : rows + 1][0]
            return row
        if isinstance(rows, tuple):
            rows, column = rows
            values: Floats = self[rows][:, column]
            return values
        made = self._make(np.asarray(self._source[rows])).astype(self.dtype, copy=False)
        if isinstance(rows, slice):
            self._release(rows)
        return made

    def mapped(self, make: Make) -> "Rowwise":
        """Give the array of which each row is made from one of this one, with as many columns."""
        return Rowwise(self._source, lambda rows: make(self._make(rows)), self.shape[1], self.dtype)

    def astype(self, dtype: Any, copy: bool = True) -> "Rowwise":
        """Give the same in another dtype; nothing is copied."""
        return Rowwise(self._source, self._make, self.shape[1], dtype)

    def min(self, axis: int | None = None) -> Any:
        """Give the smallest number, or with axis 0 that of each column."""
        return self._extremes[0] if axis == 0 else self._extremes[0].min()

    def max(self, axis: int | None = None) -> Any:
        """Give the largest number, or with axis 0 that of each column."""
        return self._extremes[1] if axis == 0 else self._extremes[1].max()

    def _release(self, rows: slice) -> None:
        """Give the memory of the rows of a mapped source back to the system, if it is worth the call."""
        start, stop, _ = rows.indices(len(self))
        if (stop - start) * self.strides[0] >= _WORTH_BYTES:
            self._pages.release(slice(start, stop))

    @cached_property
    def _extremes(self) -> tuple[Floats, Floats]:
        smallest = np.full(self.shape[1], np.inf)
        largest = -smallest
        for rows in row_blocks(len(self), self.shape[1]):
            block = self[rows]
            smallest, largest = np.minimum(smallest, block.min(axis=0)), np.maximum(largest, block.max(axis=0))
        return smallest, largest
