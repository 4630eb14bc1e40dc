"""CSV: lines of numbers with commas between them, with or without a line of names."""

import csv
import io
import re
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from service.http.errors import UnsupportedMediaTypeError
from service.http.parsing import check_n_instances, refuse
from service.predict.formats.format import SMALL_TEXT_BYTES, Format, in_order, output_names, require_finite
from service.predict.instances import Instances, Matrix
from service.settings import Limits

_HAS_NAMES = {"": None, "present": True, "absent": False}
_NOT_NUMBERS = re.compile(r"[^0-9eE+.,\- \n]")


def read(body: bytes, names: Sequence[str], limits: Limits, parameters: Mapping[str, str]) -> Instances:
    """Read one instance from each line.

    Args:
        parameters: `header=present` or `header=absent`; without it the first line holds names unless all of it is
            numbers. `charset` must be UTF-8 or ASCII.

    Raises:
        UnsupportedMediaTypeError: a parameter has another value.
        InvalidRequestError, WrongDimensionError: the body is not a table of numbers for these features.
    """
    charset, header = (parameters.get(name, "").lower() for name in ("charset", "header"))
    if charset not in ("", "utf-8", "us-ascii") or header not in _HAS_NAMES:
        raise UnsupportedMediaTypeError("text/csv must be in utf-8, and its header parameter present or absent")
    try:
        text = body.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError as error:
        refuse("", f"must be UTF-8: {error}")
    columns, text = _split_names(text, has_names=_HAS_NAMES[header])
    check_n_instances(text.count("\n") + 1 if text else 0, "", limits)
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


def _split_names(text: str, *, has_names: bool | None) -> tuple[list[str] | None, str]:
    """Return the names of the columns, if there are any, and the lines of numbers."""
    first, _, rest = text.partition("\n")
    if has_names is None:
        has_names = not all(map(_is_number, first.split(",")))
    if not has_names:
        return None, text
    try:
        return next(csv.reader([first], strict=True), []), rest
    except csv.Error as error:
        refuse("/0", f"must be a line of CSV: {error}")


def _numbers(text: str) -> Matrix:
    is_plain = not _NOT_NUMBERS.search(text)
    width = text.partition("\n")[0].count(",") + 1
    values = array("d")  # filled line by line: the text of a number takes several times the memory of the number
    for i, line in enumerate(text.split("\n")):
        row = line.split(",")
        if len(row) != width:
            refuse(f"/{i}", f"expected {width} values as in the first line, got {len(row)}")
        try:
            if not is_plain:
                raise ValueError
            values.extend(map(float, row))
        except ValueError:
            for j, field in enumerate(row):
                if not _is_number(field):
                    refuse(f"/{i}/{j}", f"must be a number, not {field[:40]!r}")
            values.extend(map(float, row))
    return np.array(values).reshape(-1, width)


def _is_number(field: str) -> bool:
    """Tell whether the text is a decimal number. Python's `float` also takes `nan`, `1_0` and other digits."""
    try:
        float(field)
    except ValueError:
        return False
    return _NOT_NUMBERS.search(field) is None
