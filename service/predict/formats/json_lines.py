"""JSON lines: one value in each line."""

from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.http.errors import MalformedJsonError
from service.http.parsing import check_brackets, check_n_instances, parse_json
from service.settings import Limits


def read_json_lines(body: bytes, limits: Limits) -> list[Any]:
    """Return the value of each line. Pointers into them are `/{line}/...`.

    Raises:
        MalformedJsonError: a line is no JSON.
        InvalidRequestError: there are too many.
    """
    check_brackets(body, limits)
    lines = body.rstrip().split(b"\n", limits.max_predict_instances) if body.strip() else []
    check_n_instances(len(lines), "", limits)
    values = []
    for i, line in enumerate(lines):
        try:
            values.append(orjson.loads(line))
        except orjson.JSONDecodeError:  # or a number like 1e999, which is well formed
            try:
                values.append(parse_json(line, limits))
            except MalformedJsonError as error:
                raise MalformedJsonError(f"line {i + 1}: {error}") from error
    return values


def write_json_lines(outputs: NDArray[np.float64]) -> bytes:
    """Write an object for each row, with the member `predictions`."""
    return b"".join(b'{"predictions":%b}\n' % orjson.dumps(row) for row in outputs.tolist())
