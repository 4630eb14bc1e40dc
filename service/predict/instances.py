"""The instances of one request, whatever format they came in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron import TableEncoder

if TYPE_CHECKING:
    from service.predict.columns.warnings import InputWarnings

Matrix: TypeAlias = NDArray[np.float64]

Rows: TypeAlias = Matrix | list[list[float]]
"""Features or outputs of all instances. Lists for one instance: there a matrix costs more than the network."""

_VALUES_PER_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class TableRows:
    """Rows of a table in the codes of an encoder.

    They become features a block at a time: 100,000 rows of a column with 1,000 categories would take 800 MB at once.
    """

    codes: Matrix
    """(n_instances, n_columns)"""
    encoder: TableEncoder

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice) -> "TableRows":
        return TableRows(self.codes[rows], self.encoder)

    def blocks(self) -> Iterator[Matrix]:
        """Yield the features of some rows at a time."""
        n_rows = max(_VALUES_PER_BLOCK // self.encoder.n_features, 1)
        for first in range(0, len(self.codes), n_rows):
            yield self.encoder.encode(self.codes[first : first + n_rows])


Features: TypeAlias = Rows | TableRows


@dataclass(slots=True)  # frozen would take half a microsecond of each request
class Instances:
    """Features in the order of the model's, all finite, and where they are in the body."""

    features: Features
    """(n_instances, n_features)"""
    pointer: str
    is_by_row: bool = True
    """Whether instance i is at `{pointer}/{i}`; otherwise `pointer` is the best place to name."""
    warnings: "InputWarnings | None" = None

    def pointer_to(self, index: int) -> str:
        """Return the JSON pointer to one instance."""
        return f"{self.pointer}/{index}" if self.is_by_row else self.pointer

    @property
    def pointer_to_size(self) -> str:
        """Return the JSON pointer to what says how many instances there are."""
        return self.pointer


def as_matrix(rows: Features) -> Matrix:
    """Return the rows as a matrix, without a copy if they are one; rows of a table as their features."""
    if isinstance(rows, TableRows):
        return rows.encoder.encode(rows.codes)
    return np.asarray(rows)
