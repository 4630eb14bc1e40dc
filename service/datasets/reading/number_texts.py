"""Columns of numbers that are written as text: fast where nothing is odd, exact where something is."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.datasets.cells import LARGEST_WHOLE, Decimal
from service.datasets.reading.sources.source import Array

_FIRST, _POINT, _NINE = b"+.9"
_ZERO = b"0"[0]
_LETTERS_E = np.zeros(256, bool)
_LETTERS_E[list(b"eE")] = True


class PlainNumbers:
    """Reads blocks of one column in which every text is a plain number or null.

    It looks at the bytes of a block at once: without letters, blanks and leading zeros, a text that can be read as a
    number is one.
    """

    def __init__(self, decimal: Decimal) -> None:
        self._decimal = decimal
        self.has_point_or_sign = False
        """whether a number so far had a decimal mark or a sign"""

    def read(self, texts: Array) -> Array | None:
        """Give the numbers (float64, null for nulls); None if a text may be something else."""
        texts = texts if self._decimal == "." else self._with_points(texts)
        if texts is None:
            return None
        n = len(texts)
        offsets = np.frombuffer(texts.buffers()[1], np.int32, n + 1, 4 * texts.offset) if n else np.zeros(1, np.int32)
        first, end = int(offsets[0]), int(offsets[-1])
        if first == end:
            return pa.nulls(n, pa.float64()) if texts.null_count == n else None
        data = np.frombuffer(texts.buffers()[2], np.uint8, end - first, first)
        lowest, highest = int(data.min()), int(data.max())
        has_point_or_sign = self.has_point_or_sign or lowest <= _POINT
        if lowest < _FIRST:
            return None
        if highest > _NINE:
            others = data[data > _NINE]
            # 1E5 is a number only beside one with a decimal mark or a sign.
            if not (has_point_or_sign and _LETTERS_E[others].all()):
                return None
        if _have_leading_zeros(data, offsets - first):
            return None
        try:
            numbers = pc.cast(texts, pa.float64())
        except pa.ArrowInvalid:
            return None
        range_ = pc.min_max(numbers)
        if range_["min"].as_py() <= -LARGEST_WHOLE or range_["max"].as_py() >= LARGEST_WHOLE:
            return None
        self.has_point_or_sign = has_point_or_sign
        return numbers

    def _with_points(self, texts: Array) -> Array | None:
        has_point = pc.any(pc.match_substring(texts, ".")).as_py()
        return None if has_point else pc.replace_substring(texts, ",", ".")


def _have_leading_zeros(data: NDArray[np.uint8], offsets: NDArray[np.int32]) -> bool:
    """Tell whether a text begins with a zero and another digit; it may then be a code or, as 00.5, a number."""
    starts = offsets[:-1]
    rows = np.flatnonzero(data.take(starts, mode="clip") == _ZERO)
    starts = starts[rows]
    second = data[starts[offsets[rows + 1] - starts > 1] + 1]
    return bool(((second >= _ZERO) & (second <= _NINE)).any())
