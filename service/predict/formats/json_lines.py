"""JSON lines: one instance, or one answer, in each line."""

import codecs
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service.http.errors import MalformedJsonError
from service.http.json_faults import has_repeated_key
from service.http.parsing import check_n_instances, check_parts, parse_json, refuse_repeated_key
from service.predict.formats.format import SMALL_TEXT_BYTES, Format
from service.predict.formats.json_instances import from_rows
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix
from service.settings import Limits


def read(body: bytes, inputs: Inputs, limits: Limits, _parameters: Mapping[str, str]) -> Instances:
    """Read one instance from each line, in any form that `from_rows` takes. Pointers are `/{line}/...`.

    Raises:
        MalformedJsonError: a line is not JSON.
        InvalidRequestError, WrongDimensionError: the lines are not instances with these features.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    check_parts(body, limits)
    lines = body.rstrip().split(b"\n", limits.max_predict_instances) if body.strip() else []
    check_n_instances(len(lines), "", limits)
    values = [_parse(line, i, limits) for i, line in enumerate(lines)]
    if has_repeated_key(body, values):
        for i, (line, value) in enumerate(zip(lines, values, strict=True)):
            if has_repeated_key(line, value):
                refuse_repeated_key(line, f"/{i}")
    return from_rows(values, "", inputs, limits)


def _parse(line: bytes, index: int, limits: Limits) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        # Takes numbers like 1e999, which are refused later by their place.
        return parse_json(line, limits, pointer=f"/{index}")
    except MalformedJsonError as error:
        raise MalformedJsonError(f"line {index + 1}: {error}", error.faults) from error


def write(outputs: Matrix, predictions: Sequence[Any] | None) -> bytes:
    """Write an object for each instance: `{"outputs": [...], "prediction": ...}`."""
    objects: list[dict[str, Any]] = [{"outputs": row} for row in outputs.tolist()]
    for one, value in zip(objects, predictions or (), strict=False):
        one["prediction"] = value
    return b"\n".join([*map(orjson.dumps, objects), b""])


JSON_LINES = Format(
    "application/jsonlines",
    read,
    write,
    max_bytes_on_loop=SMALL_TEXT_BYTES,
    example='{"features": [0, 1]}\n{"features": [0, 0]}\n',
)
