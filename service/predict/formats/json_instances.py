"""Instances in the JSON forms of other protocols: rows, columns and data frames.

Every function takes the value, its JSON pointer, what the model takes and the limits.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.http.parsing import (
    by_feature,
    check_n_instances,
    json_type,
    parse_matrix,
    parse_vector,
    pointer_to,
    refuse,
)
from service.predict.columns.json_rows import read_by_column, read_rows, read_scalars, read_table, read_vector
from service.predict.inputs import Inputs
from service.predict.instances import Instances
from service.settings import Limits

_NUMBERS = (int, float)
_WRAPPERS = (("input",), ("features",), ("data", "features", "values"))
"""Paths to the list inside an instance that is an object: the name of the only tensor, or SageMaker's members."""


def from_rows(value: Any, pointer: str, inputs: Inputs, limits: Limits) -> Instances:
    """Read a list of instances.

    Each is a list of values, an object by name, an object around such a list (`{"input": [...]}`,
    `{"features": [...]}`, `{"data": {"features": {"values": [...]}}}`), or, for a single feature or column, a bare
    value. All have the form of the first.

    Raises:
        InvalidRequestError, WrongDimensionError: the value is not such a list, or has other features.
    """
    if type(value) is not list:
        refuse(pointer, f"must be a list of instances, not {json_type(value)}")
    check_n_instances(len(value), pointer, limits)
    first = value[0]
    if len(inputs.names) == 1 and (type(first) in _NUMBERS or (inputs.encoder and type(first) not in (list, dict))):
        return read_scalars(value, pointer, inputs)
    for path in _WRAPPERS:
        if _unwrapped(first, path) is not None:
            rows = [_unwrapped(row, path) for row in value]
            inside = pointer_to(path)
            for i, row in enumerate(rows):
                if row is None:
                    refuse(f"{pointer}/{i}", f"must have a list at {inside}, like the first instance")
            return read_rows(rows, pointer, inputs, inside=inside, may_be_named=False)
    return read_rows(value, pointer, inputs)


def from_columns(value: Any, pointer: str, inputs: Inputs, limits: Limits) -> Instances:
    """Read the whole tensor, bare or by its name, or an object with a list of values for each feature.

    Raises:
        InvalidRequestError, WrongDimensionError: the value is none of these, or has other features.
    """
    if type(value) is not dict:
        return from_rows(value, pointer, inputs, limits)
    names = inputs.names
    if value.keys() == {"input"} and (inputs.encoder is None or "input" not in names):
        return from_rows(value["input"], f"{pointer}/input", inputs, limits)
    if inputs.encoder is not None:
        return read_by_column(value, pointer, inputs, limits)
    columns: list[NDArray[np.float64]] = []
    for name, column in zip(names, by_feature(value, names, pointer), strict=True):
        at = pointer + pointer_to([name])
        if type(column) is not list:
            refuse(at, f"must be a list with a number for each instance, not {json_type(column)}")
        check_n_instances(len(column), at, limits)
        if columns and len(column) != len(columns[0]):
            refuse(at, f"expected {len(columns[0])} values as for {names[0]!r}, got {len(column)}")
        is_nested = type(column[0]) is list
        columns.append(parse_matrix(column, at, n_columns=1)[:, 0] if is_nested else parse_vector(column, at))
    return Instances(np.column_stack(columns), pointer, is_by_row=False)


def from_split(value: Any, pointer: str, inputs: Inputs, limits: Limits) -> Instances:
    """Read a data frame in pandas' split form: `{"columns": [...], "data": [[...], ...]}`.

    Columns with names may be in any order; a whole number is the name that it spells. Columns that pandas has counted,
    0, 1, 2, ..., or that are not named at all, are in the features' order.

    Raises:
        InvalidRequestError, WrongDimensionError: the value is not such a data frame, or has other features.
    """
    if type(value) is not dict:
        refuse(pointer, f"must be an object with columns and data, not {json_type(value)}")
    rows = value.get("data")
    if type(rows) is not list:
        refuse(
            f"{pointer}/data", f"must be a list of rows, not {json_type(rows)}" if "data" in value else "Field required"
        )
    check_n_instances(len(rows), f"{pointer}/data", limits)
    columns, names = value.get("columns"), inputs.names
    if columns is None or _is_counted(columns, names):
        return read_rows(rows, f"{pointer}/data", inputs, may_be_named=False)
    if inputs.encoder is not None:
        return read_table(rows, f"{pointer}/data", _names(columns, f"{pointer}/columns"), f"{pointer}/columns", inputs)
    order = _column_order(columns, f"{pointer}/columns", names)
    features = parse_matrix(rows, f"{pointer}/data", n_columns=len(names))
    return Instances(features[:, order], f"{pointer}/data")


def from_records(value: Any, pointer: str, inputs: Inputs, limits: Limits) -> Instances:
    """Read a data frame in pandas' records form: a list of objects by feature name.

    Raises:
        InvalidRequestError: the value is not such a list, or has other features.
    """
    if type(value) is not list:
        refuse(pointer, f"must be a list of objects, not {json_type(value)}")
    check_n_instances(len(value), pointer, limits)
    if type(value[0]) is not dict:
        refuse(f"{pointer}/0", f"must be an object by feature name, not {json_type(value[0])}")
    return read_rows(value, pointer, inputs)


def from_one(value: Any, pointer: str, inputs: Inputs, _limits: Limits) -> Instances:
    """Read one instance: a list of values.

    Raises:
        InvalidRequestError, WrongDimensionError: the value is not such a list, or has other features.
    """
    if type(value) is not list:
        refuse(pointer, f"must be a list of numbers, not {json_type(value)}")
    return read_vector(value, pointer, inputs)


def _unwrapped(value: Any, path: Sequence[str]) -> list[Any] | None:
    """Return the list at the end of the path, or None."""
    for member in path:
        value = value.get(member) if type(value) is dict else None
    return value if type(value) is list else None


def _is_counted(columns: Any, names: Sequence[str]) -> bool:
    """Tell whether the columns are 0, 1, 2, ... because nobody named them, unless the features are so named."""
    is_counted = type(columns) is list and set(map(type, columns)) == {int} and columns == list(range(len(columns)))
    return is_counted and len(columns) == len(names) and set(map(str, columns)) != set(names)


def _column_order(columns: Any, pointer: str, names: Sequence[str]) -> list[int]:
    """Return the index of each feature's column.

    Raises:
        InvalidRequestError: a feature has no column, a column has no feature, or two columns share a name.
    """
    index_of: dict[str, int] = {}
    for k, name in enumerate(_names(columns, pointer)):
        if name in index_of:
            refuse(f"{pointer}/{k}", f"is a second column {name[:128]!r}")
        index_of[name] = k
    missing = next((name for name in names if name not in index_of), None)
    if missing is not None:
        refuse(pointer, f"has no column {missing[:128]!r}")
    if len(index_of) > len(names):
        features = set(names)
        surplus = next(name for name in index_of if name not in features)
        refuse(f"{pointer}/{index_of[surplus]}", f"the model has no feature {surplus[:128]!r}")
    return [index_of[name] for name in names]


def _names(columns: Any, pointer: str) -> list[str]:
    """Return the names of columns as texts.

    Raises:
        InvalidRequestError: they are no list of texts and whole numbers.
    """
    if type(columns) is not list:
        refuse(pointer, f"must be a list of names, not {json_type(columns)}")
    for k, column in enumerate(columns):
        if type(column) not in (str, int):
            refuse(f"{pointer}/{k}", f"must be the name of a feature, not {json_type(column)}")
    return [str(column) for column in columns]
