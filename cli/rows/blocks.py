"""A block of rows, as it is sent in one request."""

from typing import Any, NamedTuple

MAX_ROWS = 50_000
"""A request may hold 100,000."""


class Block(NamedTuple):
    """Some rows of a file."""

    rows: Any
    """A record batch of Arrow, a matrix, or a list of records."""
    first_row: int
    """The number of its first row in the file, from 0."""
