"""Arrow IPC streams. Tables of numbers are read here and not by pyarrow, which trusts its input.

pyarrow takes 2 GB for a schema of 180 kB whose fields share one long name. This reader takes only tables of numbers,
checks each offset against the length of the body, and copies nothing before. Models that were trained on columns of
other types leave the values to pyarrow: see `arrow_typed.py`.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.http.arrow_header import MAX_NAME_BYTES, RECORD_BATCH, SCHEMA, Header, Message, messages
from service.http.parsing import check_n_instances, pointer_to, refuse
from service.predict.formats.arrow_typed import read_typed
from service.predict.formats.format import Format, in_order, output_names, require_finite
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix
from service.settings import Limits

_INT, _FLOATING_POINT = 2, 3
_FLOAT_SIZES = (2, 4, 8)
_INT_SIZES = {8: 1, 16: 2, 32: 4, 64: 8}
_OTHER_TYPES = {1: "null", 4: "binary", 5: "text", 6: "bool", 7: "decimal", 8: "date", 9: "time", 10: "timestamp"}

_MAX_COLUMNS = 100_000
_MAX_EXACT = 2**53 - 1


class _Column(NamedTuple):
    name: str
    dtype: np.dtype[Any]


class _Batch(NamedTuple):
    n_rows: int
    buffers: NDArray[np.int64]
    """(n_columns, 4): for each column the start, in the body of the request, and the length of its bitmap and values"""


def read(body: bytes, inputs: Inputs, limits: Limits, _parameters: Mapping[str, str]) -> Instances:
    """Read a stream whose columns are in any order, matched by name as in CSV.

    Columns without names, and the names that a data frame gives by itself (0, 1, 2, ...), are in the features' order.

    Raises:
        InvalidRequestError, WrongDimensionError: the body is not a stream of columns for this model.
    """
    if inputs.encoder is not None:
        return read_typed(body, inputs, limits)
    names = inputs.names
    matrix, columns = read_arrow(body, limits)
    is_numbered = all(name == str(j) for j, name in enumerate(columns)) and set(columns) != set(names)
    return in_order(matrix, None if is_numbered or not any(columns) else columns, names)


def read_arrow(body: bytes, limits: Limits) -> tuple[Matrix, tuple[str, ...]]:
    """Return the numbers and the names of the columns of a stream of uncompressed batches.

    Raises:
        InvalidRequestError: the body is not such a stream, or has something else than numbers. Nothing that it
            announces is allocated before that is certain.
    """
    try:
        columns, batches = _read_headers(body, limits)
    # What `struct`, NumPy and flatbuffers raise for an offset out of bounds or an invalid number.
    except (struct.error, ValueError, TypeError, IndexError, OverflowError) as error:
        refuse("", f"is not an Arrow IPC stream: {error}")
    matrix = np.empty((sum(batch.n_rows for batch in batches), len(columns)))
    first = 0
    for n_rows, buffers in batches:
        for j, (column, (bitmap_at, n_bitmap_bytes, values_at, _)) in enumerate(
            zip(columns, buffers.tolist(), strict=True)
        ):
            if n_bitmap_bytes:
                bits = np.frombuffer(body, np.uint8, -(-n_rows // 8), bitmap_at)
                is_valid = np.unpackbits(bits, count=n_rows, bitorder="little")
                if not is_valid.all():
                    refuse(f"/{first + int(is_valid.argmin())}/{j}", f"is null in the column {column.name!r}")
            values = np.frombuffer(body, column.dtype, n_rows, values_at)
            with np.errstate(invalid="ignore"):  # a signalling NaN is refused below
                matrix[first : first + n_rows, j] = values
        first += n_rows
    require_finite(matrix)
    whole = [j for j, column in enumerate(columns) if column.dtype.kind != "f" and column.dtype.itemsize == 8]
    if whole:
        is_exact = np.abs(matrix[:, whole]) <= _MAX_EXACT
        if not is_exact.all():
            i, j = (int(k) for k in np.argwhere(~is_exact)[0])
            refuse(f"/{i}/{whole[j]}", "must be exact as a 64-bit float")
    return matrix, tuple(column.name for column in columns)


def write(outputs: Matrix, predictions: Sequence[Any] | None) -> bytes:
    """Write a column for each output, and one for the predictions."""
    import pyarrow as pa  # takes 0.2 s and about 40 MB, so a process that never writes Arrow does not load it

    columns = {name: pa.array(outputs[:, k]) for k, name in enumerate(output_names(outputs.shape[1]))}
    if predictions is not None:
        columns["prediction"] = pa.array(predictions)
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


ARROW = Format(
    "application/vnd.apache.arrow.stream",
    read,
    write,
    max_bytes_on_loop=0,  # writing may have to load pyarrow
)


def _read_headers(body: bytes, limits: Limits) -> tuple[list[_Column], list[_Batch]]:
    all_messages = messages(body)
    first = next(all_messages, None)
    if first is None or first.kind != SCHEMA:
        refuse("", "is not an Arrow IPC stream: it does not begin with a schema")
    columns = _columns(first.header)
    sizes = np.array([column.dtype.itemsize for column in columns])
    batches: list[_Batch] = []
    n_instances = 0
    for message in all_messages:
        if message.kind != RECORD_BATCH:
            refuse("", "must have only record batches after its schema")
        batch = _batch(message, sizes, limits)
        if batch is not None:
            n_instances += batch.n_rows
            check_n_instances(n_instances, "", limits)
            batches.append(batch)
    check_n_instances(n_instances, "", limits)
    return columns, batches


def _columns(schema: Header) -> list[_Column]:
    n_columns = schema.length(1)
    if not 1 <= n_columns <= _MAX_COLUMNS:
        refuse("", f"must have 1 to {_MAX_COLUMNS} columns, not {n_columns}")
    order = ">" if schema.number(0, "h") else "<"
    return [_column(field, order) for field in schema.tables(1)]


def _column(field: Header, order: str) -> _Column:
    if (n_bytes := field.length(0)) > MAX_NAME_BYTES:
        refuse("", f"must have column names of at most {MAX_NAME_BYTES} bytes, not {n_bytes}")
    name = field.text(0)
    kind, of_type = field.number(2, "B"), field.table(3)
    pointer = pointer_to([name])
    if field.table(4) is not None:
        refuse(pointer, "must be plain numbers, not dictionary-encoded")
    size = None
    if of_type is not None and field.length(5) == 0:
        if kind == _INT:
            size = _INT_SIZES.get(of_type.number(0, "i"))
            letter = "i" if of_type.number(1, "?") else "u"
        elif kind == _FLOATING_POINT:
            size, letter = _FLOAT_SIZES[of_type.number(0, "h")], "f"
    if size is None:
        actual = _OTHER_TYPES.get(kind, "another type")
        refuse(pointer, f"must be a column of integers or floats of up to 64 bits, not {actual}")
    return _Column(name, np.dtype(f"{order}{letter}{size}"))


def _batch(message: Message, sizes: NDArray[np.int64], limits: Limits) -> _Batch | None:
    """Return a batch after checking that its bytes are there; None if it is empty."""
    header = message.header
    if header.table(3) is not None:
        refuse("", "must not be compressed")
    n_rows = header.number(0, "q")
    if n_rows == 0:
        return None
    check_n_instances(n_rows, "", limits)
    # Columns that share their bytes would take many times the memory of the body.
    if n_rows * int(sizes.sum()) > message.n_bytes:
        expected = f"{n_rows} x {len(sizes)} numbers, {n_rows * int(sizes.sum())} bytes"
        refuse("", f"announces a batch of {expected}, but has {message.n_bytes}")
    nodes, buffers = header.longs(1, 2), header.longs(2, 2)
    if len(nodes) != len(sizes) or len(buffers) != 2 * len(sizes):
        refuse("", f"has {len(nodes)} nodes and {len(buffers)} buffers in a batch of {len(sizes)} columns")
    buffers = buffers.reshape(-1, 4).copy()
    n_bitmap_bytes, n_value_bytes = buffers[:, 1], buffers[:, 3]
    is_good = (
        (nodes[:, 0] == n_rows)
        & ((nodes[:, 1] == 0) | (n_bitmap_bytes > 0))
        & ((n_bitmap_bytes == 0) | (n_bitmap_bytes >= -(-n_rows // 8)))
        & (n_value_bytes >= n_rows * sizes)
        & (buffers >= 0).all(axis=1)
        & (n_bitmap_bytes <= message.n_bytes - np.minimum(buffers[:, 0], message.n_bytes))
        & (n_value_bytes <= message.n_bytes - np.minimum(buffers[:, 2], message.n_bytes))
    )
    if not is_good.all():
        refuse("", f"has a batch whose column {int(is_good.argmin())} does not fit into it")
    buffers[:, ::2] += message.start
    return _Batch(n_rows, buffers)
