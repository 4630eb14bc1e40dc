"""A request and its answer as bytes, without a framework: what Flask's threads and the event loop have in common."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import TYPE_CHECKING, TypeAlias

from service.http.caller import ANYONE, Caller
from storage.access.key_text import KEY_PREFIX

if TYPE_CHECKING:
    from service.http.room import Room

JSON = b"application/json"
PROBLEM = b"application/problem+json"

Header: TypeAlias = tuple[bytes, bytes]

RESOURCE_POLICY: Header = (b"cross-origin-resource-policy", b"same-origin")
"""Pages of other origins embed no answer. Where CORS lets them read it, they may."""

SAFE: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    RESOURCE_POLICY,
)
"""What every answer has, whatever made it, so that browsers do nothing with it that was not meant."""

_ALWAYS: tuple[Header, ...] = (*SAFE, (b"cache-control", b"no-cache"))

_REQUEST_ID = re.compile(rf"(?!.*{KEY_PREFIX})[\x21-\x7e]{{1,128}}")
"""No access key, which somebody may send in the wrong header: the id is logged and sent back."""


def _stays() -> bool:
    return False


@dataclass(slots=True)
class HttpRequest:
    """The parts of a request that its answer depends on. A header that was not sent is empty."""

    body: bytes
    request_id: str
    content_type: bytes = b""
    content_encoding: bytes = b""
    accept: bytes = b""
    query: bytes = b""
    """The query string as it was sent, without the `?`."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """All headers, by name in lower case: for those that only one protocol reads."""
    path_values: Mapping[str, str] = field(default_factory=dict)
    """The values of the variables of the path's rule."""
    room: "Room | None" = None
    """What all requests of this process take together; None: nobody counts."""
    is_gone: Callable[[], bool] = _stays
    """Whether the client has gone, as far as it can be known: then nobody needs the answer."""
    caller: Caller = ANYONE
    rule: str = ""
    """The rule that the path matches, in Flask's notation."""
    remote: str = ""
    """The address of whoever connected, for the log."""
    complete_ns: int = field(default_factory=perf_counter_ns)
    """When all of it was here, by the clock of `perf_counter_ns`: what follows, the client waits for."""


@dataclass(slots=True)
class HttpAnswer:
    """An answer without the headers that all answers have."""

    status: int
    media_type: bytes
    body: bytes
    headers: tuple[Header, ...] = ()


def all_headers(answer: HttpAnswer, request_id: str) -> list[Header]:
    """Return all headers of an answer: its own and those that every answer has."""
    return [
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id.encode("latin-1")),
        *_ALWAYS,
        *answer.headers,
    ]


def request_id(given: str) -> str:
    """Return the id that a client gave its request if it is fit for a header and a log, else a new one."""
    if given and _REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"  # no secret; `random` gets another seed in each forked process
