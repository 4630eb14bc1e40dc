"""From cells of text to the values that a column takes.

The rules are those of the service for rows of CSV, so a file means the same whoever reads it.
"""

from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from cli.rows.taken import TakenColumn
from storage.datasets.categories import BLANKS, NULL_SPELLINGS, trim

Array = Any
"""pyarrow has no types."""


class BadCellError(Exception):
    """A cell is no value of its column."""

    def __init__(self, row: int, text: str, reason: str) -> None:
        super().__init__(reason)
        self.row = row
        """within its block, from 0"""
        self.text = text
        self.reason = reason


def values_of(cells: Array, column: TakenColumn, decimal: str) -> Array:
    """Return the values of a column of text: numbers, booleans, or texts as they are.

    Raises:
        BadCellError: a cell is no number, or no boolean.
    """
    match column.kind:
        case "numeric":
            return _numbers(cells, column, decimal)
        case "boolean":
            return _booleans(cells, column)
    return cells  # the service removes blanks, and knows what is missing


def _numbers(cells: Array, column: TakenColumn, decimal: str) -> Array:
    try:
        if decimal == ".":
            numbers = cells.cast(pa.float64())
            if pc.all(pc.is_finite(numbers), skip_nulls=False).as_py() or len(numbers) == 0:
                return numbers
    except pa.ArrowInvalid:
        pass  # a missing value, blanks, a decimal comma, or an error
    texts = pc.utf8_trim(cells, BLANKS)
    is_missing = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["", *NULL_SPELLINGS]))
    if column.null_values:
        is_missing = pc.or_(is_missing, pc.is_in(texts, value_set=pa.array(sorted(column.null_values), pa.string())))
    if decimal != ".":
        texts = pc.replace_substring(texts, decimal, ".")
    present = pc.if_else(is_missing, pa.scalar(None, pa.string()), texts)
    try:
        numbers = present.cast(pa.float64())
    except pa.ArrowInvalid:
        _refuse_first(cells, present, f"column {column.name!r} must be a number or empty")
    is_good = pc.fill_null(pc.is_finite(numbers), True)
    if not pc.all(is_good).as_py():
        _refuse(cells, pc.index(is_good, False).as_py(), f"column {column.name!r} must be finite")
    if numbers.null_count and not column.may_be_missing:
        row = pc.index(pc.is_null(numbers), True).as_py()
        _refuse(cells, row, f"column {column.name!r} must be a number: the model was trained without gaps")
    return numbers


def _booleans(cells: Array, column: TakenColumn) -> Array:
    encoded = cells.dictionary_encode()
    values: list[bool | None] = []
    for code, cell in enumerate(encoded.dictionary.to_pylist()):
        text = trim(cell)
        word = text.lower()
        if word in ("true", "false"):
            values.append(word == "true")
        elif not text or word in NULL_SPELLINGS or text in column.null_values:
            values.append(None)
        else:
            row = pc.index(encoded.indices, code).as_py()
            _refuse(cells, row, f"column {column.name!r} must be true, false or empty")
    return pa.array(values, pa.bool_()).take(encoded.indices)


def _refuse_first(cells: Array, texts: Array, reason: str) -> NoReturn:
    """Find the first text that is no number, and refuse it."""
    first, last = 0, len(texts)
    while last - first > 1:  # the first half that fails has it
        middle = (first + last) // 2
        try:
            texts.slice(first, middle - first).cast(pa.float64())
        except pa.ArrowInvalid:
            last = middle
        else:
            first = middle
    _refuse(cells, first, reason)


def _refuse(cells: Array, row: int, reason: str) -> NoReturn:
    text = str(cells[row].as_py() or "")
    raise BadCellError(row, text, f"{reason}, not {text[:40]!r}")
