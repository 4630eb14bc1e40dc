"""Instances in the JSON forms of other protocols: rows, columns and data frames.

Every function takes the value, its JSON pointer, the names of the model's features and the limits.
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
    refuse_width,
)
from service.predict.instances import Instances
from service.settings import Limits

_WRAPPERS = (("input",), ("features",), ("data", "features", "values"))
"""Paths to the list inside an instance that is an object: the name of the only tensor, or SageMaker's members."""


def from_rows(value: Any, pointer: str, names: Sequence[str], limits: Limits) -> Instances:
    """Read a list of instances.

    Each is a list of numbers, an object by feature name, an object around such a list (`{"input": [...]}`,
    `{"features": [...]}`, `{"data": {"features": {"values": [...]}}}`), or, for a single feature, a number. All have
    the form of the first.

    Raises:
        InvalidRequestError, WrongDimensionError: the value is not such a list, or has other features.
    """
    if type(value) is not list:
        refuse(pointer, f"must be a list of instances, not {json_type(value)}")
    check_n_instances(len(value), pointer, limits)
    first = value[0]
    if len(names) == 1 and type(first) in (int, float):
        return Instances(parse_vector(value, pointer)[:, np.newaxis], pointer)
    for path in _WRAPPERS:
        if _unwrapped(first, path) is not None:
            rows = [_unwrapped(row, path) for row in value]
            inside = pointer_to(path)
            for i, row in enumerate(rows):
                if row is None:
                    refuse(f"{pointer}/{i}", f"must have a list at {inside}, like the first instance")
            return Instances(parse_matrix(rows, pointer, n_columns=len(names), inside=inside), pointer)
    return Instances(parse_matrix(value, pointer, n_columns=len(names), names=names), pointer)


def from_columns(value: Any, pointer: str, names: Sequence[str], limits: Limits) -> Instances:
    """Read the whole tensor, bare or by its name, or an object with a list of values for each feature.

    Raises:
        InvalidRequestError, WrongDimensionError: the value is none of these, or has other features.
    """
    if type(value) is not dict:
        return from_rows(value, pointer, names, limits)
    if value.keys() == {"input"}:
        return from_rows(value["input"], f"{pointer}/input", names, limits)
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


def from_split(value: Any, pointer: str, names: Sequence[str], limits: Limits) -> Instances:
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
    columns = value.get("columns")
    if columns is None or _is_counted(columns, names):
        return Instances(parse_matrix(rows, f"{pointer}/data", n_columns=len(names)), f"{pointer}/data")
    order = _column_order(columns, f"{pointer}/columns", names)
    features = parse_matrix(rows, f"{pointer}/data", n_columns=len(names))
    return Instances(features[:, order], f"{pointer}/data")


def from_records(value: Any, pointer: str, names: Sequence[str], limits: Limits) -> Instances:
    """Read a data frame in pandas' records form: a list of objects by feature name.

    Raises:
        InvalidRequestError: the value is not such a list, or has other features.
    """
    if type(value) is not list:
        refuse(pointer, f"must be a list of objects, not {json_type(value)}")
    check_n_instances(len(value), pointer, limits)
    if type(value[0]) is not dict:
        refuse(f"{pointer}/0", f"must be an object by feature name, not {json_type(value[0])}")
    return Instances(parse_matrix(value, pointer, n_columns=len(names), names=names), pointer)


def from_one(value: Any, pointer: str, names: Sequence[str], _limits: Limits) -> Instances:
    """Read one instance: a list of numbers.

    Raises:
        InvalidRequestError, WrongDimensionError: the value is not such a list, or has other features.
    """
    if type(value) is not list:
        refuse(pointer, f"must be a list of numbers, not {json_type(value)}")
    vector = parse_vector(value, pointer)
    if len(vector) != len(names):
        refuse_width(pointer, len(names), len(vector))
    return Instances(vector[np.newaxis, :], pointer, is_by_row=False)


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
    if type(columns) is not list:
        refuse(pointer, f"must be a list of names, not {json_type(columns)}")
    index_of: dict[str, int] = {}
    for k, column in enumerate(columns):
        if type(column) not in (str, int):
            refuse(f"{pointer}/{k}", f"must be the name of a feature, not {json_type(column)}")
        name = str(column)
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
