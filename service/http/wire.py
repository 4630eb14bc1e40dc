"""A request and its answer as bytes, without a framework: what Flask's threads and the event loop have in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

JSON = b"application/json"
PROBLEM = b"application/problem+json"

Header: TypeAlias = tuple[bytes, bytes]


@dataclass(slots=True)
class HttpRequest:
    """What of a request decides its answer. A header that was not sent is empty."""

    body: bytes
    request_id: str
    content_type: bytes = b""
    content_encoding: bytes = b""
    accept: bytes = b""
    query: bytes = b""
    """What stands after the `?`, as it was sent."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """All of them, by name in lower case: for what only one protocol asks for."""
    path_values: Mapping[str, str] = field(default_factory=dict)
    """What the path has for the variables of its rule."""


class HttpAnswer(NamedTuple):
    """What goes back, apart from the headers that every answer has."""

    status: int
    media_type: bytes
    body: bytes
    headers: tuple[Header, ...] = ()


def all_headers(answer: HttpAnswer, request_id: str) -> list[Header]:
    """Return the headers of an answer, those that every answer has among them."""
    return [
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id.encode("latin-1")),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-cache"),
        *answer.headers,
    ]
