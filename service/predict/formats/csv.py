"""CSV (RFC 4180): lines of values with commas between them, with or without a line of names."""

import csv
import io
import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.http.errors import Fault, UnsupportedMediaTypeError, WrongDimensionError
from service.http.parsing import check_n_instances, pointer_to, refuse
from service.predict.columns.json_rows import in_columns
from service.predict.columns.table import ExtraNames, match_names
from service.predict.formats.format import SMALL_TEXT_BYTES, Format, in_order, output_names, require_finite
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix
from service.settings import Limits

_HAS_NAMES = {"": None, "present": True, "absent": False}
_CHARSETS = {"", "utf-8", "utf8", "us-ascii", "ascii"}
_NOT_NUMBERS = re.compile(r"[^0-9eE+.,\- \n]")
_MISSING = {"", "nan", "na", "n/a", "null", "none", "inf", "-inf", "+inf", "infinity", "-infinity"}
"""What stands for no number in other programs' tables, in lower case. It is an error here, but no name."""
_SEPARATORS = re.compile(r"[;\t|]")
_COMMAS_NEEDED = "separate columns by commas, and write decimals with a point"


def read(body: bytes, inputs: Inputs, limits: Limits, parameters: Mapping[str, str]) -> Instances:
    """Read one instance from each line, as RFC 4180 and spreadsheets write them: blank lines may follow the last one.

    Args:
        parameters: `header=present` or `header=absent`; without it the first line holds names if it looks so (see
            `_looks_like_names`). `charset` must be UTF-8 or ASCII.

    Raises:
        UnsupportedMediaTypeError: a parameter has another value.
        InvalidRequestError, WrongDimensionError: the body is not a table for this model.
    """
    names = inputs.names
    charset, header = (parameters.get(name, "").lower() for name in ("charset", "header"))
    if charset not in _CHARSETS or header not in _HAS_NAMES:
        raise UnsupportedMediaTypeError("text/csv must be in utf-8, and its header parameter present or absent")
    try:
        text = body.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").rstrip(" \n")
    except UnicodeDecodeError as error:
        refuse("", f"must be UTF-8: {error}")
    columns, text = _split_names(text, inputs, has_names=_HAS_NAMES[header])
    check_n_instances(text.count("\n") + 1 if text else 0, "", limits)
    if inputs.encoder is not None:
        return _cells(text, columns, inputs)
    matrix = _numbers(text)
    require_finite(matrix)
    return in_order(matrix, columns, names)


def write(outputs: Matrix, predictions: Sequence[Any] | None) -> bytes:
    """Write a line of names, then for each instance its outputs and its prediction."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names, rows = output_names(outputs.shape[1]), outputs.tolist()
    if predictions is not None:
        names, rows = [*names, "prediction"], [[*row, one] for row, one in zip(rows, predictions, strict=True)]
    writer.writerow(names)
    writer.writerows(rows)
    return file.getvalue().encode()


CSV = Format("text/csv", read, write, max_bytes_on_loop=SMALL_TEXT_BYTES, example="x0,x1\n0,1\n0,0\n")


def _records(text: str) -> Iterator[list[str]]:
    """Yield the cells of each line. Only quotes need the reader of CSV, which is slower."""
    if '"' in text:
        return csv.reader(io.StringIO(text), strict=True, skipinitialspace=True)
    return (line.split(",") for line in text.split("\n"))


def _split_names(text: str, inputs: Inputs, *, has_names: bool | None) -> tuple[list[str] | None, str]:
    """Return the names of the columns, if there are any, and the lines of values."""
    names = inputs.names
    try:
        first = next(_records(text if '"' in text else text.partition("\n")[0]), [])
    except csv.Error as error:
        refuse("/0", f"must be a line of CSV: {error}")
    # Rows of a table may have other columns, and text with such marks: only a line without a comma is suspect.
    is_other_width = len(first) != len(names) and (inputs.encoder is None or len(first) == 1)
    if is_other_width and any(map(_SEPARATORS.search, first)):
        refuse("", f"expected {len(names)} columns, got {len(first)}: {_COMMAS_NEEDED}")
    if has_names is None:
        has_names = _looks_like_names(first, inputs)
    if not has_names:
        return None, text
    columns = first if set(first) == set(names) else [name.strip() for name in first]
    n_lines = 1 + sum(name.count("\n") for name in first)  # a name may contain a line break
    return columns, "".join(text.split("\n", n_lines)[n_lines:])


def _looks_like_names(first: Sequence[str], inputs: Inputs) -> bool:
    """Tell whether the first line is a header: a cell is a feature's name, or none is a number and one is a text.

    A row of a table may have text and no number, so there only the name of a column is a sign.
    """
    if all(_is_number(cell) or cell.strip().lower() in _MISSING for cell in first):
        return False
    known = {*inputs.names, inputs.target}
    if any(cell.strip() in known for cell in first):
        return True
    return inputs.encoder is None and not any(map(_is_number, first))


def _cells(text: str, given: list[str] | None, inputs: Inputs) -> Instances:
    """Read the cells of a table whose columns have names, or are in the order of the model's."""
    order, extra = list(range(len(inputs.names))), ExtraNames()
    if given is not None:
        order, extra = match_names(given, inputs, "", lambda k: pointer_to([given[k][:128]]))
    width, rows = len(order) if given is None else len(given), []
    try:
        for i, row in enumerate(_records(text)):
            cells = row or [""]  # a line without a comma has one cell, which is empty
            if len(cells) != width:
                raise WrongDimensionError([Fault(f"/{i}", f"expected {width} values, got {len(cells)}")])
            rows.append(cells)
    except csv.Error as error:
        refuse(f"/{len(rows)}", f"must be a line of CSV: {error}")
    columns = list(zip(*rows, strict=True))
    picked = [columns[k] for k in order]
    return in_columns(picked, inputs, "", lambda i, j: f"/{i}/{order[j]}", extra=extra, is_text=True)


def _numbers(text: str) -> Matrix:
    is_plain = not _NOT_NUMBERS.search(text.replace('"', ""))
    width, i = 0, -1
    values = array("d")  # filled line by line: the text of a number takes several times the memory of the number
    try:
        for i, row in enumerate(_records(text)):
            width = width or len(row)
            if len(row) != width:
                refuse(f"/{i}", f"expected {width} values as in the first line, got {len(row)}")
            try:
                if not is_plain:
                    raise ValueError
                values.extend(map(float, row))
            except ValueError:
                for j, cell in enumerate(row):
                    if not _is_number(cell):
                        hint = f": {_COMMAS_NEEDED}" if _SEPARATORS.search(cell) or "," in cell else ""
                        refuse(f"/{i}/{j}", f"must be a number, not {cell[:40]!r}{hint}")
                values.extend(map(float, row))
    except csv.Error as error:
        refuse(f"/{i + 1}", f"must be a line of CSV: {error}")
    return np.array(values).reshape(-1, width)


def _is_number(cell: str) -> bool:
    """Tell whether the text is a decimal number. Python's `float` also takes `nan`, `1_0` and other digits."""
    try:
        float(cell)
    except ValueError:
        return False
    return _NOT_NUMBERS.search(cell) is None
