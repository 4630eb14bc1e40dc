"""What the messages of an Arrow stream announce, checked before pyarrow, which trusts it, reads them.

pyarrow takes 2 GB for a schema of 180 kB whose fields share one long name, and for a few compressed bytes that say
that they are 2 GB.
"""

import os
import struct
from typing import IO

from service.datasets.reading.limits import TableLimits
from service.datasets.reading.sources.content import check_bytes, check_columns, check_rows
from service.http.arrow_header import Header, read_header
from service.http.errors import TableError

_CONTINUATION = b"\xff\xff\xff\xff"
_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3
_MAX_HEADER_BYTES = 64 * 2**20
_MAX_NAME_BYTES = 16 * 2**20
"""of all fields together"""
_MAX_MESSAGES = 1_000_000


def check_messages(file: IO[bytes], limits: TableLimits) -> None:
    """Check all messages of a stream, without reading their bodies.

    Raises:
        TableError: it is no stream, is cut off, or announces more than the limits allow.
    """
    try:
        _check_messages(file, limits)
    # What `struct`, NumPy and flatbuffers raise for an offset out of bounds or an invalid number.
    except (struct.error, ValueError, TypeError, IndexError, OverflowError) as error:
        raise TableError("damaged_file", f"the Arrow stream is damaged, or no such stream: {error}"[:300]) from error


def _check_messages(file: IO[bytes], limits: TableLimits) -> None:
    size = os.fstat(file.fileno()).st_size
    n_rows = n_bytes = 0
    for i in range(_MAX_MESSAGES):
        prefix = file.read(8)
        if not prefix and i:
            return  # a stream may end without its mark
        if len(prefix) < 8 and prefix.startswith(_CONTINUATION[: len(prefix)]):
            raise _cut_off()
        n_header = int.from_bytes(prefix[4:], "little", signed=True)
        if prefix[:4] != _CONTINUATION or not 0 <= n_header <= _MAX_HEADER_BYTES:
            raise ValueError(f"no message begins at byte {file.tell() - len(prefix)}")
        if n_header == 0 and i:
            return
        header = file.read(n_header)
        if len(header) < n_header:
            raise _cut_off()
        message = read_header(header)
        kind, content, n_body = message.number(1, "B"), message.table(2), message.number(3, "q")
        if content is None or (kind == _SCHEMA) != (i == 0):
            raise ValueError("it does not begin with its schema")
        start = file.tell()
        if not 0 <= n_body <= size - start:
            raise _cut_off()
        if kind == _SCHEMA:
            _check_fields(content, limits)
        elif kind in (_DICTIONARY_BATCH, _RECORD_BATCH):
            batch = content if kind == _RECORD_BATCH else content.table(1)
            if batch is not None:
                n_rows += batch.number(0, "q") if kind == _RECORD_BATCH else 0
                n_bytes += _expanded_bytes(file, start, n_body, batch)
            check_rows(n_rows, limits)
            check_bytes(n_bytes, limits)
        file.seek(start + n_body)
    raise ValueError(f"it has more than {_MAX_MESSAGES} messages")


def _check_fields(schema: Header, limits: TableLimits) -> None:
    """Check how many fields there are, nested ones included, and how long their names are together."""
    check_columns(schema.length(1), limits)
    n_fields = n_name_bytes = 0
    waiting = list(schema.tables(1))
    while waiting:
        field = waiting.pop()
        n_fields += 1
        n_name_bytes += field.length(0)
        check_columns(n_fields, limits)
        if n_name_bytes > _MAX_NAME_BYTES:
            raise ValueError(f"its names have more than {_MAX_NAME_BYTES} bytes")
        waiting += field.tables(5)


def _expanded_bytes(file: IO[bytes], start: int, n_body: int, batch: Header) -> int:
    """Give how many bytes the buffers of a batch have when they are uncompressed."""
    if batch.table(3) is None:
        return n_body
    total = 0
    for offset, length in batch.longs(2, 2).tolist():
        if length <= 0:
            continue
        if not 0 <= offset <= n_body - length:
            raise ValueError("a buffer is outside of its message")
        file.seek(start + offset)
        n_expanded = int.from_bytes(file.read(8), "little", signed=True)
        if n_expanded < -1:
            raise ValueError("a buffer has a negative length")
        total += length if n_expanded == -1 else n_expanded  # -1: it is as it is
    return total


def _cut_off() -> TableError:
    return TableError("truncated", "the Arrow stream is cut off within a message")
