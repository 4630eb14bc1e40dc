"""From the cells of a column to its codes: numbers, 0 and 1, or the numbers of levels; NaN is missing."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron import UNKNOWN
from service.datasets.cells import boolean_of, is_null_spelling
from service.http.parsing import json_type, refuse
from service.predict.inputs import InputColumn
from storage.datasets.categories import canonical_category, trim

Codes: TypeAlias = NDArray[np.float64]

_NOT_A_NUMBER = re.compile(r"[^0-9eE+.\- \n]")
_NUMBERS = {int, float, type(None)}
_BOOLEANS = {bool, type(None)}
_TEXTS = {str, type(None)}
_SCALARS = {str, int, float, bool, type(None)}

_TOO_LARGE = "must be finite: it is larger than a 64-bit float can hold"


class Cells(NamedTuple):
    """What a body has in one column."""

    values: Sequence[Any] | Codes
    """Values of JSON; or finite numbers as an array, in which NaN is missing."""
    pointer_to: Callable[[int], str]
    """Gives the place of a cell in the body."""
    is_text: bool = False
    """Whether all are texts that stand for values: "7" is the number, and "" is missing."""


def codes_of(cells: Cells, column: InputColumn) -> Codes:
    """Return the codes of some cells, (n_instances,).

    Raises:
        InvalidRequestError: a cell is not of the column's type.
    """
    if column.kind == "categorical":
        return _categories(cells, column)
    if isinstance(cells.values, np.ndarray) and column.kind == "numeric":
        return cells.values
    if column.kind == "numeric":
        return _numbers_in_text(cells, column) if cells.is_text else _numbers(cells, column)
    return _booleans(cells, column)


def _numbers(cells: Cells, column: InputColumn) -> Codes:
    values = cells.values
    if column.null_values:
        values = [None if isinstance(each, str) and trim(each) in column.null_values else each for each in values]
    if not set(map(type, values)) <= _NUMBERS:
        i = next(i for i, value in enumerate(values) if type(value) not in _NUMBERS)
        _refuse(cells, i, column, "a number or null")
    codes = np.array(values, dtype=np.float64)  # None becomes NaN
    if np.isinf(codes).any():
        refuse(cells.pointer_to(int(np.isinf(codes).argmax())), f"column {column.name[:128]!r} {_TOO_LARGE}")
    return codes


def _numbers_in_text(cells: Cells, column: InputColumn) -> Codes:
    values = cells.values
    try:
        if _NOT_A_NUMBER.search("\n".join(values)):
            raise ValueError  # `float` also takes nan, 1_0 and other digits
        codes = np.array([float(text) if text else np.nan for text in values])
    except ValueError:
        codes = np.array([_number_in_text(cells, i, column) for i in range(len(values))])
    if np.isinf(codes).any():
        refuse(cells.pointer_to(int(np.isinf(codes).argmax())), f"column {column.name[:128]!r} {_TOO_LARGE}")
    return codes


def _number_in_text(cells: Cells, index: int, column: InputColumn) -> float:
    text = trim(cells.values[index])
    if not text or is_null_spelling(text) or text in column.null_values:
        return np.nan
    try:
        if not _NOT_A_NUMBER.search(text):
            return float(text)
    except ValueError:
        pass
    _refuse(cells, index, column, "a number or empty")


def _booleans(cells: Cells, column: InputColumn) -> Codes:
    values = cells.values
    if set(map(type, values)) <= _BOOLEANS:
        return np.array(values, dtype=np.float64)
    codes = np.empty(len(values))
    for i, value in enumerate(values):
        boolean = boolean_of(value)
        is_missing = value is None or (isinstance(value, str) and trim(value) in column.null_values)
        if cells.is_text and boolean is None:
            text = trim(value)
            is_missing = is_missing or not text or is_null_spelling(text)
        if boolean is None and not is_missing:
            _refuse(cells, i, column, "true, false or null")
        codes[i] = np.nan if boolean is None else boolean
    return codes


def _categories(cells: Cells, column: InputColumn) -> Codes:
    values = cells.values.tolist() if isinstance(cells.values, np.ndarray) else cells.values
    types = set(map(type, values))
    if not types <= _SCALARS:
        i = next(i for i, value in enumerate(values) if type(value) not in _SCALARS)
        _refuse(cells, i, column, "text, a number, true, false or null")
    if not types <= _TEXTS:
        values = [value if type(value) is str else _category(cells, i, column) for i, value in enumerate(values)]
    code_of = column.codes.get
    codes = np.array([code_of(value, UNKNOWN) for value in values])
    others: dict[str, float] = {}  # of texts that are not written like a level, but may stand for one
    for i in np.flatnonzero(codes == UNKNOWN).tolist():
        text = values[i]
        if text not in others:
            category = canonical_category(text)
            is_missing = category is None or category in column.null_values
            code = None if category is None else column.levels.code(category)
            others[text] = np.nan if is_missing else UNKNOWN if code is None else code
        codes[i] = others[text]
    return codes


def _category(cells: Cells, index: int, column: InputColumn) -> str | None:
    try:
        return canonical_category(cells.values[index])
    except ValueError:
        refuse(cells.pointer_to(index), f"column {column.name[:128]!r} {_TOO_LARGE}")


def _refuse(cells: Cells, index: int, column: InputColumn, expected: str) -> NoReturn:
    detail = f"column {column.name[:128]!r} must be {expected}, not {shown(cells.values[index])}"
    refuse(cells.pointer_to(index), detail)


def shown(value: Any) -> str:
    """Return a cell for a message, cut short."""
    match value:
        case str():
            return repr(value[:40])
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)[:40]
    return json_type(value)
