"""The head of a request, parsed once for all requests that begin with the same bytes."""

from collections.abc import Mapping
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

END = b"\r\n\r\n"


class PlainHead(NamedTuple):
    """The head of a POST of HTTP/1.1 with nothing unusual: the body follows, has a length, and the connection stays."""

    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    """By name in lower case."""
    n_body_bytes: int
    """At least 1."""


class _Collector:
    """What the parser calls back."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.is_complete = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.is_complete = True

    def on_body(self, body: bytes) -> None:
        self.is_complete = False  # the head ended before

    def on_message_complete(self) -> None:
        self.is_complete = False  # there is no body


def parse_plain_head(head: bytes) -> PlainHead | None:
    """Parse a head, its empty line included; None if it is unusual in any way."""
    found = _Collector()
    parser = HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except (HttpParserError, HttpParserUpgrade):
        return None
    if not found.is_complete or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
        return None
    if parser.should_upgrade() or not parser.should_keep_alive():
        return None
    headers = dict(found.headers)
    if len(headers) != len(found.headers) or b"transfer-encoding" in headers or b"expect" in headers:
        return None
    path, _, query = found.url.partition(b"?")
    if not path.startswith(b"/") or b"%" in path or b"#" in found.url or not path.isascii():
        return None
    length = int(headers.get(b"content-length", 0))  # httptools has checked the number
    return PlainHead(path.decode("ascii"), query, headers, length) if length else None
