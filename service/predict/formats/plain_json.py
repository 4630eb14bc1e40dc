"""The JSON bodies of most requests, decoded fast. Every other body is left to the strict parser."""

import re
import threading
from functools import lru_cache
from typing import Annotated, Any, TypeAlias

import msgspec
import numpy as np
import simdjson

from service.predict.instances import Rows
from storage.keys import NAME_PATTERN
from storage.models.versions import MAX_VERSION, ModelReference

_MEMBERS = {"model", "instances", "version", "alias"}
_OPENING_BRACKET = ord("[")
_MAX_REUSE_BYTES = 8_388_608
"""A parser keeps its memory for the next body, which saves a third of the time. Larger bodies get their own parser."""

_MAX_QUOTES = 12
"""Of two or three members, whose values are numbers or names. Many strings would only take time to parse."""

_MAX_NAME_LENGTH = 128

_is_name = re.compile(NAME_PATTERN).fullmatch
_parser = simdjson.Parser()
_parser_lock = threading.Lock()


PlainBody: TypeAlias = tuple[ModelReference, Rows]
"""A version and the instances for it: a matrix, or from a small body lists of numbers that may differ in length."""


_ShortText = Annotated[str, msgspec.Meta(max_length=_MAX_NAME_LENGTH)]


class _Small(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    model: _ShortText
    instances: list[list[float]]
    version: int | None = None
    alias: _ShortText | None = None


_decode = msgspec.json.Decoder(_Small).decode


def decode_small(body: bytes) -> PlainBody | None:
    """Decode a few instances into Python's floats.

    Returns None if the body is invalid or has anything but a model, perhaps a version or alias, and numbers.
    """
    try:
        given = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # msgspec keeps the last of two values with the same key. Their quotes give them away.
    n_quotes = body.count(b'"')
    if n_quotes != 6 and n_quotes != 6 + 2 * (given.version is not None) + 4 * (given.alias is not None):
        return None
    reference = _reference(given.model, given.version, given.alias)
    return None if reference is None else (reference, given.instances)


def decode_large(body: bytes, max_rows: int = 2**63) -> PlainBody | None:
    """Decode many instances into a matrix, without a Python object for each number.

    Returns None as `decode_small`, and if there are more rows than allowed.
    """
    if body.count(b'"') > _MAX_QUOTES or body.count(b"[") > max_rows + 1:
        return None
    if len(body) > _MAX_REUSE_BYTES:
        return _parse_large(body, simdjson.Parser())
    with _parser_lock:
        return _parse_large(body, _parser)


def _parse_large(body: bytes, parser: simdjson.Parser) -> PlainBody | None:
    try:
        document: Any = parser.parse(body)
        names = list(document.keys())
        if len(names) != len(set(names)) or not set(names) <= _MEMBERS:
            return None
        rows = document["instances"]
        (n_columns,) = set(map(len, rows))
        numbers = np.frombuffer(rows.as_buffer(of_type="d"))
        model, version, alias = (document.get(name) for name in ("model", "version", "alias"))
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):
        return None
    # The buffer does not show how the numbers were nested. With one bracket for each row they were not.
    n_brackets = np.count_nonzero(np.frombuffer(body, np.uint8) == _OPENING_BRACKET)
    if n_brackets != len(rows) + 1 or numbers.size != len(rows) * n_columns or n_columns == 0:
        return None
    if type(model) is not str or type(version) not in (int, type(None)) or type(alias) not in (str, type(None)):
        return None
    if max(len(model), len(alias or "")) > _MAX_NAME_LENGTH:
        return None
    reference = _reference(model, version, alias)
    return None if reference is None else (reference, numbers.reshape(-1, n_columns))


@lru_cache(maxsize=1_024)
def _reference(model: str, version: int | None, alias: str | None) -> ModelReference | None:
    """Return a reference if it is valid. The cache saves a microsecond of each request; its texts are short."""
    if not _is_name(model) or (alias is not None and not _is_name(alias)):
        return None
    if version is not None and (alias is not None or not 1 <= version <= MAX_VERSION):
        return None
    return ModelReference(model, version, alias)
