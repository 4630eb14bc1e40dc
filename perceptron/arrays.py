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


def row_blocks(n_rows: int) -> Iterator[slice]:
    """Cut rows 0..n_rows-1 into blocks whose intermediate results stay in cache.

    So the memory of a pass depends on the widest layer, not on the number of rows.
    """
    for start in range(0, n_rows, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, n_rows))
