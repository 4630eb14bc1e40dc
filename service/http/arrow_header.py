"""The header of an Arrow message: a flatbuffer, read one member at a time.

An offset out of bounds raises an error of `struct` or NumPy. Nothing is copied before that.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from flatbuffers.table import Table
from numpy.typing import NDArray


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


def read_header(content: bytes) -> Header:
    """Return the table at the root."""
    return Header(content, int(struct.unpack_from("<I", content)[0]))
