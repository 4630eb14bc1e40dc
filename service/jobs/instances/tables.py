"""The columns of a data set, or of records that come with a request, as instances to train on."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from perceptron import (
    Column,
    Dataset,
    InvalidDatasetError,
    TableEncoder,
    TargetsOutOfRangeError,
    Task,
    resolve_column,
)
from service.datasets.reading.options import ReadOptions
from service.datasets.reading.read import read_table
from service.http.errors import Fault, InvalidRequestError, TargetOutOfRangeError
from service.http.parsing import check_cells, pointer_to, refuse
from service.jobs.instances.columns import (
    categorical_columns,
    feature_columns,
    null_values,
    target_column,
    weights_of_rows,
    why_none,
)
from service.jobs.instances.leaks import leak_warnings
from service.jobs.instances.lists import with_weights
from service.jobs.instances.target_values import TargetValues
from service.jobs.instances.training_data import TrainingData
from service.jobs.payloads import TrainingRequest
from service.settings import Limits
from storage.blobs import BlobStore
from storage.datasets.schema import TableSchema
from storage.datasets.store import DatasetStore
from storage.datasets.table import Table
from storage.jobs.spec import DataReference, TableReference
from storage.tenants import local

N_SAMPLED_ROWS = 100_000
"""Of so many rows it is looked whether a feature gives the target away."""


def from_dataset(
    request: TrainingRequest, dataset_id: str, datasets: DatasetStore, blobs: BlobStore, limits: Limits
) -> TrainingData:
    """Check what a request wants of a data set.

    Raises:
        DatasetNotFoundError: there is no such data set.
        InvalidRequestError, PerceptronError: it cannot be trained on in this way.
    """
    record = datasets.get(dataset_id)
    with Table.of(blobs, record.blob) as table:
        return _from_table(request, record.schema, table, limits, lambda: record.blob, dataset_id=dataset_id)


def from_records(request: TrainingRequest, records: Sequence[Any], blobs: BlobStore, limits: Limits) -> TrainingData:
    """Check the records of a request, by the rules for files of records.

    Raises:
        TableError, InvalidRequestError, PerceptronError: they cannot be trained on.
    """
    n_values = sum(len(record) for record in records if isinstance(record, dict))
    if n_values > limits.max_inline_values:
        refuse(
            "/data/records", f"must hold at most {limits.max_inline_values} values (MAX_INLINE_VALUES), not {n_values}"
        )
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            refuse(f"/data/records/{index}", "must be an object by column name")
        names = list(record)
        check_cells(record.values(), lambda k: f"/data/records/{index}{pointer_to([names[k]])}")  # noqa: B023 (called at once)
    with TemporaryDirectory(prefix="perceptron-") as folder:
        source, stored = Path(folder) / "records.json", Path(folder) / "table.parquet"
        source.write_bytes(orjson.dumps(records))
        schema = read_table(
            source,
            media_type="application/json",
            content_encoding="",
            options=ReadOptions(types=dict(request.types or {})),
            limits=limits.tables,
            destination=stored,
        )
        content = stored.read_bytes()
    table = Table(io.BytesIO(content))
    return _from_table(request, schema, table, limits, lambda: blobs.put(content), dataset_id=None)


def _from_table(
    request: TrainingRequest,
    schema: TableSchema,
    table: Table,
    limits: Limits,
    put: Callable[[], str],
    *,
    dataset_id: str | None,
) -> TrainingData:
    columns = {column.name: column for column in schema.columns}
    target = target_column(request, columns)
    names = feature_columns(request, columns, target)
    if schema.rows < 2:
        refuse(
            "/dataset" if dataset_id else "/data/records", f"has {schema.rows} row: no network learns from one alone"
        )
    if not names:
        refuse("/features", "no column is left to learn from: " + why_none(columns, target, request))
    categorical = categorical_columns(request, columns, names, limits.tables.max_categories)
    weights = None if request.weights is None else weights_of_rows(request.weights, target, columns, table)
    if weights is not None and np.count_nonzero(weights) < 2:
        refuse("/weights", f"column {request.weights!r} leaves 1 row that counts: no network learns from one alone")
    (of_target,) = table.columns([target], frozenset(categorical) & {target})
    targets = TargetValues.of(table, of_target, weights)
    task, encoded, of_rows = _task(request, of_target, targets)
    features = tuple(
        replace(column, has_gaps=columns[column.name].nulls > 0)
        for column in table.columns(names, frozenset(categorical))
    )
    feature_names = TableEncoder(_of_counted_rows(features, table, weights)).feature_names
    _check_names(feature_names)
    dataset = Dataset(np.broadcast_to(0.0, (len(encoded), len(feature_names))), encoded)
    if of_rows is not None:
        dataset = with_weights(dataset, of_rows, "/weights")
    sample = table.matrix([*features, of_target], N_SAMPLED_ROWS)
    reference = TableReference(
        tuple(names),
        target,
        request.weights,
        tuple(categorical),
        null_values=null_values(columns, names, categorical),
    )

    def put_all(dataset: Dataset) -> DataReference:
        shown_id = None if dataset_id is None else local(dataset_id)
        return DataReference(put(), targets.n_rows, dataset.n_features, shown_id)

    warnings = leak_warnings(features, of_target, sample)
    return TrainingData(task, dataset, targets.n_rows, feature_names, put_all, reference, warnings)


def _of_counted_rows(
    columns: Sequence[Column], table: Table, weights: NDArray[np.float64] | None
) -> tuple[Column, ...]:
    """Return the columns with the levels and gaps that training meets: those in rows of weight 0 are none of them."""
    doubtful = [column for column in columns if column.kind == "categorical" or column.has_gaps]
    if weights is None or weights.all() or not doubtful:
        return tuple(columns)

    def counted() -> Iterator[tuple[NDArray[np.float64], None]]:
        first = 0
        for block in table.blocks(doubtful):
            yield block[weights[first : first + len(block)] > 0], None
            first += len(block)

    learned = {column.name: column for column in TableEncoder.learn(doubtful, counted()).columns}
    return tuple(learned.get(column.name, column) for column in columns)


def _check_names(feature_names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in feature_names:
        if name in seen:
            refuse(
                "/features",
                f"two features would be called {name[:128]!r}: rename a column or a level, or leave one out",
            )
        seen.add(name)


def _task(
    request: TrainingRequest, column: Column, targets: TargetValues
) -> tuple[Task, NDArray[np.float64], NDArray[np.float64] | None]:
    """Decide the task; return the targets, and how many times each counts."""
    if targets.n_missing:
        refuse(
            "/target",
            f"column {column.name!r} has no value in {targets.n_missing} of {targets.n_rows} rows, first in row "
            f"{targets.first_missing}: leave these rows out of the table, or give them a weight of 0",
        )
    encoder = TableEncoder.learn([column], [(targets.values[:, np.newaxis], None)])
    values = encoder.recode([column], targets.values[:, np.newaxis])[:, 0]
    try:
        task, encoded = resolve_column(
            values,
            encoder.columns[0].levels if column.kind == "categorical" else None,
            task=request.task,
            activation=request.network.activation,
            loss=request.training.loss,
        )
    except TargetsOutOfRangeError as error:
        row = int(targets.rows[error.index])
        raise TargetOutOfRangeError([Fault("/target", f"column {column.name!r}, row {row}: {error}")]) from error
    except InvalidDatasetError as error:
        raise InvalidRequestError([Fault("/target", f"column {column.name!r}: {error}")]) from error
    return task, encoded, targets.weights
