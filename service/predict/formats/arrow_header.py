"""The header of an Arrow message: a flatbuffer, read one member at a time.

An offset that leads out of it raises what `struct` and NumPy raise, and copies nothing.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from flatbuffers.table import Table
from numpy.typing import NDArray


class Header:
    """One table of a flatbuffer. Its members have numbers, by their order in the format's schema (Message.fbs)."""

    def __init__(self, content: bytes, position: int) -> None:
        self._content = content
        self._table = Table(content, position)

    def number(self, member: int, code: str) -> int:
        """Return a number, 0 if it is left out.

        Args:
            code: how `struct` names its type.
        """
        at = self._place_of(member)
        return 0 if at is None else int(struct.unpack_from("<" + code, self._content, at)[0])

    def table(self, member: int) -> "Header | None":
        """Return a table inside this one, if it is there."""
        at = self._place_of(member)
        return None if at is None else Header(self._content, self._table.Indirect(at))

    def length(self, member: int) -> int:
        """Return how many elements a vector has, or bytes a text; 0 if it is left out."""
        at = self._place_of(member)
        return 0 if at is None else int(struct.unpack_from("<I", self._content, self._table.Indirect(at))[0])

    def text(self, member: int) -> str:
        """Return a text, empty if it is left out. Ask for its length first: many may share one."""
        at = self._place_of(member)
        return "" if at is None else bytes(self._table.String(at)).decode()

    def tables(self, member: int) -> Iterator["Header"]:
        """Give the tables of a vector."""
        at = self._place_of(member)
        if at is not None:
            first = self._table.Indirect(at) + 4
            for k in range(self.length(member)):
                yield Header(self._content, self._table.Indirect(first + 4 * k))

    def longs(self, member: int, n_columns: int) -> NDArray[np.int64]:
        """Return a vector of structs of so many 64-bit numbers, (n, n_columns), without a copy."""
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
