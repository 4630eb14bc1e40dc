"""Memory-mapped arrays: pages are released once they were read, so a data set may be larger than memory."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats

WINDOW_BYTES = 32_000_000
"""A thread releases pages after reading this much: then the release costs next to nothing."""
_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)


class Pages:
    """The memory pages of a mapped array, which need not stay resident once their rows were read.

    Releasing does nothing for an array in memory, or on a system without such a call (Windows). Reading the rows
    again loads them from the file, or from the system's cache of it.

    Args:
        array: (n_rows, ...), in memory or in a `numpy.memmap`, its rows one after the other.
    """

    def __init__(self, array: Any) -> None:
        self._map = None if _DONT_NEED is None else _map_of(array)
        self._row_bytes = array.strides[0]
        self._start = 0
        if self._map is not None:
            self._start = _address(array) - _address(np.frombuffer(self._map, np.uint8))

    def release(self, rows: slice) -> None:
        """Release rows `start` to `stop`."""
        if self._map is None or _DONT_NEED is None or self._row_bytes <= 0:
            return
        # Whole pages: some rows before and after are released as well, and only have to be read once more.
        first = (self._start + rows.start * self._row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        last = min(self._start + rows.stop * self._row_bytes, len(self._map))
        self._map.madvise(_DONT_NEED, first, last - first)


def _map_of(array: Floats) -> mmap.mmap | None:
    """Find the map that an array is a view of, unless it is copy-on-write: what was written there is in no file."""
    base: object = array
    is_shared = False
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            is_shared = base.mode in ("r", "r+", "w+")  # and not "c", copy on write
        base = base.base
    return base if is_shared and isinstance(base, mmap.mmap) else None


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
