"""Tensors of the Open Inference Protocol: their datatypes, and their values in JSON and in binary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron import Task
from service.http.errors import Fault, WrongDimensionError
from service.http.parsing import json_type, parse_matrix, parse_vector, refuse

INPUT_TYPES: Mapping[str, np.dtype[Any]] = MappingProxyType(
    {
        name: np.dtype(code)
        for name, code in (
            *(("FP64", "<f8"), ("FP32", "<f4")),
            *((f"INT{8 * size}", f"<i{size}") for size in (1, 2, 4, 8)),
            *((f"UINT{8 * size}", f"<u{size}") for size in (1, 2, 4, 8)),
        )
    }
)

_MAX_EXACT = 2**53 - 1
"""The largest integer up to which every integer has a 64-bit float of its own."""


def from_json(data: Any, datatype: str, shape: tuple[int, int], pointer: str) -> NDArray[np.float64]:
    """Return nested or flat row-major JSON numbers as a matrix (n_instances, n_features).

    Raises:
        InvalidRequestError, WrongDimensionError: the numbers do not have this shape or datatype, or one is not finite.
    """
    n_instances, n_features = shape
    if type(data) is not list:
        refuse(pointer, f"must be an array, not {json_type(data)}")
    if data and type(data[0]) is list:
        if len(data) != n_instances:
            _refuse_size(pointer, shape, f"{len(data)} rows")
        matrix = parse_matrix(data, pointer, n_columns=n_features)
    else:
        if len(data) != n_instances * n_features:
            _refuse_size(pointer, shape, f"{len(data)} values")
        matrix = parse_vector(data, pointer).reshape(shape)
    dtype = INPUT_TYPES[datatype]
    if dtype.kind == "f":
        return matrix if dtype.itemsize == 8 else _in_single_precision(matrix, pointer)
    limits = np.iinfo(dtype)
    low, high = max(int(limits.min), -_MAX_EXACT), min(int(limits.max), _MAX_EXACT)
    _require(
        (matrix == np.trunc(matrix)) & (matrix >= low) & (matrix <= high),
        pointer,
        f"of {datatype} must be a whole number from {low} to {high}",
    )
    return matrix


def from_bytes(buffer: memoryview, datatype: str, shape: tuple[int, int], pointer: str) -> NDArray[np.float64]:
    """Return little-endian row-major values as a matrix (n_instances, n_features).

    Raises:
        InvalidRequestError: the size does not fit the shape, or a value is not finite or not exact as a 64-bit float.
    """
    dtype = INPUT_TYPES[datatype]
    if len(buffer) != shape[0] * shape[1] * dtype.itemsize:
        expected = f"{shape[0] * shape[1] * dtype.itemsize} bytes for {datatype} {list(shape)}"
        refuse(f"{pointer}/parameters/binary_data_size", f"must be {expected}, not {len(buffer)}")
    values = np.frombuffer(buffer, dtype).reshape(shape)
    if dtype.kind != "f":
        if dtype.itemsize == 8:
            _require((values <= _MAX_EXACT) & (values >= -_MAX_EXACT), pointer, "must be exact as a 64-bit float")
        return values.astype(np.float64)
    matrix = values.astype(np.float64)  # a copy even of FP64, whose bytes may be unaligned
    _require(np.isfinite(matrix), pointer, "must be finite")
    return matrix


def texts_from_bytes(buffer: memoryview, n_values: int, pointer: str) -> list[str]:
    """Return the texts of BYTES, before each of which comes its length as 32 bits.

    Raises:
        InvalidRequestError: they are not that many, or one is not UTF-8.
    """
    texts, at = [], 0
    for k in range(n_values):
        end = at + 4 + int.from_bytes(buffer[at : at + 4], "little")
        if len(buffer) < at + 4 or len(buffer) < end:
            refuse(f"{pointer}/parameters/binary_data_size", f"must hold {n_values} texts, and ends within text {k}")
        try:
            texts.append(str(buffer[at + 4 : end], "utf-8"))
        except UnicodeDecodeError as error:
            refuse(pointer, f"the text at {k} must be UTF-8: {error}")
        at = end
    if at != len(buffer):
        refuse(f"{pointer}/parameters/binary_data_size", f"must be {at} for these {n_values} texts, not {len(buffer)}")
    return texts


def _in_single_precision(matrix: NDArray[np.float64], pointer: str) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        rounded = matrix.astype(np.float32)
    _require(np.isfinite(rounded), pointer, "must be finite: it is larger than a 32-bit float can hold")
    return rounded.astype(np.float64)


def _require(is_good: NDArray[np.bool_], pointer: str, what: str) -> None:
    if not is_good.all():
        row, column = np.unravel_index(int(is_good.argmin()), is_good.shape)
        refuse(pointer, f"the value at [{row}, {column}] {what}")


def _refuse_size(pointer: str, shape: tuple[int, int], actual: str) -> None:
    n_instances, n_features = shape
    expected = f"{n_instances * n_features} values, or {n_instances} rows, for the shape {list(shape)}"
    raise WrongDimensionError([Fault(pointer, f"expected {expected}, got {actual}")])


@dataclass(frozen=True)
class Tensor:
    """One output."""

    datatype: str
    values: NDArray[Any]
    """(n_instances,) or (n_instances, k); for BYTES the indices of the classes."""
    names: tuple[str, ...] = ()
    """For BYTES: the names of the classes."""

    def in_json(self) -> Any:
        """Return the values flat, row-major."""
        if self.datatype == "BYTES":
            return [self.names[index] for index in self.values.tolist()]
        return self.values.ravel()

    def in_binary(self) -> bytes:
        """Return the values little-endian, row-major; before each value of BYTES comes its length."""
        if self.datatype == "BYTES":
            texts = _length_prefixed(self.names)
            return b"".join([texts[index] for index in self.values.tolist()])
        return self.values.tobytes()


def datatype_of_prediction(task: Task) -> str:
    """Return BYTES for classes with names, INT64 for classes that are numbers, and FP64 for values."""
    if task.classes is None:
        return "FP64"
    return "BYTES" if isinstance(task.classes[0], str) else "INT64"


def prediction(task: Task, outputs: NDArray[np.float64]) -> Tensor:
    """Return what each row of outputs stands for, as `perceptron.predictions`."""
    datatype = datatype_of_prediction(task)
    if task.classes is None:
        return Tensor(datatype, outputs if task.is_list else outputs[:, 0])
    indices = task.class_indices(outputs)
    if datatype == "BYTES":
        return Tensor(datatype, indices, task.classes)  # type: ignore[arg-type]  # they are names
    return Tensor(datatype, np.array(task.classes, dtype=np.int64)[indices])


@lru_cache(maxsize=256)
def _length_prefixed(names: Sequence[str]) -> tuple[bytes, ...]:
    texts = [name.encode() for name in names]
    return tuple(len(text).to_bytes(4, "little") + text for text in texts)
