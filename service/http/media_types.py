"""The media types in the headers of a request: the type of its body, and the types it accepts."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from werkzeug.http import parse_options_header

from service.http.errors import NotAcceptableError
from service.http.wire import HttpRequest

PROBLEM = "application/problem+json"
JSON = "application/json"

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_RANGE = re.compile(r"([^\s/;]+)/([^\s/;]+)|\*")
_QUALITY = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}")


class _Range(NamedTuple):
    """One media range of an Accept header."""

    kind: str
    subtype: str
    quality: float

    def specificity(self, kind: str, subtype: str) -> int:
        """Return 2 for the very type, 1 for `kind/*`, 0 for `*/*`, -1 if the range does not hold the type."""
        if self.kind == "*":
            return 0 if self.subtype == "*" else -1
        if self.kind != kind or self.subtype not in ("*", subtype):
            return -1
        return 1 if self.subtype == "*" else 2


def body_type(request: HttpRequest) -> tuple[str, Mapping[str, str]]:
    """Return the media type of the body and its parameters; JSON when there is no Content-Type."""
    name, parameters = parse_options_header(request.content_type.decode("latin-1"))
    name = name.lower()
    return JSON if name == "" or name.endswith("+json") else name, parameters


def answer_type(accept: bytes, possible: Sequence[str]) -> str:
    """Return the media type that the client prefers, the first one on a tie.

    Only the type and its quality count: `application/json; charset=utf-8` is `application/json`. Parts of the header
    that are no media ranges are ignored; `*`, which older Java sends, stands for `*/*`.

    Raises:
        NotAcceptableError: the client accepts none of them.
    """
    ranges = _ranges(accept.decode("latin-1").lower())
    if not ranges:
        return possible[0]
    best = max(possible, key=lambda name: _quality(name, ranges))
    if _quality(best, ranges) > 0:
        return best
    if _quality(PROBLEM, ranges) > 0:
        return possible[0]  # the client wants errors alone, and gets them
    names = dict.fromkeys((*possible, PROBLEM))
    raise NotAcceptableError(f"the answer can only be {' or '.join(names)}")


def _ranges(accept: str) -> list[_Range]:
    ranges = []
    for part in _QUOTED.sub("", accept).split(","):
        name, *parameters = (text.strip() for text in part.split(";"))
        match = _RANGE.fullmatch(name)
        quality = 1.0
        for parameter in parameters:
            key, _, value = (text.strip() for text in parameter.partition("="))
            if key == "q":
                if not _QUALITY.fullmatch(value):
                    match = None
                    break
                quality = min(float(value), 1.0)
        if match is not None:
            ranges.append(_Range(match[1] or "*", match[2] or "*", quality))
    return ranges


def _quality(name: str, ranges: Sequence[_Range]) -> float:
    """Return the quality that the most specific range gives to a media type (RFC 9110, section 12.5.1)."""
    kind, _, subtype = name.partition("/")
    best = max(ranges, key=lambda each: (each.specificity(kind, subtype), each.quality))
    return best.quality if best.specificity(kind, subtype) >= 0 else 0.0
