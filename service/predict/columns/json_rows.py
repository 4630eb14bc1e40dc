"""Rows and columns of JSON as instances, whatever a version takes: features or the columns of a table."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from service.http.parsing import (
    check_n_instances,
    json_type,
    parse_matrix,
    parse_vector,
    pointer_to,
    refuse,
    refuse_width,
)
from service.predict.columns.codes import Cells
from service.predict.columns.table import ExtraNames, as_instances, match_names, refuse_missing
from service.predict.inputs import Inputs
from service.predict.instances import Instances
from service.settings import Limits


def read_rows(
    rows: Sequence[Any], pointer: str, inputs: Inputs, *, inside: str = "", may_be_named: bool = True
) -> Instances:
    """Read rows that are all lists in the order of features or columns or, where that may be, all objects by name.

    Args:
        rows: at least 1.
        inside: the part of a pointer between a row's index and its values.

    Raises:
        InvalidRequestError, WrongDimensionError: the rows are something else, or do not fit the version.
    """
    if inputs.encoder is None:
        names = inputs.names if may_be_named else None
        matrix = parse_matrix(rows, pointer, n_columns=len(inputs.names), names=names, inside=inside)
        return Instances(matrix, pointer)
    if may_be_named and type(rows[0]) is dict:
        return _read_objects(rows, pointer, inputs)
    columns = _transposed(rows, pointer, len(inputs.names), inside)
    return in_columns(columns, inputs, pointer, lambda i, j: f"{pointer}/{i}{inside}/{j}")


def read_vector(values: list[Any], pointer: str, inputs: Inputs) -> Instances:
    """Read one instance, a list of values.

    Raises:
        InvalidRequestError, WrongDimensionError: they do not fit the version.
    """
    if inputs.encoder is None:
        vector = parse_vector(values, pointer)
        if len(vector) != len(inputs.names):
            refuse_width(pointer, len(inputs.names), len(vector))
        return Instances(vector[np.newaxis, :], pointer, is_by_row=False)
    if len(values) != len(inputs.names):
        refuse_width(pointer, len(inputs.names), len(values))
    columns = [[value] for value in values]
    return in_columns(columns, inputs, pointer, lambda i, j: f"{pointer}/{j}", is_by_row=False)


def read_scalars(values: list[Any], pointer: str, inputs: Inputs) -> Instances:
    """Read instances of a version with one feature or column, each a bare value.

    Raises:
        InvalidRequestError: one of them does not fit the version.
    """
    if inputs.encoder is None:
        return Instances(parse_vector(values, pointer)[:, np.newaxis], pointer)
    return in_columns([values], inputs, pointer, lambda i, j: f"{pointer}/{i}")


def read_by_column(value: dict[str, Any], pointer: str, inputs: Inputs, limits: Limits) -> Instances:
    """Read an object with a list of values, or of lists with one value, for each column of a table.

    Raises:
        InvalidRequestError: the lists do not fit the version.
    """
    _require_keys(value, pointer, inputs)
    cells: list[Cells] = []
    for name in inputs.names:
        values, at = value[name], pointer + pointer_to([name])
        if type(values) is not list:
            refuse(at, f"must be a list with a value for each instance, not {json_type(values)}")
        check_n_instances(len(values), at, limits)
        if cells and len(values) != len(cells[0].values):
            refuse(at, f"expected {len(cells[0].values)} values as for {inputs.names[0]!r}, got {len(values)}")
        cells.append(_of_column(values, at))
    extra = _extra_keys([value], lambda _, name: f"{pointer}{pointer_to([name])}", inputs)
    return as_instances(cells, inputs, pointer, is_by_row=False, extra=extra)


def read_table(rows: list[Any], pointer: str, given: Sequence[str], names_at: str, inputs: Inputs) -> Instances:
    """Read rows that are lists in the order of the columns of another table, which may have more than the model.

    Args:
        given: the names of those columns.
        names_at: where they are.

    Raises:
        InvalidRequestError, WrongDimensionError: a column is missing, or the rows do not fit.
    """
    order, extra = match_names(given, inputs, names_at, lambda k: f"{names_at}/{k}")
    columns = _transposed(rows, pointer, len(given))
    picked = [columns[k] for k in order]
    return in_columns(picked, inputs, pointer, lambda i, j: f"{pointer}/{i}/{order[j]}", extra=extra)


def in_columns(
    columns: Sequence[Sequence[Any]],
    inputs: Inputs,
    pointer: str,
    place: Callable[[int, int], str],
    *,
    is_by_row: bool = True,
    extra: ExtraNames = ExtraNames(),  # noqa: B008 (immutable)
    is_text: bool = False,
) -> Instances:
    """Return the instances of columns of cells.

    Args:
        place: gives the place of a cell by the indices of its row and column.
    """
    cells = [Cells(values, lambda i, j=j: place(i, j), is_text) for j, values in enumerate(columns)]  # type: ignore[misc]
    return as_instances(cells, inputs, pointer, is_by_row=is_by_row, extra=extra)


def _transposed(rows: Sequence[Any], pointer: str, width: int, inside: str = "") -> list[tuple[Any, ...]]:
    """Return the columns of rows that are lists.

    Raises:
        InvalidRequestError, WrongDimensionError: a row is no list, or has another number of values.
    """
    if set(map(type, rows)) != {list}:
        i = next(i for i, row in enumerate(rows) if type(row) is not list)
        expected = "a list of values, like the first instance" if i else "a list of values, or an object by name"
        refuse(f"{pointer}/{i}{inside}", f"must be {expected}, not {json_type(rows[i])}")
    if set(map(len, rows)) != {width}:
        i = next(i for i, row in enumerate(rows) if len(row) != width)
        refuse_width(f"{pointer}/{i}{inside}", width, len(rows[i]))
    return list(zip(*rows, strict=True))


def _read_objects(rows: Sequence[Any], pointer: str, inputs: Inputs) -> Instances:
    if set(map(type, rows)) != {dict}:
        i = next(i for i, row in enumerate(rows) if type(row) is not dict)
        refuse(f"{pointer}/{i}", f"must be an object like the first instance, not {json_type(rows[i])}")
    try:
        columns = [[row[name] for row in rows] for name in inputs.names]
    except KeyError:
        for i, row in enumerate(rows):
            _require_keys(row, f"{pointer}/{i}", inputs)

    def place(i: int, name: str) -> str:
        return f"{pointer}/{i}{pointer_to([name])}"

    extra = _extra_keys(rows, place, inputs)
    return in_columns(columns, inputs, pointer, lambda i, j: place(i, inputs.names[j]), extra=extra)


def _require_keys(row: dict[str, Any], pointer: str, inputs: Inputs) -> None:
    missing = next((name for name in inputs.names if name not in row), None)
    if missing is not None:
        refuse_missing(missing, row, inputs, pointer + pointer_to([missing]), "Field required")


def _extra_keys(rows: Sequence[dict[str, Any]], place: Callable[[int, str], str], inputs: Inputs) -> ExtraNames:
    known: set[str | None] = {*inputs.names, inputs.target}
    first_at: dict[str, int] = {}
    for i, row in enumerate(rows):
        if not row.keys() <= known:
            first_at |= {name: i for name in row if name not in known}
            known.update(row)
    return ExtraNames(first_at, place)


def _of_column(values: list[Any], pointer: str) -> Cells:
    if type(values[0]) is not list:
        return Cells(values, lambda i: f"{pointer}/{i}")
    for i, value in enumerate(values):
        if type(value) is not list or len(value) != 1:
            refuse(f"{pointer}/{i}", "must be a list with one value, like the first one")
    return Cells([value for (value,) in values], lambda i: f"{pointer}/{i}/0")
