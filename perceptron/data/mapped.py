"""Arrays in a memory map: pages that were read are given back, so that training fits where its data set does not."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats

WINDOW_BYTES = 32_000_000
"""How much a thread reads before it gives it back: enough for the advice to cost nothing beside the reading."""
_DONT_NEED = getattr(mmap, "MADV_DONTNEED", None)


class GiveBack:
    """Tells the system which rows of an array were read and need not stay resident.

    For an array in memory, and where there is no such advice (Windows), nothing happens. Reading the rows again brings
    them back from the file, or from the system's cache of it while there is room for one.

    Args:
        array: (n_rows, ...), in memory or in a `numpy.memmap`, its rows one after the other.
    """

    def __init__(self, array: Floats) -> None:
        self._map = None if _DONT_NEED is None else _map_of(array)
        self._row_bytes = array.strides[0]
        self._start = 0
        if self._map is not None:
            self._start = _address(array) - _address(np.frombuffer(self._map, np.uint8))

    def rows(self, rows: slice) -> None:
        """Give back rows `start` to `stop`."""
        if self._map is None or _DONT_NEED is None or self._row_bytes <= 0:
            return
        # Whole pages; that some rows of the neighbours go along costs only reading them once more.
        first = (self._start + rows.start * self._row_bytes) // mmap.PAGESIZE * mmap.PAGESIZE
        last = min(self._start + rows.stop * self._row_bytes, len(self._map))
        self._map.madvise(_DONT_NEED, first, last - first)


def _map_of(array: Floats) -> mmap.mmap | None:
    """Find the map that an array is a view of; None also for one whose pages are the only place of what was written."""
    base: object = array
    is_shared = False
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            is_shared = base.mode in ("r", "r+", "w+")  # and not "c", copy on write
        base = base.base
    return base if is_shared and isinstance(base, mmap.mmap) else None


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
