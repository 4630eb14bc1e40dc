"""Two faults of JSON that parsers let pass or do not place: a key that occurs twice, and NaN or Infinity."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

_TOKEN = re.compile(
    rb"""\s*+(?:
        (?P<rows>(?:\[[-+.0-9e\s,]*+\]\s*+,\s*+)++)   # whole lists of numbers at once, for large matrices
        | (?P<numbers>(?:[-+.0-9e]++\s*+,\s*+)++)
        | (?P<string>"(?:[^"\\]|\\.)*+")\s*+(?P<colon>:?)
        | (?P<constant>[-+]?(?:nan|inf(?:inity)?)\b)
        | (?P<mark>[][{},])
        | [-+.0-9e]++ | true | false | null
    )""",
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_COLON_AFTER_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"\s*+(:?)', re.DOTALL)

_MAX_DEPTH = 1_024
"""No parser here goes deeper."""
_MAX_TOKENS = 500_000
"""About half a second. A run of numbers, or of lists of numbers, is one token."""


class JsonFault(NamedTuple):
    """A fault, and the way to it: the keys and indices from the outside in."""

    path: tuple[str | int, ...]
    constant: str | None
    """NaN, Infinity or the like as it was written; None for a key that occurs twice."""


def has_repeated_key(body: bytes, value: Any) -> bool:
    """Tell whether a key occurs twice in one object of a valid body.

    Parsers keep the last of two values. That leaves fewer members than the body has colons outside of strings.

    Args:
        value: what a parser made of the body.
    """
    n_colons = body.count(b":")
    if _n_members(value, n_colons) == n_colons:
        return False
    n_colons = _COLON_AFTER_STRING.findall(body).count(b":")  # without those inside strings
    return _n_members(value, n_colons) != n_colons


def find_repeated_key(body: bytes) -> JsonFault:
    """Return the key that occurs twice in one object; without a path if it is far in."""
    return next((each for each in _faults(body) if each.constant is None), JsonFault((), None))


def find_constant(body: bytes) -> JsonFault | None:
    """Return the first NaN or Infinity of an invalid body; None if there is none before another fault or far in."""
    return next((each for each in _faults(body) if each.constant is not None), None)


def _n_members(value: Any, at_most: int) -> int:
    """Count the members of all objects in a value, level by level, until there are enough."""
    n_members, level = 0, [value]
    while level:
        inside: list[Any] = []
        for each in level:
            if type(each) is dict:
                n_members += len(each)
                inside.append(each.values())
            elif type(each) is list:
                inside.append(each)
        if n_members >= at_most:
            break
        level = [each for values in inside for each in values if type(each) is dict or type(each) is list]
    return n_members


def _faults(body: bytes) -> Iterator[JsonFault]:
    """Yield the faults of a body in order, up to its first invalid token."""
    path: list[str | int] = []
    keys_seen: list[set[str] | None] = []  # of each object on the path; None for a list
    at = 0
    for _ in range(_MAX_TOKENS):
        if (token := _TOKEN.match(body, at)) is None:
            return
        at = token.end()
        is_in_list = bool(keys_seen) and keys_seen[-1] is None
        if (run := token["rows"] or token["numbers"]) is not None:
            if is_in_list:
                path[-1] += run.count(b"[") or run.count(b",")  # type: ignore[operator]  # an index
        elif token["constant"] is not None:
            yield JsonFault(tuple(path), token["constant"].decode())
        elif token["colon"]:
            if not keys_seen or (seen := keys_seen[-1]) is None:
                return
            try:
                path[-1] = key = orjson.loads(token["string"])
            except orjson.JSONDecodeError:
                return
            if key in seen:
                yield JsonFault(tuple(path), None)
            seen.add(key)
        elif (mark := token["mark"]) in (b"[", b"{"):
            if len(path) == _MAX_DEPTH:
                return
            path.append(0 if mark == b"[" else "")
            keys_seen.append(None if mark == b"[" else set())
        elif mark in (b"]", b"}"):
            if not path:
                return
            path.pop(), keys_seen.pop()
        elif mark == b"," and is_in_list:
            path[-1] += 1  # type: ignore[operator]
