"""What every kind of file gives: columns in blocks of rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from storage.datasets.schema import TableWarning

Kind: TypeAlias = Literal["cells", "text", "number", "boolean", "date"]
"""What the file says of a column: `cells` is text that may stand for anything, `text` is never a number, `date` comes
as text."""

Array: TypeAlias = Any
"""An array of pyarrow, which has no types: of strings or a dictionary of them for `cells`, `text` and `date`, of
booleans, or of integers or floats for `number`."""


@dataclass(frozen=True)
class Mixture:
    """A column of JSON that has numbers and something else."""

    n_numbers: int
    first_row: int
    """the first one that has no number"""
    first_value: str


@dataclass(frozen=True)
class Block:
    """Some rows: one array for each column, all of `n_rows`."""

    columns: Sequence[Array]
    n_rows: int
    line_of: Callable[[int], int] | None = None
    """Gives the line of the file for a row, from 0, of this block; None: the file has no lines."""


@dataclass(frozen=True)
class Heading:
    """What is known of a table before its rows are read."""

    names: tuple[str, ...]
    """Without blanks around them. Only columns of delimited text may have an empty name."""
    kinds: tuple[Kind, ...]
    warnings: tuple[TableWarning, ...] = ()
    delimiter: str | None = None
    has_extra_field: bool = False
    """whether the last column is only the delimiter at the end of each line"""
    mixtures: Mapping[int, Mixture] = field(default_factory=dict)
    """by the number of the column"""


class Source(Protocol):
    """A file that is a table."""

    @property
    def heading(self) -> Heading:
        """Names, kinds and warnings."""
        ...

    def blocks(self) -> Iterator[Block]:
        """Read all rows from the first one.

        Raises:
            TableError: the file is damaged, is no table, or is beyond a limit.
        """
        ...
