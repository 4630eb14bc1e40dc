"""The instances of a job, as they are stored: arrays, or columns of a table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron import (
    EXACT_ROWS,
    Dataset,
    Rowwise,
    TableEncoder,
    encode_classes,
    encode_column,
    is_held_out,
    is_mapped,
    row_blocks,
    validation_rows,
)
from storage.blobs import BlobStore
from storage.codec import decode_dataset
from storage.datasets.table import Table
from storage.errors import CorruptDataError
from storage.jobs.attempt import Attempt
from storage.jobs.spec import TrainingSpec


@dataclass(frozen=True, eq=False)
class Instances:
    """What a job trains on."""

    spec: TrainingSpec
    """With the names of all features."""
    dataset: Dataset
    encoder: TableEncoder | None = None
    """Of a table: what makes the features of its columns."""
    held_out: Dataset | None = None
    """The instances to validate with, if they have been set apart already."""


def load_instances(attempt: Attempt, blobs: BlobStore) -> Instances:
    """Load the instances of a job.

    Raises:
        BlobNotFoundError, BlobStoreUnavailableError: they cannot be read now.
        CorruptDataError: what is stored is something else.
    """
    spec = attempt.job.spec
    if spec.table is None:
        dataset, names = decode_dataset(blobs.get(spec.data.blob))
        return Instances(replace(spec, feature_names=names or spec.feature_names), dataset)
    if not spec.table.features:
        spec = attempt.full_spec()
    with Table.of(blobs, spec.data.blob) as file, blobs.scratch() as folder:
        table = _JobTable(file, spec)
        encoder = table.encoder()
        dataset, held_out = table.on_disk(encoder, folder) if table.is_mapped else (table.in_memory(encoder), None)
    return Instances(replace(spec, feature_names=encoder.feature_names), dataset, encoder, held_out)


class _Rows(NamedTuple):
    """Some rows of a table, without those of weight 0."""

    codes: NDArray[np.float64]
    """(n_rows, n_columns): of the features"""
    target: NDArray[np.float64]
    """(n_rows,): the numbers of the target, or the indices of its classes"""
    weights: NDArray[np.float64] | None
    """(n_rows,)"""


class _JobTable:
    """The columns of a table that a job learns from."""

    def __init__(self, table: Table, spec: TrainingSpec) -> None:
        assert spec.table is not None, "called only for tables"
        self._table, self._spec, self._wanted = table, spec, spec.table
        self._columns = table.columns(
            [*self._wanted.features, self._wanted.target], frozenset(self._wanted.categorical)
        )
        self.columns = tuple(
            replace(column, null_values=self._wanted.null_values.get(column.name, ())) for column in self._columns[:-1]
        )
        self._target = self._columns[-1]
        self._weights: NDArray[np.float64] | None = None
        if self._wanted.weights is not None:
            self._weights = table.matrix(table.columns([self._wanted.weights]))[:, 0]
        self._n_rows = table.n_rows if self._weights is None else int(np.count_nonzero(self._weights))

    @property
    def is_mapped(self) -> bool:
        """Whether the rows are kept in a file. Folds and sweeps take them in other orders, and need them in memory."""
        has_folds = self._spec.validation is not None and self._spec.validation.folds is not None
        return is_mapped(self._n_rows, self._spec.data.n_features) and self._spec.sweep is None and not has_folds

    def blocks(self) -> Iterator[_Rows]:
        """Yield all rows, some at a time."""
        first = 0
        class_of = {name: float(index) for index, name in enumerate(self._spec.task.classes or ())}
        of_levels = np.array([class_of.get(level, np.nan) for level in self._target.levels])
        for block in self._table.blocks(self._columns):
            weights = None if self._weights is None else self._weights[first : first + len(block)]
            first += len(block)
            if weights is not None:
                block, weights = block[weights > 0], weights[weights > 0]
            target = block[:, -1]
            if self._target.kind == "categorical":
                target = of_levels[np.where(np.isnan(target), -1, target).astype(np.intp)]
            if np.isnan(target).any():
                raise CorruptDataError("the table has other targets than those that the job was accepted with")
            yield _Rows(block[:, :-1], target, weights)

    def encoder(self) -> TableEncoder:
        """Learn levels and gaps from all rows, and means from those that train the network that is published."""
        validation, sweep = self._spec.validation, self._spec.sweep
        if validation is None or validation.folds is not None or (sweep is not None and sweep.refit):
            return TableEncoder.learn(self.columns, ((rows.codes, rows.weights) for rows in self.blocks()))
        return TableEncoder.learn(self.columns, self._without_held_out())

    def _without_held_out(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        first = 0
        for rows in self.blocks():
            is_out = self._drawn(slice(first, first + len(rows.codes)))
            first += len(rows.codes)
            yield rows.codes, np.where(is_out, 0.0, 1.0 if rows.weights is None else rows.weights)

    def in_memory(self, encoder: TableEncoder) -> Dataset:
        """Return the instances as arrays."""
        blocks = list(self.blocks())
        features = [encoder.encode(encoder.recode(self.columns, rows.codes)) for rows in blocks]
        targets = self._targets(np.concatenate([rows.target for rows in blocks]))
        return self._weighted(np.concatenate(features), targets, [rows.weights for rows in blocks])

    def on_disk(self, encoder: TableEncoder, folder: Path) -> tuple[Dataset, Dataset | None]:
        """Write the rows to files, and return data sets whose features and targets are made of them.

        The files may be deleted at once: they last as long as they are mapped.
        """
        is_split = self._spec.validation is not None
        paths = [folder / name for name in ("train", "held-out")[: 1 + is_split]]
        weights: list[list[NDArray[np.float64] | None]] = [[] for _ in paths]
        first = 0
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in paths]
            for rows in self.blocks():
                block = np.column_stack([encoder.recode(self.columns, rows.codes), rows.target])
                is_out = self._drawn(slice(first, first + len(block))) if is_split else np.zeros(len(block), dtype=bool)
                first += len(block)
                for file, own, kept in zip(files, weights, (~is_out, is_out), strict=False):
                    file.write(block[kept].tobytes())
                    own.append(None if rows.weights is None else rows.weights[kept])
        width = len(self._columns)
        mapped = [np.memmap(path, np.float64, "r").reshape(-1, width) for path in paths]
        train, *held_out = (
            self._weighted(
                Rowwise(each, lambda rows: encoder.encode(rows[:, :-1]), encoder.n_features),
                Rowwise(each, lambda rows: self._targets(rows[:, -1]), self._spec.task.n_outputs),
                own,
            )
            for each, own in zip(mapped, weights, strict=True)
        )
        return train, held_out[0] if held_out else None

    @cached_property
    def _drawn(self) -> Callable[[slice], NDArray[np.bool_]]:
        """Return what tells for some rows which are held out."""
        validation, seed = self._spec.validation, self._spec.training.seed
        if validation is None or (self.is_mapped and self._n_rows > EXACT_ROWS):
            return lambda rows: is_held_out(rows, validation.fraction if validation else 0.0, seed)
        targets = self._targets(np.concatenate([rows.target for rows in self.blocks()]))
        held_out = np.zeros(self._n_rows, dtype=bool)
        held_out[validation_rows(Dataset(targets, targets), self._spec.task, validation.fraction, seed)] = True
        return lambda rows: held_out[rows]

    def _targets(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n_rows, n_outputs) for the values of the target's column."""
        if self._target.kind == "categorical":
            return encode_classes(self._spec.task, target.astype(np.intp))
        return encode_column(self._spec.task, target)

    def _weighted(self, features: Any, targets: Any, weights: Sequence[NDArray[np.float64] | None]) -> Dataset:
        given = [each for each in weights if each is not None]
        dataset = Dataset(features, targets, np.concatenate(given) if given else None)
        if self._wanted.class_weights is None:
            return dataset
        per_class = np.array(self._wanted.class_weights)
        of_rows = [
            per_class[self._spec.task.class_indices(dataset.targets[rows])] for rows in row_blocks(dataset.n_instances)
        ]
        return replace(dataset, class_weights=np.concatenate(of_rows))
