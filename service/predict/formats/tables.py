"""Instances and outputs as tables other than JSON: NumPy's `.npy` and CSV, checked before they are believed."""

import csv
import io
import re
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.http.errors import Fault, WrongDimensionError
from service.http.parsing import check_n_instances, refuse
from service.settings import Limits

NPY = "application/x-npy"
CSV = "text/csv"

Matrix = NDArray[np.float64]

_MAX_HEADER_BYTES = 1_000
_NPY_HEADER = re.compile(
    rb"\{ *'descr': *'(?P<dtype>[<>|=](?:f[248]|[iu][1248]))', *'fortran_order': *(?P<is_fortran>True|False), *"
    rb"'shape': *\((?:(?P<n_rows>[0-9]{1,12}), *)?(?P<n_columns>[0-9]{1,12}),?\),? *\}\s*"
)
"""As NumPy and all others write it. Its own reader takes any Python literal."""

_NOT_NUMBERS = re.compile(r"[^0-9eE+.,\- \n]")


def read_npy(body: bytes, limits: Limits) -> Matrix:
    """Read an array (n_instances, n_features), or (n_features,) for one instance, of floats or whole numbers.

    Raises:
        InvalidRequestError: it is something else; nothing that it announces is allocated before that is certain.
    """
    is_short = body[6:7] == b"\x01"
    start = 10 if is_short else 12
    end = start + int.from_bytes(body[8:start], "little")
    header = _NPY_HEADER.fullmatch(body[start : min(end, start + _MAX_HEADER_BYTES)])
    if body[:6] != b"\x93NUMPY" or body[6:8] not in (b"\x01\0", b"\x02\0", b"\x03\0") or header is None:
        refuse(
            "", "is no .npy file with an array (n_instances, n_features) of floats or whole numbers of up to 64 bits"
        )
    dtype = np.dtype(header["dtype"].decode())
    n_instances, n_features = int(header["n_rows"] or 1), int(header["n_columns"])
    check_n_instances(n_instances, "", limits)
    n_bytes, n_expected = len(body) - end, n_instances * n_features * dtype.itemsize
    if n_bytes != n_expected:
        refuse("", f"announces {n_instances} x {n_features} numbers, {n_expected} bytes, but has {n_bytes}")
    numbers = np.frombuffer(body, dtype=dtype, offset=end)
    with np.errstate(invalid="ignore"):  # a signalling NaN, which is refused below
        matrix = numbers.reshape(
            (n_instances, n_features), order="F" if header["is_fortran"] == b"True" else "C"
        ).astype(np.float64)
    _require_finite(matrix)
    return np.ascontiguousarray(matrix)


def read_csv(body: bytes, limits: Limits, *, has_names: bool | None = None) -> tuple[Matrix, list[str] | None]:
    """Read lines of numbers with commas between them; the first line may hold names. Returns those, too.

    Args:
        has_names: whether the first line does; None: it does if it is not all numbers.

    Raises:
        InvalidRequestError: a line has something else, or another length than the first.
    """
    try:
        text = body.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError as error:
        refuse("", f"is not UTF-8: {error}")
    first, _, rest = text.partition("\n")
    names = None
    if has_names or (has_names is None and not _is_row(first)):
        try:
            names = next(csv.reader([first], strict=True), [])
        except csv.Error as error:
            refuse("/0", f"is no line of CSV: {error}")
        text = rest
    if not text:
        refuse("", "must hold at least one line of numbers")
    check_n_instances(text.count("\n") + 1, "", limits)
    is_plain = not _NOT_NUMBERS.search(text)
    width = text.partition("\n")[0].count(",") + 1
    values = array("d")  # line by line, since the text of each number takes several times as much as the number
    for i, line in enumerate(text.split("\n")):
        row = line.split(",")
        if len(row) != width:
            refuse(f"/{i}", f"expected {width} values as in the first line, got {len(row)}")
        try:
            if not is_plain:
                raise ValueError
            values.extend(map(float, row))
        except ValueError:
            for j, field in enumerate(row):
                if not _is_number(field):
                    refuse(f"/{i}/{j}", f"must be a number, not {field[:40]!r}")
            values.extend(map(float, row))
    matrix = np.array(values).reshape(-1, width)
    _require_finite(matrix)
    return matrix, names


def in_order(matrix: Matrix, names: Sequence[str] | None, features: Sequence[str]) -> Matrix:
    """Return the columns in the order of a model's features.

    Args:
        names: what the columns are; None when they are in order.

    Raises:
        WrongDimensionError: there are more or fewer columns than features.
        InvalidRequestError: a feature is missing, or a name is no feature.
    """
    n_columns = matrix.shape[1] if names is None else len(names)
    if names is not None and (n_columns != matrix.shape[1] or len(set(names)) != n_columns):
        refuse(
            "", f"needs a name of its own for each of the {matrix.shape[1]} columns, and these are {n_columns} names"
        )
    if n_columns != len(features):
        raise WrongDimensionError([Fault("", f"expected {len(features)} columns, got {n_columns}")])
    if names is None or list(names) == list(features):
        return matrix
    column_of = {name: j for j, name in enumerate(names)}
    missing = next((name for name in features if name not in column_of), None)
    if missing is not None:
        refuse("", f"has no column {missing[:128]!r}")
    return np.ascontiguousarray(matrix[:, [column_of[name] for name in features]])


def write_npy(outputs: NDArray[Any]) -> bytes:
    """Write the outputs (n_instances, n_outputs)."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(outputs), version=(1, 0), allow_pickle=False)
    return file.getvalue()


def write_csv(outputs: NDArray[Any], predictions: Sequence[Any] | None) -> bytes:
    """Write a line of names, and for each instance its outputs and what they stand for, if that is one value."""
    file = io.StringIO()
    names = output_names(outputs.shape[1])
    writer = csv.writer(file, lineterminator="\n")
    if predictions is None:
        writer.writerow(names)
        writer.writerows(outputs.tolist())
    else:
        writer.writerow([*names, "prediction"])
        writer.writerows([*row, value] for row, value in zip(outputs.tolist(), predictions, strict=True))
    return file.getvalue().encode()


def output_names(n_outputs: int) -> list[str]:
    """Name the columns of an answer."""
    return ["output"] if n_outputs == 1 else [f"output_{k}" for k in range(n_outputs)]


def _is_row(line: str) -> bool:
    return all(_is_number(field) for field in line.split(","))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return _NOT_NUMBERS.search(field) is None


def _require_finite(matrix: Matrix) -> None:
    is_finite = np.isfinite(matrix)
    if not is_finite.all():
        i, j = (int(k) for k in np.argwhere(~is_finite)[0])
        refuse(f"/{i}/{j}", "must be finite")
