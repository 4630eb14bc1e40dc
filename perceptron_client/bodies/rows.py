"""From rows in any form to the bodies of `POST /predict`.

Measured against a service on the same machine, 20 columns: a few cells are fastest as JSON; arrays and lists of more
cells as npy, data frames from 100 rows on as Arrow, 10,000 rows 10 times as fast as JSON. Those two formats name the
model in the query, which has no place for explain, versions and job: with these, rows are JSON.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from perceptron_client.bodies.frames import (
    ARROW_STREAM,
    arrow_parts,
    as_arrow,
    can_be_arrow,
    column_names,
    kind_of_frame,
    to_columns,
    to_records,
)
from perceptron_client.errors import InvalidArgument

JSON = "application/json"
NPY = "application/x-npy"

MIN_CELLS_OF_NPY = 200
MIN_CELLS_OF_ARROW = 2_000
MIN_CELLS_OF_LISTS = 2_000

MAX_ROWS = 100_000
"""The service's default of MAX_PREDICT_INSTANCES."""

MAX_CELLS = 2_000_000
"""Of one request: the service's default of MAX_INLINE_VALUES, and 16 MB as npy."""

STEPS_OF_EXPLANATION = 64
"""Hidden layers are explained in so many steps, and MAX_INLINE_VALUES counts each."""


@dataclass(frozen=True)
class Rows:
    """The rows of one call."""

    n_rows: int
    n_columns: int
    as_json: Callable[[int, int], list[Any]]
    """Takes the first row and the one after the last."""
    as_binary: Callable[[int, int], bytes] | None = None
    media_type: str = JSON
    """Of `as_binary`."""
    prefers_binary: bool = False
    may_be_either: bool = False
    """An array without names. For a model of a table it holds the columns in JSON, and in npy the features that they
    become or, if all are numbers, the columns: if one format does not fit the model, the other one may."""

    def rows_at_once(self, *, is_explained: bool) -> int:
        """Return how many rows one request may have."""
        cells = max(self.n_columns, 1) * (STEPS_OF_EXPLANATION if is_explained else 1)
        return max(1, min(MAX_ROWS, MAX_CELLS // cells))


def rows_of(rows: Any) -> Rows:
    """Return rows as they can be sent.

    Args:
        rows: a list of lists or of dicts, one dict, an array (n_instances, n_features) or (n_features,), a data frame,
            or an Arrow table.

    Raises:
        InvalidArgument: they are nothing of this.
    """
    if type(rows) is list:
        return _of_list(rows)
    if isinstance(rows, np.ndarray):
        return _of_array(rows)
    if kind_of_frame(rows):
        return _of_frame(rows)
    if isinstance(rows, Mapping):
        return _of_list([dict(rows)])
    if type(rows).__name__ == "Series" and hasattr(rows, "to_dict"):
        return _of_list([{name: None if cell != cell else cell for name, cell in rows.to_dict().items()}])  # NaN
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes):
        return _of_list(list(rows))
    raise InvalidArgument(f"rows must be lists, dicts, an array or a data frame, not {type(rows).__name__}")


def _of_list(rows: list[Any]) -> Rows:
    first = rows[0] if rows else ()
    width = len(first) if hasattr(first, "__len__") else 1
    if type(first) is list and len(rows) * width >= MIN_CELLS_OF_LISTS:
        kinds = set(map(len, rows)), set(map(type, chain.from_iterable(rows)))
        if kinds[0] == {width} and kinds[1] <= {int, float}:
            return replace(_of_array(np.array(rows, np.float64)), as_json=lambda start, stop: rows[start:stop])
    return Rows(len(rows), width, lambda start, stop: rows[start:stop])


def _of_array(array: Any) -> Rows:
    if array.ndim not in (1, 2):
        raise InvalidArgument(f"rows must be an array of one or two dimensions, not {array.ndim}")
    matrix = array[np.newaxis] if array.ndim == 1 else array
    if matrix.dtype.kind == "c":
        raise InvalidArgument("rows must be real numbers, not complex ones")
    if matrix.dtype.kind in "mM":
        raise InvalidArgument("rows must be numbers, not times: give them in the unit that the model was trained on")
    if matrix.dtype.kind == "f" and matrix.dtype.itemsize > 8:
        matrix = matrix.astype(np.float64)
    is_masked = isinstance(matrix, np.ma.MaskedArray)  # npy has no place for a mask; in JSON such a cell is null
    is_binary = matrix.dtype.kind in "fiu" and not is_masked
    n_rows, n_columns = matrix.shape
    return Rows(
        n_rows,
        n_columns,
        as_json=lambda start, stop: matrix[start:stop].tolist(),
        as_binary=(lambda start, stop: _npy(matrix[start:stop])) if is_binary else None,
        media_type=NPY,
        prefers_binary=is_binary and matrix.size >= MIN_CELLS_OF_NPY,
        may_be_either=is_binary,
    )


def _npy(matrix: Any) -> bytes:
    sink = io.BytesIO()
    np.save(sink, matrix, allow_pickle=False)
    return sink.getvalue()


def _of_frame(frame: Any) -> Rows:
    names = column_names(frame)
    n_rows = len(frame)
    is_binary = n_rows * len(names) >= MIN_CELLS_OF_ARROW and can_be_arrow(frame)
    table = None
    if is_binary:
        try:
            table = as_arrow(frame)
        except InvalidArgument:
            is_binary = False  # Arrow has no column of mixed types, JSON has
    has_names = names != [str(k) for k in range(len(names))]

    def as_json(start: int, stop: int) -> list[Any]:
        part = _slice(frame, start, stop)
        if has_names:
            return to_records(part)
        return [list(row) for row in zip(*to_columns(part).values(), strict=True)]

    return Rows(
        n_rows,
        len(names),
        as_json,
        as_binary=(lambda start, stop: b"".join(arrow_parts(_slice(table, start, stop)))) if is_binary else None,
        media_type=ARROW_STREAM,
        prefers_binary=is_binary,
    )


def _slice(frame: Any, start: int, stop: int) -> Any:
    if start == 0 and stop >= len(frame):
        return frame
    return frame.iloc[start:stop] if kind_of_frame(frame) == "pandas" else frame.slice(start, stop - start)
