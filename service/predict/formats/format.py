"""The record of a table format: how to read instances from its bytes, and how to write outputs.

`table.py` lists all formats. The native route and `/invocations` read and write every one of them.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.http.errors import Fault, WrongDimensionError
from service.http.parsing import refuse
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix, TableRows
from service.settings import Limits

SMALL_BODY_BYTES = 32_768
"""A body up to this size takes well below a millisecond, so the event loop may answer it by itself."""

SMALL_TEXT_BYTES = 2_048
"""The same for text that Python reads line by line."""


@dataclass(frozen=True)
class Format:
    """One media type."""

    media_type: str
    read: Callable[[bytes, Inputs, Limits, Mapping[str, str]], Instances]
    """Takes the body, what the model takes, the limits and the parameters of the media type."""
    write: Callable[[Matrix, Sequence[Any] | None], bytes]
    """Takes the outputs (n_instances, n_outputs) and, if it is one value, the prediction for each instance."""
    has_predictions: bool = True
    """Whether the format has a place for predictions."""
    max_bytes_on_loop: int = SMALL_BODY_BYTES
    """Larger bodies are read, and answered in this format, in a thread."""
    example: str | None = None
    """A body, for the OpenAPI document; None if the format is binary."""

    @property
    def content_type(self) -> bytes:
        """Return the Content-Type of an answer."""
        return (self.media_type + ("; charset=utf-8" if self.media_type.startswith("text/") else "")).encode()


def in_order(matrix: Matrix, columns: Sequence[str] | None, features: Sequence[str]) -> Instances:
    """Return the instances of a table, its columns in the order of the model's features.

    Args:
        columns: the names of the columns; None if they are in order already.

    Raises:
        WrongDimensionError: there are more or fewer columns than features.
        InvalidRequestError: a feature has no column, or the names do not fit the columns.
    """
    n_columns = matrix.shape[1]
    if columns is not None:
        if len(columns) != n_columns:
            refuse("", f"expected {n_columns} names of columns, got {len(columns)}")
        if len(set(columns)) != n_columns:
            ((name, _),) = Counter(columns).most_common(1)
            refuse("", f"has two columns {name[:128]!r}")
    if n_columns != len(features):
        raise WrongDimensionError([Fault("", f"expected {len(features)} columns, got {n_columns}")])
    if columns is None or list(columns) == list(features):
        return Instances(matrix, "")
    column_of = {name: j for j, name in enumerate(columns)}
    missing = next((name for name in features if name not in column_of), None)
    if missing is not None:
        refuse("", f"has no column {missing[:128]!r}")
    return Instances(np.ascontiguousarray(matrix[:, [column_of[name] for name in features]]), "")


def of_matrix(matrix: Matrix, inputs: Inputs, pointer: str, *, is_by_row: bool = True) -> Instances:
    """Return the instances of a matrix of finite numbers: features or, where all are numbers, columns of a table.

    Raises:
        WrongDimensionError: it has another width.
    """
    n_given, encoder = matrix.shape[1], inputs.encoder
    if encoder is not None and inputs.has_only_numbers and n_given == len(inputs.names):
        return Instances(TableRows(matrix, encoder), pointer, is_by_row)
    n_features = len(inputs.names) if encoder is None else encoder.n_features
    if n_given != n_features:
        encoded = "" if encoder is None else " of encoded features"
        raise WrongDimensionError([Fault(pointer, f"expected {n_features} columns{encoded}, got {n_given}")])
    return Instances(matrix, pointer, is_by_row)


def require_finite(matrix: Matrix) -> None:
    """Refuse a table with a NaN or an infinity, and name its row and column.

    Raises:
        InvalidRequestError: it has one.
    """
    is_finite = np.isfinite(matrix)
    if not is_finite.all():
        i, j = (int(k) for k in np.argwhere(~is_finite)[0])
        refuse(f"/{i}/{j}", "must be finite")


def output_names(n_outputs: int) -> list[str]:
    """Return the names of the columns of the outputs."""
    return ["output"] if n_outputs == 1 else [f"output_{k}" for k in range(n_outputs)]
