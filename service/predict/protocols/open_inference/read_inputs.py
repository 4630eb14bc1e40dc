"""The inputs of an infer request: one matrix of features or, for a model of a table, a tensor for each column."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from service.http.errors import BadRequestError, Fault, WrongDimensionError
from service.http.parsing import check_n_instances, json_type, refuse
from service.predict.columns.codes import Cells
from service.predict.columns.table import as_instances, match_names
from service.predict.formats.format import of_matrix
from service.predict.formats.tensors import INPUT_TYPES, from_bytes, from_json, texts_from_bytes
from service.predict.inputs import InputColumn, Inputs
from service.predict.instances import Instances, Matrix
from service.settings import Limits

INPUT = "input"
HEADER_LENGTH = "Inference-Header-Content-Length"

_DATATYPES = {
    "numeric": (*INPUT_TYPES,),
    "boolean": ("BOOL", "BYTES"),
    "categorical": ("BYTES", "BOOL", *INPUT_TYPES),
}
"""What a tensor of a column of each kind may have; the first is the one that metadata names."""


class Input(msgspec.Struct):
    """One input, as the body has it."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: Any = msgspec.UNSET


def datatype_of(kind: str) -> str:
    """Return the datatype that metadata names for a column of this kind."""
    return _DATATYPES[kind][0]


def read_inputs(given: Sequence[Input], buffers: memoryview, inputs: Inputs, limits: Limits) -> Instances:
    """Read the inputs of a request.

    Args:
        buffers: the binary values, in the order of the inputs that have some.

    Raises:
        BadRequestError, InvalidRequestError, WrongDimensionError: they do not fit the version.
    """
    is_matrix = len(given) == 1 and given[0].name == INPUT and (inputs.encoder is None or INPUT not in inputs.names)
    if is_matrix:
        (tensor,) = given
        return of_matrix(_features(tensor, buffers, inputs, limits), inputs, "/inputs/0", is_by_row=False)
    if inputs.encoder is None:
        names = ", ".join(repr(each.name[:128]) for each in given[:3]) or "none"
        refuse("/inputs", f"the model has one input, {INPUT!r}, and got {names}")
    order, extra = match_names([each.name for each in given], inputs, "/inputs", lambda k: f"/inputs/{k}")
    parts = list(_parts(given, buffers))
    n_instances = given[order[0]].shape[0] if given[order[0]].shape else 0
    columns = []
    for k, column in zip(order, inputs.columns, strict=True):
        tensor = given[k]
        if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
            detail = f"input {tensor.name[:128]!r}: expected [-1] or [-1, 1], got {_shown(tensor.shape)}"
            raise WrongDimensionError([Fault(f"/inputs/{k}/shape", detail)])
        check_n_instances(tensor.shape[0], f"/inputs/{k}/shape/0", limits)
        if tensor.shape[0] != n_instances:
            first = given[order[0]].name[:128]
            refuse(f"/inputs/{k}/shape/0", f"expected {n_instances} as for {first!r}, got {tensor.shape[0]}")
        columns.append(_column(tensor, parts[k], column, f"/inputs/{k}"))
    return as_instances(columns, inputs, "/inputs", is_by_row=False, extra=extra)


def _parts(given: Sequence[Input], buffers: memoryview) -> Iterator[memoryview | None]:
    """Yield the binary values of each input; None if it has none."""
    at = 0
    for k, tensor in enumerate(given):
        pointer, parameters = f"/inputs/{k}", tensor.parameters or {}
        size = parameters.get("binary_data_size")
        if size is None:
            if "shared_memory_region" in parameters:
                raise BadRequestError("shared memory is not supported")
            if tensor.data is msgspec.UNSET:
                refuse(pointer, f"input {tensor.name[:128]!r} has neither data nor a binary_data_size")
            yield None
            continue
        size_pointer = f"{pointer}/parameters/binary_data_size"
        if tensor.data is not msgspec.UNSET:
            refuse(size_pointer, "give the values as data or in binary, not both")
        if type(size) is not int or not 0 <= size <= len(buffers) - at:
            left = f"at most the {len(buffers) - at} bytes left after the JSON"
            refuse(size_pointer, f"must be a number of bytes, {left} (see {HEADER_LENGTH})")
        yield buffers[at : at + size]
        at += size
    if at != len(buffers):
        refuse(f"/{HEADER_LENGTH}", f"{len(buffers) - at} bytes follow the JSON that belong to no input")


def _column(tensor: Input, part: memoryview | None, column: InputColumn, pointer: str) -> Cells:
    n_instances = tensor.shape[0]
    if tensor.datatype not in _DATATYPES[column.kind]:
        expected = ", ".join(_DATATYPES[column.kind])
        detail = f"input {tensor.name[:128]!r}: expected one of {expected}, got {tensor.datatype[:32]!r}"
        refuse(f"{pointer}/datatype", detail)
    if part is None:
        return _column_in_json(tensor, n_instances, f"{pointer}/data")
    if tensor.datatype == "BYTES":
        return Cells(texts_from_bytes(part, n_instances, pointer), lambda _: pointer)
    if tensor.datatype == "BOOL":
        flags = np.frombuffer(part, np.uint8)
        if len(flags) != n_instances:
            refuse(f"{pointer}/parameters/binary_data_size", f"must be {n_instances} for BOOL, not {len(flags)}")
        if (flags > 1).any():
            refuse(pointer, f"the value at {int((flags > 1).argmax())} of BOOL must be 0 or 1")
        return Cells((flags == 1).tolist(), lambda _: pointer)
    return Cells(from_bytes(part, tensor.datatype, (n_instances, 1), pointer)[:, 0], lambda _: pointer)


def _column_in_json(tensor: Input, n_instances: int, pointer: str) -> Cells:
    data = tensor.data
    if type(data) is not list:
        refuse(pointer, f"must be an array, not {json_type(data)}")
    if len(data) != n_instances:
        expected = f"expected {n_instances} values for the shape {_shown(tensor.shape)}, got {len(data)}"
        raise WrongDimensionError([Fault(pointer, expected)])
    end = ""
    if type(data[0]) is list:
        wrong = next((i for i, row in enumerate(data) if type(row) is not list or len(row) != 1), None)
        if wrong is not None:
            refuse(f"{pointer}/{wrong}", "must be an array with one value, like the first one")
        data, end = [value for (value,) in data], "/0"
    if tensor.datatype in INPUT_TYPES:
        is_missing = np.array([value is None for value in data])
        numbers = from_json(
            [0 if value is None else value for value in data], tensor.datatype, (n_instances, 1), pointer
        )
        numbers[is_missing] = np.nan
        return Cells(numbers[:, 0], lambda i: f"{pointer}/{i}{end}")
    return Cells(data, lambda i: f"{pointer}/{i}{end}")


def _features(tensor: Input, buffers: memoryview, inputs: Inputs, limits: Limits) -> Matrix:
    pointer = "/inputs/0"
    n_features = len(inputs.names) if inputs.encoder is None else inputs.encoder.n_features
    if inputs.has_only_numbers and tensor.shape[1:] == [len(inputs.names)]:
        n_features = len(inputs.names)
    if tensor.datatype not in INPUT_TYPES:
        expected = f"FP64 or FP32, or one of {', '.join(list(INPUT_TYPES)[2:])}"
        refuse(f"{pointer}/datatype", f"input {INPUT!r}: expected {expected}, got {tensor.datatype[:32]!r}")
    if len(tensor.shape) != 2 or tensor.shape[1] != n_features:
        detail = f"input {INPUT!r}: expected [-1, {n_features}], got {_shown(tensor.shape)}"
        raise WrongDimensionError([Fault(f"{pointer}/shape", detail)])
    n_instances = tensor.shape[0]
    check_n_instances(n_instances, f"{pointer}/shape/0", limits)
    shape, parameters = (n_instances, n_features), tensor.parameters or {}
    size = parameters.get("binary_data_size")
    if size is None:
        if "shared_memory_region" in parameters:
            raise BadRequestError("shared memory is not supported")
        if tensor.data is msgspec.UNSET:
            refuse(pointer, f"input {INPUT!r} has neither data nor a binary_data_size")
        if len(buffers):
            refuse(f"/{HEADER_LENGTH}", f"{len(buffers)} bytes follow the JSON that belong to no input")
        return from_json(tensor.data, tensor.datatype, shape, f"{pointer}/data")
    size_pointer = f"{pointer}/parameters/binary_data_size"
    if tensor.data is not msgspec.UNSET:
        refuse(size_pointer, "give the values as data or in binary, not both")
    if type(size) is not int or size != len(buffers):
        refuse(size_pointer, f"must be the number of bytes after the JSON, {len(buffers)} (see {HEADER_LENGTH})")
    return from_bytes(buffers, tensor.datatype, shape, pointer)


def _shown(shape: list[int]) -> str:
    """Write a shape for an error, cut short if it is long."""
    sizes = [str(size) if -(10**18) < size < 10**18 else "..." for size in shape[:8]]
    return f"[{', '.join(sizes)}{', ...' if len(shape) > 8 else ''}]"
