"""The instances of one request, whatever format they came in."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Matrix: TypeAlias = NDArray[np.float64]

Rows: TypeAlias = Matrix | list[list[float]]
"""Features or outputs of all instances. Lists for one instance: there a matrix costs more than the network."""


@dataclass(slots=True)  # frozen would take half a microsecond of each request
class Instances:
    """Features in the order of the model's, all finite, and where they are in the body."""

    features: Rows
    """(n_instances, n_features)"""
    pointer: str
    is_by_row: bool = True
    """Whether instance i is at `{pointer}/{i}`; otherwise `pointer` is the best place to name."""

    def pointer_to(self, index: int) -> str:
        """Return the JSON pointer to one instance."""
        return f"{self.pointer}/{index}" if self.is_by_row else self.pointer

    @property
    def pointer_to_size(self) -> str:
        """Return the JSON pointer to what says how many instances there are."""
        return self.pointer


def as_matrix(rows: Rows) -> Matrix:
    """Return the rows as a matrix, without a copy if they are one."""
    return np.asarray(rows)
