"""From bytes to checked values: strict JSON, pydantic payloads, and matrices of numbers."""

import codecs
import contextlib
import gc
import json
import math
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn, TypeVar

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from service.http.errors import Fault, InvalidRequestError, MalformedJsonError, WrongDimensionError
from service.http.json_faults import find_constant, find_repeated_key, has_repeated_key
from service.http.payloads import TAG
from service.settings import Limits

Payload = TypeVar("Payload", bound=BaseModel)

_MAX_FAULTS = 20
_MAX_POINTER = 2_000
"""Keys may be as long as a body."""
_LARGE_BODY_BYTES = 1_000_000
_NUMBERS = {int, float}
_CELLS = {str, bool, int, type(None)}
_NOT_FINITE = "must be finite: it is larger than a 64-bit float can hold"
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MEMBER = re.compile(rb'"(?:[^"\\]|\\.)*+"\s*+:', re.DOTALL)

_OUR_WORDS = {
    "extra_forbidden": "there is no such member",
    "finite_number": "must be a finite number",
}
"""In place of pydantic's own, by its type of fault."""


def parse_object(body: bytes, limits: Limits) -> dict[str, Any]:
    """Parse a JSON object, as strictly as `parse_json`.

    Raises:
        MalformedJsonError: the body is not a JSON object.
        InvalidRequestError: it holds too many arrays and objects.
    """
    value = parse_json(body, limits)
    if not isinstance(value, dict):
        raise MalformedJsonError(f"the body must be a JSON object, not {json_type(value)}")
    return value


def parse_json(body: bytes, limits: Limits, *, pointer: str = "") -> Any:
    """Parse JSON strictly: no NaN or Infinity, no key twice, valid UTF-8, at most about 1,000 levels of nesting.

    A byte order mark, which Windows tools put first, is skipped.

    Args:
        pointer: where the value is in the request, for errors.

    Raises:
        MalformedJsonError: the body is not such JSON.
        InvalidRequestError: it holds too many parts, or an object has a key twice.
    """
    check_parts(body, limits)
    try:
        if len(body) < _LARGE_BODY_BYTES:
            value = orjson.loads(body)
        else:
            with _alone():
                value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if body.startswith(codecs.BOM_UTF8) and not body.startswith(2 * codecs.BOM_UTF8):
            return parse_json(body.removeprefix(codecs.BOM_UTF8), limits, pointer=pointer)
        if "infinity" not in error.msg:
            raise _malformed(body, error, pointer) from error
        value = _parse_with_infinities(body, pointer)
    if has_repeated_key(body, value):
        refuse_repeated_key(body, pointer)
    return value


def refuse_repeated_key(body: bytes, pointer: str) -> NoReturn:
    """Raise the error for a body in which an object has a key twice."""
    path = find_repeated_key(body).path
    refuse(pointer + pointer_to(path)[:_MAX_POINTER], "occurs twice in this object" if path else "has a key twice")


def _malformed(body: bytes, error: Exception, pointer: str) -> MalformedJsonError:
    """Return the error for a body that is not JSON, with the place of a NaN if that is what is wrong."""
    found = find_constant(body)
    if found is None:
        return MalformedJsonError(f"the body is not valid JSON: {error}")
    at, detail = pointer + pointer_to(found.path)[:_MAX_POINTER], f"{found.constant} is not a JSON number"
    return MalformedJsonError(f"the body is not valid JSON: {detail} (at {at or 'the top'})", [Fault(at, detail)])


def check_parts(body: bytes, limits: Limits) -> None:
    """Refuse JSON with so many parts that reading them would take too much memory, and time in which nobody else runs.

    Commas and quotation marks inside of strings count, too: no valid request has so many.

    Raises:
        InvalidRequestError: it holds too many.
    """
    for limit, what, n in (
        (limits.max_brackets, "arrays and objects", body.count(b"[") + body.count(b"{")),
        (limits.max_values, "values", body.count(b",")),
        (2 * limits.max_values, "quotation marks", body.count(b'"')),
    ):
        if n > limit:
            refuse("", f"must hold at most {limit} {what} (MAX_INLINE_VALUES), not {n}")
    if body.count(b":") > limits.max_members:
        n_members = sum(1 for _ in islice(_MEMBER.finditer(body), limits.max_members + 1))
        if n_members > limits.max_members:
            refuse("", f"must hold at most {limits.max_members} members of objects (MAX_INLINE_VALUES)")


_large_body = threading.Lock()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Parse one large body at a time, with the garbage collector off: it would walk the growing result repeatedly."""
    with _large_body:
        gc.disable()
        try:
            yield
        finally:
            gc.enable()


def _parse_with_infinities(body: bytes, pointer: str) -> Any:
    """Parse a body with numbers like 1e999, which are valid JSON; a later check names the member that holds one."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    try:
        value = json.loads(body, parse_constant=refuse, parse_int=_int_or_infinity)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode()  # half of a pair of surrogates is no text
    except (ValueError, RecursionError) as error:
        raise _malformed(body, error, pointer) from error
    return value


def _int_or_infinity(digits: str) -> int | float:
    return int(digits) if len(digits) < 300 else float(digits)


def parse_payload(payload: type[Payload], body: bytes, limits: Limits) -> Payload:
    """Parse a JSON object into a payload.

    Raises:
        MalformedJsonError: the body is not a JSON object.
        InvalidRequestError: it does not fit the payload.
    """
    try:
        return payload.model_validate(parse_object(body, limits))
    except ValidationError as error:
        raise invalid_request(error) from error


def invalid_request(error: ValidationError) -> InvalidRequestError:
    """Turn what pydantic found into faults with JSON pointers."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return InvalidRequestError(
        [
            Fault(pointer_to(_without_key_mark(fault["loc"])), _OUR_WORDS.get(fault["type"], fault["msg"]))
            for fault in found[:_MAX_FAULTS]
        ]
    )


def _without_key_mark(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Drop `[key]`, which pydantic adds when the name of a member is invalid: it is no place in the body."""
    return location[:-1] if location[-1:] == ("[key]",) and len(location) > 2 else location


def pointer_to(location: Sequence[object]) -> str:
    """Return the JSON pointer (RFC 6901) for a path of names and indices."""
    texts = (str(part) for part in location)
    parts = (text.replace("~", "~0").replace("/", "~1") for text in texts if not text.startswith(TAG))
    return "".join(f"/{part}" for part in parts)


def parse_matrix(
    rows: Sequence[Any],
    pointer: str,
    *,
    n_columns: int | None = None,
    names: Sequence[str] | None = None,
    inside: str = "",
) -> NDArray[np.float64]:
    """Turn rows of finite JSON numbers into an array (n_rows, n_columns).

    Args:
        pointer: where the rows are in the body, for errors.
        n_columns: how many numbers a model needs in each row; by default as many as the first row has.
        names: the names of the columns; with them, a row may also be an object from name to number.
        inside: the part of a pointer between a row's index and its numbers, for errors.

    Raises:
        WrongDimensionError: a row does not have `n_columns` numbers.
        InvalidRequestError: a row has another length than the first, or holds something else than finite numbers.
    """
    by_name = names if rows and isinstance(rows[0], dict) else None
    if by_name is not None:
        rows = [by_feature(row, by_name, f"{pointer}/{i}") for i, row in enumerate(rows)]
    width = n_columns if n_columns is not None else (len(rows[0]) if rows and isinstance(rows[0], list) else 0)
    columns = by_name or range(width)
    for i, row in enumerate(rows):
        if type(row) is not list:
            expected = "a list of numbers" if names is None else "a list of numbers, or all of them objects"
            refuse(f"{pointer}/{i}{inside}", f"must be {expected}, not {json_type(row)}")
        if len(row) != width:
            fault = Fault(f"{pointer}/{i}{inside}", f"expected {width} values, got {len(row)}")
            raise WrongDimensionError([fault]) if n_columns is not None else InvalidRequestError([fault])
        if not set(map(type, row)) <= _NUMBERS:
            j = next(j for j, value in enumerate(row) if type(value) not in _NUMBERS)
            refuse(f"{pointer}/{i}{inside}{pointer_to([columns[j]])}", f"must be a number, not {json_type(row[j])}")
    if width == 0:
        refuse(pointer if not rows else f"{pointer}/0{inside}", "must not be empty")
    matrix = np.array(rows, dtype=np.float64)
    _require_finite(matrix, lambda at: f"{pointer}/{at // width}{inside}{pointer_to([columns[at % width]])}")
    return matrix


def parse_vector(values: Sequence[Any], pointer: str) -> NDArray[np.float64]:
    """Turn finite JSON numbers into an array (n,).

    Raises:
        InvalidRequestError: one of them is not a finite number.
    """
    if not set(map(type, values)) <= _NUMBERS:
        i = next(i for i, value in enumerate(values) if type(value) not in _NUMBERS)
        refuse(f"{pointer}/{i}", f"must be a number, not {json_type(values[i])}")
    vector = np.array(values, dtype=np.float64)
    _require_finite(vector, lambda position: f"{pointer}/{position}")
    return vector


def check_cells(cells: Iterable[Any], place: Callable[[int], str]) -> None:
    """Check that every cell is a text, a finite number, a boolean or null.

    Args:
        place: gives the pointer to a cell by its index.

    Raises:
        InvalidRequestError: one is something else.
    """
    for k, cell in enumerate(cells):
        if type(cell) in _CELLS or (type(cell) is float and math.isfinite(cell)):
            continue
        if isinstance(cell, float):
            refuse(place(k), _NOT_FINITE)
        refuse(place(k), f"must be a number, a text, a boolean or null, not {json_type(cell)}")


def by_feature(row: Any, names: Sequence[str], pointer: str) -> list[Any]:
    """Return the values of an object by feature name, in the order of the features.

    Raises:
        InvalidRequestError: the row is not an object, lacks a feature, or has one that the model has not.
    """
    if type(row) is not dict:
        refuse(pointer, f"must be an object like the first instance, not {json_type(row)}")
    try:
        ordered = [row[name] for name in names]
    except KeyError as error:
        refuse(f"{pointer}{pointer_to(error.args)}", "Field required")
    if len(row) > len(names):
        unknown = next(name for name in row if name not in names)
        refuse(f"{pointer}{pointer_to([unknown])}", "the model has no such feature")
    return ordered


def _require_finite(array: NDArray[np.float64], pointer_of: Callable[[int], str]) -> None:
    if np.isfinite(array).all():
        return
    position = int(np.flatnonzero(~np.isfinite(array))[0])
    refuse(pointer_of(position), _NOT_FINITE)


def check_n_instances(n_instances: int, pointer: str, limits: Limits) -> None:
    """Refuse a request with no instances or too many.

    Raises:
        InvalidRequestError: their number is outside the limits.
    """
    if not 1 <= n_instances <= limits.max_predict_instances:
        most = limits.max_predict_instances
        refuse(pointer, f"must hold 1 to {most} instances (MAX_PREDICT_INSTANCES), not {n_instances}")


def refuse_width(pointer: str, expected: int, actual: int) -> NoReturn:
    """Raise the error for an instance with the wrong number of features."""
    raise WrongDimensionError([Fault(pointer, f"expected {expected} values, got {actual}")])


def refuse(pointer: str, detail: str) -> NoReturn:
    """Raise the error that says what is wrong at one place of the body."""
    raise InvalidRequestError([Fault(pointer, detail)])


def json_type(value: object) -> str:
    """Return the JSON type of a parsed value, with its article."""
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case dict():
            return "an object"
    return "null"
