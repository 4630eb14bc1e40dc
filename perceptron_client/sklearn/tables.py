"""From X, y and weights to what `POST /jobs` takes, and from X to what `POST /predict` takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from perceptron_client.bodies.frames import kind_of_frame, to_columns

INLINE_CELLS = 200_000
"""Beyond this a table is uploaded: as JSON it would take several times as many bytes."""


def has_other_than_numbers(X: Any) -> bool:
    """Tell whether X is a data frame with a column that holds neither numbers nor booleans."""
    match kind_of_frame(X):
        case "pandas":
            return any(dtype.kind not in "biuf" for dtype in X.dtypes)
        case "polars":
            return not all(dtype.is_numeric() or str(dtype) == "Boolean" for dtype in X.dtypes)
    return False


@dataclass(frozen=True, eq=False)
class Table:
    """The features of some instances: numbers, or the columns of a data frame."""

    names: tuple[str, ...]
    matrix: NDArray[np.float64] | None
    """(n_instances, n_features); a gap is NaN."""
    frame: Any = None
    """Of pandas or polars; without a matrix."""

    def __len__(self) -> int:
        return len(self.frame if self.matrix is None else self.matrix)

    @property
    def needs_columns(self) -> bool:
        """Whether the service must preprocess it: it has gaps, or other values than numbers."""
        return self.matrix is None or bool(np.isnan(self.matrix).any())

    def take(self, rows: NDArray[np.bool_]) -> Table:
        """Return the instances where `rows` is true."""
        if self.matrix is not None:
            return Table(self.names, self.matrix[rows])
        is_pandas = kind_of_frame(self.frame) == "pandas"
        return Table(self.names, None, self.frame.loc[rows] if is_pandas else self.frame.filter(rows))

    def rows(self, columns: Sequence[str] | None) -> Any:
        """Return the rows to predict for.

        Args:
            columns: those that the version takes; None: it was trained on numbers.
        """
        if columns is None:
            return self.matrix
        places = [self.names.index(name) for name in columns]
        if self.matrix is not None:
            return _with_none(self.matrix[:, places])
        return self._named_frame(places)

    def columns(self) -> dict[str, list[Any]]:
        """Return the cells of each column; a gap is None."""
        if self.matrix is not None:
            return {name: _with_none(self.matrix[:, k]) for k, name in enumerate(self.names)}
        return to_columns(self._named_frame(range(len(self.names))))

    def uploaded(self, more: Mapping[str, NDArray[Any]]) -> Any:
        """Return what to upload: the columns and some more."""
        if self.matrix is not None:
            return {**{name: self.matrix[:, k] for k, name in enumerate(self.names)}, **more}
        frame = self._named_frame(range(len(self.names)))
        if kind_of_frame(frame) == "pandas":
            return frame.assign(**more)
        import polars as pl

        return frame.with_columns(**{name: pl.Series(values) for name, values in more.items()})

    def _named_frame(self, places: Sequence[int]) -> Any:
        names = [self.names[k] for k in places]
        if kind_of_frame(self.frame) == "pandas":
            return self.frame.iloc[:, list(places)].set_axis(names, axis=1)
        return self.frame[:, list(places)]


@dataclass(frozen=True, eq=False)
class Instances:
    """What to learn from."""

    table: Table
    targets: NDArray[Any]
    """(n_instances,): numbers or names of classes; or (n_instances, n_outputs)."""
    weights: NDArray[np.float64] | None

    def counted(self) -> Instances:
        """Return them without those of weight 0."""
        if self.weights is None or self.weights.all():
            return self
        rows = self.weights > 0
        return Instances(self.table.take(rows), self.targets[rows], self.weights[rows])

    @property
    def is_large(self) -> bool:
        """Whether to upload them. Several targets cannot be: a data set has one column to learn."""
        return len(self.table) * len(self.table.names) > INLINE_CELLS and self.targets.ndim == 1

    def inline(self) -> dict[str, Any]:
        """Return the members of a request that holds them."""
        if not self.table.needs_columns:
            assert self.table.matrix is not None
            data = {
                "features": self.table.matrix,
                "feature_names": self.table.names,
                "targets": self.targets,
                "instance_weights": self.weights,
            }
            return {"data": {name: values for name, values in data.items() if values is not None}}
        if self.targets.ndim == 2:
            raise ValueError("several targets can be learned only from numbers without gaps: impute or encode X first")
        more, members = self._columns_besides()
        cells = self.table.columns() | {name: values.tolist() for name, values in more.items()}
        return {"data": [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)], **members}

    def uploaded(self) -> tuple[Any, dict[str, Any]]:
        """Return the table to upload, and the members of a request that trains on it.

        The table is one of its own: two fits of equal data must not delete each other's data set.
        """
        more, members = self._columns_besides()
        own = f"fit_{uuid4().hex}"  # constant, so the service leaves it out
        if not self.table.needs_columns:
            members["features"] = list(self.table.names)  # constant ones, too, as when they are sent inline
        return self.table.uploaded({**more, own: np.zeros(len(self.table))}), members

    def _columns_besides(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        target = _free("target", self.table.names)
        more: dict[str, NDArray[Any]] = {target: self.targets}
        members: dict[str, Any] = {"target": target}
        if self.weights is not None:
            members["weights"] = _free("instance_weights", self.table.names)
            more[members["weights"]] = self.weights
        return more, members


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = f"_{name}"
    return name


def _with_none(values: NDArray[np.float64]) -> list[Any]:
    cells = values.astype(object)
    cells[np.isnan(values)] = None
    return list(cells.tolist())
