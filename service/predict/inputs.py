"""What a version takes: features, or the columns of a table."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from perceptron import Column, TableEncoder
from service.datasets.cells import Levels
from storage.models.trained_model import TrainedModel


class InputColumn:
    """A column of a table that a version was trained on."""

    def __init__(self, column: Column) -> None:
        self.name = column.name
        self.kind = column.kind
        self.mean = column.mean
        self.has_gaps = column.has_gaps
        self.null_values = frozenset(column.null_values)
        self.levels = Levels(column.levels)
        codes: dict[str | None, float] = {level: float(code) for code, level in enumerate(column.levels)}
        self.codes: Mapping[str | None, float] = MappingProxyType(
            codes | dict.fromkeys((None, *column.null_values), float("nan"))
        )
        """The code of each level as it is written, and of a missing one: most cells need no other rule."""


class Inputs:
    """What a reader must know to read instances for a version.

    Args:
        names: of the features or, with an encoder, of its columns, in order.
        encoder: turns rows of a table into features; None: the version takes features.
        target: a column that rows may have, too: the one that was learned.
    """

    __slots__ = (
        "columns",
        "encoder",
        "has_null_values",
        "has_only_numbers",
        "is_categorical",
        "is_never_missing",
        "names",
        "target",
    )

    def __init__(self, names: tuple[str, ...], encoder: TableEncoder | None = None, target: str | None = None) -> None:
        self.names = names
        self.encoder = encoder
        self.target = target
        columns = () if encoder is None else encoder.columns
        self.columns = tuple(map(InputColumn, columns))
        """The columns, ready to read cells for; none without an encoder."""
        self.has_only_numbers = all(column.kind == "numeric" for column in columns)
        """Whether every value is a number: there is no encoder, or all of its columns are numeric."""
        self.has_null_values = any(column.null_values for column in columns)
        self.is_categorical: NDArray[np.bool_] = np.array([column.kind == "categorical" for column in columns], bool)
        """(n_columns,)"""
        self.is_never_missing: NDArray[np.bool_] = np.array([not column.has_gaps for column in columns], bool)
        """(n_columns,): whether training had a value in every row."""

    @classmethod
    def of(cls, trained: TrainedModel) -> "Inputs":
        """Return what a version takes."""
        if trained.encoder is None:
            return cls(trained.feature_names)
        return cls(tuple(column.name for column in trained.encoder.columns), trained.encoder, trained.target)
