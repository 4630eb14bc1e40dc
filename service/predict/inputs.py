"""What a version takes: features, or the columns of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
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
        self.levels = Levels(column.levels)
        codes: dict[str | None, float] = {level: float(code) for code, level in enumerate(column.levels)}
        self.codes: Mapping[str | None, float] = MappingProxyType(codes | {None: float("nan")})
        """The code of each level as it is written, and of a missing one: most cells need no other rule."""


@dataclass(frozen=True)
class Inputs:
    """What a reader must know to read instances for a version."""

    names: tuple[str, ...]
    """Of the features or, with an encoder, of the columns, in order."""
    encoder: TableEncoder | None = None
    """Turns rows of a table into features; None: the version takes features."""
    target: str | None = None
    """A column that rows may have, too: the one that was learned."""

    @classmethod
    def of(cls, trained: TrainedModel) -> "Inputs":
        """Return what a version takes."""
        if trained.encoder is None:
            return cls(trained.feature_names)
        return cls(tuple(column.name for column in trained.encoder.columns), trained.encoder, trained.target)

    @cached_property
    def columns(self) -> tuple[InputColumn, ...]:
        """The columns, ready to read cells for; none without an encoder."""
        return () if self.encoder is None else tuple(map(InputColumn, self.encoder.columns))

    @cached_property
    def is_categorical(self) -> NDArray[np.bool_]:
        """(n_columns,)"""
        return np.array([column.kind == "categorical" for column in self.columns])

    @cached_property
    def is_never_missing(self) -> NDArray[np.bool_]:
        """(n_columns,): whether training had a value in every row."""
        return np.array([not column.has_gaps for column in self.columns])

    @cached_property
    def has_only_numbers(self) -> bool:
        """Whether every value is a number: there is no encoder, or all of its columns are numeric."""
        return self.encoder is None or all(column.kind == "numeric" for column in self.encoder.columns)
