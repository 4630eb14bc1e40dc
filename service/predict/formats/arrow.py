"""Instances and outputs as Arrow IPC streams: read without a step that costs more than the body is long.

pyarrow reads streams of those it trusts: a schema of 180 kB whose fields share one long name takes it 2 GB. So only
what a table of numbers can have is read here, each offset compared with what is there, and nothing copied before.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.http.parsing import check_n_instances, pointer_to, refuse
from service.predict.formats.arrow_header import Header, read_header
from service.predict.formats.tables import Matrix, in_order, output_names
from service.settings import Limits

ARROW = "application/vnd.apache.arrow.stream"

_CONTINUATION = b"\xff\xff\xff\xff"
_V4, _V5 = 3, 4
_SCHEMA, _RECORD_BATCH = 1, 3
_INT, _FLOATING_POINT = 2, 3
_FLOAT_SIZES = (2, 4, 8)
_INT_SIZES = {8: 1, 16: 2, 32: 4, 64: 8}
_OTHER_TYPES = {1: "null", 4: "binary", 5: "text", 6: "bool", 7: "decimal", 8: "date", 9: "time", 10: "timestamp"}

_MAX_COLUMNS = 100_000
_MAX_NAME_BYTES = 512
"""A feature's name has at most 128 characters."""
_MAX_MESSAGES = 10_000
"""Each costs some 0.1 ms, however little is in it."""

_MAX_EXACT = 2**53 - 1


@dataclass(frozen=True)
class ArrowTable:
    """What a stream holds."""

    matrix: Matrix
    names: tuple[str, ...]

    def in_order(self, features: Sequence[str]) -> Matrix:
        """Return the columns in the order of a model's features: by name, as those of CSV.

        By position if they have no names, or those by which a data frame counts its columns: 0, 1, 2, ...
        """
        is_counted = all(name == str(j) for j, name in enumerate(self.names)) and set(self.names) != set(features)
        return in_order(self.matrix, None if is_counted or not any(self.names) else self.names, features)


class _Column(NamedTuple):
    name: str
    dtype: np.dtype[Any]


class _Batch(NamedTuple):
    n_rows: int
    buffers: NDArray[np.int64]
    """(n_columns, 4): where in the body of the request a column's bitmap begins, its length; the same of its values"""


class _Message(NamedTuple):
    kind: int
    header: Header
    start: int
    """Of what belongs to the message, in the body of the request."""
    n_bytes: int


def read_arrow(body: bytes, limits: Limits) -> ArrowTable:
    """Read a stream of uncompressed batches whose columns are all numbers of a fixed width, none of them null.

    Raises:
        InvalidRequestError: it is something else; nothing that it announces is allocated before that is certain.
    """
    try:
        columns, batches = _read_headers(body, limits)
    # What `struct`, NumPy and flatbuffers raise when an offset leads out of the bytes, or a number is none.
    except (struct.error, ValueError, TypeError, IndexError, OverflowError) as error:
        refuse("", f"is no Arrow IPC stream: {error}")
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
            with np.errstate(invalid="ignore"):  # a signalling NaN, which is refused below
                matrix[first : first + n_rows, j] = values
        first += n_rows
    _require(np.isfinite(matrix), "must be finite")
    whole = [j for j, column in enumerate(columns) if column.dtype.kind != "f" and column.dtype.itemsize == 8]
    if whole:
        _require(np.abs(matrix[:, whole]) <= _MAX_EXACT, "must be exact as a 64-bit float", whole)
    return ArrowTable(matrix, tuple(column.name for column in columns))


def write_arrow(outputs: NDArray[Any], predictions: Sequence[Any] | None) -> bytes:
    """Write a column for each output, and one of what they stand for, if that is one value."""
    import pyarrow as pa  # 0.2 s and some 40 MB, which a process that is never asked for it does not pay

    columns = {name: pa.array(outputs[:, k]) for k, name in enumerate(output_names(outputs.shape[1]))}
    if predictions is not None:
        columns["prediction"] = pa.array(predictions)
    batch = pa.record_batch(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def _read_headers(body: bytes, limits: Limits) -> tuple[list[_Column], list[_Batch]]:
    messages = _messages(body)
    first = next(messages, None)
    if first is None or first.kind != _SCHEMA:
        refuse("", "is no Arrow IPC stream: it does not begin with a schema")
    columns = _columns(first.header)
    sizes = np.array([column.dtype.itemsize for column in columns])
    batches: list[_Batch] = []
    n_instances = 0
    for message in messages:
        if message.kind != _RECORD_BATCH:
            refuse("", "must have record batches alone after its schema")
        batch = _batch(message, sizes, limits)
        if batch is not None:
            n_instances += batch.n_rows
            check_n_instances(n_instances, "", limits)
            batches.append(batch)
    check_n_instances(n_instances, "", limits)
    return columns, batches


def _messages(body: bytes) -> Iterator[_Message]:
    at = 0
    for _ in range(_MAX_MESSAGES):
        if at == len(body):
            return  # a stream may end without its mark
        if body[at : at + 4] != _CONTINUATION or len(body) < at + 8:
            refuse("", f"is no Arrow IPC stream: no message begins at byte {at}")
        n_bytes = int.from_bytes(body[at + 4 : at + 8], "little", signed=True)
        at += 8
        if n_bytes == 0:
            if at != len(body):
                refuse("", f"ends at byte {at}, and has {len(body) - at} more")
            return
        if not 0 < n_bytes <= len(body) - at:
            refuse("", f"announces a message of {n_bytes} bytes, and has {len(body) - at}")
        message = read_header(body[at : at + n_bytes])
        at += n_bytes
        version, kind, body_length = message.number(0, "h"), message.number(1, "B"), message.number(3, "q")
        if version not in (_V4, _V5):
            refuse("", f"must have messages of version V4 or V5 of the format, not {version}")
        if not 0 <= body_length <= len(body) - at:
            refuse("", f"announces a message body of {body_length} bytes, and has {len(body) - at}")
        header = message.table(2)
        if header is None:
            refuse("", "is no Arrow IPC stream: a message has no header")
        yield _Message(kind, header, at, body_length)
        at += body_length
    refuse("", f"must have less than {_MAX_MESSAGES} messages: send larger batches")


def _columns(schema: Header) -> list[_Column]:
    n_columns = schema.length(1)
    if not 1 <= n_columns <= _MAX_COLUMNS:
        refuse("", f"must have 1 to {_MAX_COLUMNS} columns, not {n_columns}")
    order = ">" if schema.number(0, "h") else "<"
    return [_column(field, order) for field in schema.tables(1)]


def _column(field: Header, order: str) -> _Column:
    if (n_bytes := field.length(0)) > _MAX_NAME_BYTES:
        refuse("", f"must have names of columns of at most {_MAX_NAME_BYTES} bytes, not {n_bytes}")
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
        refuse(pointer, f"must be a column of whole or floating-point numbers of up to 64 bits, not {actual}")
    return _Column(name, np.dtype(f"{order}{letter}{size}"))


def _batch(message: _Message, sizes: NDArray[np.int64], limits: Limits) -> _Batch | None:
    """Return a batch whose bytes are there; None: it is empty."""
    header = message.header
    if header.table(3) is not None:
        refuse("", "must not be compressed: write it without compression")
    n_rows = header.number(0, "q")
    if n_rows == 0:
        return None
    check_n_instances(n_rows, "", limits)
    # Columns that share their bytes would be many more numbers than the body has.
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


def _require(is_good: NDArray[np.bool_], what: str, columns: Sequence[int] | None = None) -> None:
    if not is_good.all():
        i, j = (int(k) for k in np.argwhere(~is_good)[0])
        refuse(f"/{i}/{j if columns is None else columns[j]}", what)
