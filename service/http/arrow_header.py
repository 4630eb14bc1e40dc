"""The messages of an Arrow stream and their headers: flatbuffers, read one member at a time.

An offset out of bounds raises an error of `struct` or NumPy. Nothing is copied before that.
"""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from flatbuffers.table import Table
from numpy.typing import NDArray

from service.http.parsing import refuse

SCHEMA, DICTIONARY_BATCH, RECORD_BATCH = 1, 2, 3
"""Kinds of messages."""

MAX_NAME_BYTES = 512
"""A feature's name has at most 128 characters."""

_CONTINUATION = b"\xff\xff\xff\xff"
_V4, _V5 = 3, 4

_MAX_MESSAGES = 10_000
"""Each takes about 0.1 ms even if it is empty."""


class Header:
    """One table of a flatbuffer. A member is named by its position in the schema of the format (Message.fbs)."""

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._table = Table(content, position)

    def number(self, member: int, code: str) -> int:
        """Return a number, 0 if it is left out.

        Args:
            code: its type, as a character of `struct`.
        """
        at = self._place_of(member)
        return 0 if at is None else int(struct.unpack_from("<" + code, self._content, at)[0])

    def table(self, member: int) -> "Header | None":
        """Return a nested table, None if it is left out."""
        at = self._place_of(member)
        return None if at is None else Header(self._content, self._table.Indirect(at))

    def length(self, member: int) -> int:
        """Return the number of elements of a vector, or of bytes of a text; 0 if it is left out."""
        at = self._place_of(member)
        return 0 if at is None else int(struct.unpack_from("<I", self._content, self._table.Indirect(at))[0])

    def text(self, member: int) -> str:
        """Return a text, empty if it is left out. Check its `length` first: many members may share one long text."""
        at = self._place_of(member)
        return "" if at is None else bytes(self._table.String(at)).decode()

    def tables(self, member: int) -> Iterator["Header"]:
        """Yield the tables of a vector."""
        at = self._place_of(member)
        if at is not None:
            first = self._table.Indirect(at) + 4
            for k in range(self.length(member)):
                yield Header(self._content, self._table.Indirect(first + 4 * k))

    def longs(self, member: int, n_columns: int) -> NDArray[np.int64]:
        """Return a vector of structs of `n_columns` 64-bit integers each, (n, n_columns), without a copy."""
        at, n = self._place_of(member), self.length(member)
        if at is None or n == 0:
            return np.empty((0, n_columns), np.int64)
        first = self._table.Indirect(at) + 4
        return np.frombuffer(self._content, "<i8", n * n_columns, first).reshape(n, n_columns)

    def _place_of(self, member: int) -> int | None:
        offset: Any = self._table.Offset(4 + 2 * member)
        return self._table.Pos + offset if offset else None


class Message(NamedTuple):
    """One message of a stream."""

    kind: int
    header: Header
    start: int
    """Where the body of the message starts in the body of the request."""
    n_bytes: int
    n_metadata: int
    """The number of its own texts."""


def messages(body: bytes) -> Iterator[Message]:
    """Yield the messages of a stream.

    Raises:
        InvalidRequestError: the body is not such a stream.
    """
    at = 0
    for _ in range(_MAX_MESSAGES):
        if at == len(body):
            return  # a stream may end without the end-of-stream mark
        if body[at : at + 4] != _CONTINUATION or len(body) < at + 8:
            refuse("", f"is not an Arrow IPC stream: no message begins at byte {at}")
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
            refuse("", "is not an Arrow IPC stream: a message has no header")
        yield Message(kind, header, at, body_length, message.length(4))
        at += body_length
    refuse("", f"must have fewer than {_MAX_MESSAGES} messages: send larger batches")


def read_header(content: bytes) -> Header:
    """Return the table at the root."""
    return Header(content, int(struct.unpack_from("<I", content)[0]))
