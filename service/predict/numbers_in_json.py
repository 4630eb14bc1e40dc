"""Very many numbers as JSON, a part at a time: while orjson writes, no other thread runs."""

from typing import Any

import numpy as np
import orjson

_NUMBERS_AT_ONCE = 100_000


def in_slices(numbers: Any) -> Any:
    """Return what orjson writes like the given numbers; a large array is written here, so that others run meanwhile."""
    if not isinstance(numbers, np.ndarray) or numbers.size <= _NUMBERS_AT_ONCE or numbers.ndim == 0:
        return numbers
    n_rows = max(_NUMBERS_AT_ONCE * len(numbers) // numbers.size, 1)
    parts = [
        orjson.dumps(numbers[first : first + n_rows], option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        for first in range(0, len(numbers), n_rows)
    ]
    return orjson.Fragment(b"[%b]" % b",".join(parts))
