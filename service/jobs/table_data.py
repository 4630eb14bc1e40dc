"""The columns of a data set, or of records that come with a request, as instances to train on."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from service.datasets.cells import is_null_spelling
from service.datasets.reading.options import ReadOptions
from service.datasets.reading.read import read_table
from service.http.errors import Fault, InvalidRequestError, TargetOutOfRangeError
from service.http.nearest import nearest
from service.http.parsing import check_cells, pointer_to, refuse
from service.jobs.inline_data import with_weights
from service.jobs.leaks import leak_warnings
from service.jobs.payloads import TrainingRequest
from service.jobs.target_values import TargetValues
from service.jobs.training_data import TrainingData
from service.settings import Limits
from storage.blobs import BlobStore
from storage.datasets.schema import ColumnSchema, TableSchema
from storage.datasets.store import DatasetStore
from storage.datasets.table import Table
from storage.jobs.spec import DataReference, TableReference

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
    target = _target(request, columns)
    names = _features(request, columns, target)
    if schema.rows < 2:
        refuse(
            "/dataset" if dataset_id else "/data/records", f"has {schema.rows} row: no network learns from one alone"
        )
    if not names:
        refuse("/features", "no column is left to learn from: " + _why_not(columns, target, request))
    categorical = _categorical(request, columns, names, limits.tables.max_categories)
    weights = None if request.weights is None else _weights(request.weights, target, columns, table)
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
    null_values = _null_values(columns, names, categorical)
    reference = TableReference(tuple(names), target, request.weights, tuple(categorical), null_values=null_values)

    def put_all(dataset: Dataset) -> DataReference:
        return DataReference(put(), targets.n_rows, dataset.n_features, dataset_id)

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


def _target(request: TrainingRequest, columns: Mapping[str, ColumnSchema]) -> str:
    """Return the name of the column to learn, after checking that it can be learned."""
    if request.target is None:
        refuse("/target", "Field required")
    column = _known(request.target, columns, "/target")
    if column.type in ("date", "empty"):
        refuse("/target", f"column {column.name!r} holds {'dates' if column.type == 'date' else 'no values'}")
    if column.type == "categorical" and column.categories is None:
        refuse("/target", f"column {column.name!r} has more different values than MAX_CATEGORIES: these are no classes")
    return column.name


def _features(request: TrainingRequest, columns: Mapping[str, ColumnSchema], target: str) -> list[str]:
    """Return the names of the columns to learn from, in the order of the table."""
    others = {target, request.weights}
    if request.features is not None and request.exclude is not None:
        refuse("/exclude", "give features or exclude, not both")
    if request.features is None:
        excluded = {_known(name, columns, f"/exclude/{k}").name for k, name in enumerate(request.exclude or ())}
        types = request.types or {}
        return [
            name
            for name, column in columns.items()
            if name not in others | excluded
            and (column.use or (name in types and column.type in ("numeric", "boolean")))
        ]
    chosen: set[str] = set()
    for k, name in enumerate(request.features):
        pointer = f"/features/{k}"
        column = _known(name, columns, pointer)
        if name in others:
            refuse(pointer, f"column {name!r} is the {'target' if name == target else 'column of weights'}")
        if name in chosen:
            refuse(pointer, f"column {name!r} occurs twice")
        if column.type in ("date", "empty") or (column.type == "categorical" and column.categories is None):
            refuse(pointer, f"column {name!r} cannot be used: {_reason(column)}")
        chosen.add(name)
    return [name for name in columns if name in chosen]


def _known(name: str, columns: Mapping[str, ColumnSchema], pointer: str) -> ColumnSchema:
    if name in columns:
        return columns[name]
    meant = nearest(name, columns)
    refuse(pointer, f"there is no column {name[:128]!r}" + (f": is {meant!r} meant?" if meant else ""))


def _reason(column: ColumnSchema) -> str:
    """Return why a column is not used by itself."""
    if column.warnings:
        return column.warnings[0].detail
    return f"it is {column.type}"


def _why_not(columns: Mapping[str, ColumnSchema], target: str, request: TrainingRequest) -> str:
    reasons = [f"{name!r}: {_reason(column)}" for name, column in columns.items() if not column.use and name != target]
    return "; ".join(reasons[:5]) or "there is none but the target and what exclude and weights name"


def _categorical(
    request: TrainingRequest, columns: Mapping[str, ColumnSchema], names: Sequence[str], max_levels: int
) -> list[str]:
    """Return which columns of numbers are to be taken for categories."""
    found = []
    for name, wanted in (request.types or {}).items():
        pointer = "/types" + pointer_to([name])
        column = _known(name, columns, pointer)
        if wanted == column.type:
            continue
        if wanted != "categorical" or column.type not in ("numeric", "boolean"):
            refuse(
                pointer,
                f"column {name!r} is {column.type}, and only numbers can be taken for categories here: upload "
                f"the file again with types={orjson.dumps({name: wanted}).decode()}",
            )
        if column.distinct > max_levels:
            detail = f"column {name!r} has {column.distinct} different values, of at most {max_levels} (MAX_CATEGORIES)"
            refuse(pointer, detail)
        if name in names or name == request.target:
            found.append(name)
    return found


def _null_values(
    columns: Mapping[str, ColumnSchema], names: Sequence[str], categorical: Sequence[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return what rows to predict for may have, too, in place of a missing value."""
    found = {}
    for name in names:
        is_text = columns[name].type == "categorical" or name in categorical
        texts = columns[name].null_spellings
        if given := tuple(text for text in texts if is_text or not is_null_spelling(text)):
            found[name] = given
    return found


def _weights(name: str, target: str, columns: Mapping[str, ColumnSchema], table: Table) -> NDArray[np.float64]:
    """Return how many times each row counts."""
    column = _known(name, columns, "/weights")
    if name == target:
        refuse("/weights", f"column {name!r} is the target")
    if column.type != "numeric":
        refuse("/weights", f"column {name!r} must hold numbers, and is {column.type}")
    if column.nulls:
        refuse("/weights", f"column {name!r} has no value in {column.nulls} of {table.n_rows} rows")
    weights = table.matrix(table.columns([name]))[:, 0]
    if weights.min() < 0:
        row = int(weights.argmin())
        refuse("/weights", f"column {name!r} must hold numbers of at least 0, not {weights[row]:g} in row {row}")
    if not weights.any():
        refuse("/weights", f"column {name!r} holds only 0: no row counts")
    return weights


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
