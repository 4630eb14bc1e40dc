"""The array types of the package, and how it walks through many rows."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
"""float64, or float32 while a network trains in it."""

Rows: TypeAlias = NDArray[np.intp]
"""Indices of instances."""

BLOCK_ROWS = 4096


BLOCK_NUMBERS = 2**20
MIN_BLOCK_ROWS = 64


def block_rows(width: int) -> int:
    """Return how many rows of this width to take at once: 8 MB of float64 at most, but never fewer than 64."""
    return min(BLOCK_ROWS, max(BLOCK_NUMBERS // width, MIN_BLOCK_ROWS))


def row_blocks(n_rows: int, width: int = 1) -> Iterator[slice]:
    """Cut rows 0..n_rows-1 into blocks, so that the memory of a pass does not grow with their number.

    Args:
        width: how many numbers a row has where it is widest.
    """
    size = block_rows(width)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
