"""NumPy's `.npy` files. The header is checked before anything that it announces is allocated."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.http.parsing import check_n_instances, refuse
from service.predict.formats.format import Format, of_matrix, require_finite
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix
from service.settings import Limits

_VERSIONS = (b"\x01\0", b"\x02\0", b"\x03\0")
_MAX_HEADER_BYTES = 1_000
_HEADER = re.compile(
    rb"\{ *'descr': *'(?P<dtype>[<>|=](?:f[248]|[iu][1248]))', *'fortran_order': *(?P<is_fortran>True|False), *"
    rb"'shape': *\((?:(?P<n_rows>[0-9]{1,12}), *)?(?P<n_columns>[0-9]{1,12}),?\),? *\}\s*"
)
"""The header as NumPy and other writers spell it. NumPy's own reader accepts any Python literal."""


def read(body: bytes, inputs: Inputs, limits: Limits, _parameters: Mapping[str, str]) -> Instances:
    """Read an array (n_instances, n_features), or (n_features,) for one instance, of floats or whole numbers.

    For a model of a table they are the features that its columns become or, if all are numbers, those columns.

    Raises:
        InvalidRequestError, WrongDimensionError: the body is not such an array.
    """
    start = 10 if body[6:7] == b"\x01" else 12
    end = start + int.from_bytes(body[8:start], "little")
    header = _HEADER.fullmatch(body[start : min(end, start + _MAX_HEADER_BYTES)])
    if body[:6] != b"\x93NUMPY" or body[6:8] not in _VERSIONS or header is None:
        refuse("", "must be a .npy file: an array (n_instances, n_features) of floats or integers of up to 64 bits")
    dtype = np.dtype(header["dtype"].decode())
    n_instances, n_features = int(header["n_rows"] or 1), int(header["n_columns"])
    check_n_instances(n_instances, "", limits)
    n_bytes, n_expected = len(body) - end, n_instances * n_features * dtype.itemsize
    if n_bytes != n_expected:
        refuse("", f"announces {n_instances} x {n_features} numbers, {n_expected} bytes, but has {n_bytes}")
    order = "F" if header["is_fortran"] == b"True" else "C"
    with np.errstate(invalid="ignore"):  # a signalling NaN is refused below
        matrix = np.frombuffer(body, dtype, offset=end).reshape((n_instances, n_features), order=order)  # type: ignore[call-overload]
        matrix = matrix.astype(np.float64)
    require_finite(matrix)
    return of_matrix(np.ascontiguousarray(matrix), inputs, "")


def write(outputs: Matrix, _predictions: Sequence[Any] | None) -> bytes:
    """Write the outputs alone: an array has no place for names of classes."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(outputs), version=(1, 0), allow_pickle=False)
    return file.getvalue()


NPY = Format("application/x-npy", read, write, has_predictions=False)
