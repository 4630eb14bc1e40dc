"""Which columns of a table a request names, and whether they can be what it wants of them."""

from collections.abc import Mapping, Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from service.datasets.cells import is_null_spelling
from service.http.nearest import nearest
from service.http.parsing import pointer_to, refuse
from service.jobs.payloads import TrainingRequest
from storage.datasets.schema import ColumnSchema
from storage.datasets.table import Table


def target_column(request: TrainingRequest, columns: Mapping[str, ColumnSchema]) -> str:
    """Return the name of the column to learn, after checking that it can be learned."""
    if request.target is None:
        refuse("/target", "Field required")
    column = _known(request.target, columns, "/target")
    if column.type in ("date", "empty"):
        refuse("/target", f"column {column.name!r} holds {'dates' if column.type == 'date' else 'no values'}")
    if column.type == "categorical" and column.categories is None:
        refuse("/target", f"column {column.name!r} has more different values than MAX_CATEGORIES: these are no classes")
    return column.name


def feature_columns(request: TrainingRequest, columns: Mapping[str, ColumnSchema], target: str) -> list[str]:
    """Return the names of the columns to learn from, in the order of the table.

    Raises:
        InvalidRequestError: one is not there, or cannot be used; so do the functions below.
    """
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


def why_none(columns: Mapping[str, ColumnSchema], target: str, request: TrainingRequest) -> str:
    reasons = [f"{name!r}: {_reason(column)}" for name, column in columns.items() if not column.use and name != target]
    return "; ".join(reasons[:5]) or "there is none but the target and what exclude and weights name"


def categorical_columns(
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


def weights_of_rows(name: str, target: str, columns: Mapping[str, ColumnSchema], table: Table) -> NDArray[np.float64]:
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


def null_values(
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
