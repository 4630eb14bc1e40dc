"""gzip and deflate, for bodies and answers."""

import zlib
from dataclasses import replace

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from service.http.errors import BadRequestError, BodyTooLargeError, UnsupportedEncodingError
from service.http.wire import Header, HttpRequest
from service.settings import Limits

_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""RFC 9110: deflate means the zlib format (RFC 1950)."""

_BARE_WINDOW = -zlib.MAX_WBITS
"""The bare deflate stream (RFC 1951), which some clients send as deflate."""

_MAX_CODINGS = 3
_MAX_MEMBERS = 64
"""A gzip file may be several files, one after the other (RFC 1952). Each one costs a copy of those that follow."""

_WORTH_BYTES = 1_024
"""Shorter answers fit in one packet anyway."""

_FAST = 1


def decoded(http: HttpRequest, limits: Limits) -> HttpRequest:
    """Return a request whose body has no Content-Encoding any more.

    Raises:
        UnsupportedEncodingError: a coding is not gzip, deflate or identity.
        BadRequestError: the body is not in its coding, or something follows it.
        BodyTooLargeError: the decoded body is too long.
    """
    if not http.content_encoding:
        return http
    given = [name.strip().lower() for name in http.content_encoding.decode("latin-1").split(",")]
    codings = [name.removeprefix("x-") for name in given if name not in ("", "identity")]
    unknown = next((name for name in codings if name not in _WINDOWS), None)
    if unknown is not None:
        raise UnsupportedEncodingError(f"the Content-Encoding must be gzip or deflate, not {unknown[:64]}")
    if len(codings) > _MAX_CODINGS:
        raise UnsupportedEncodingError(f"the body may have at most {_MAX_CODINGS} codings, not {len(codings)}")
    body = http.body
    for name in reversed(codings):
        body = _inflate(body, name, limits.max_body_bytes)
    return replace(http, body=body, content_encoding=b"")


def _inflate(body: bytes, name: str, max_bytes: int) -> bytes:
    """Undo one coding, without ever holding more bytes than the limit allows."""
    window = _WINDOWS[name]
    if name == "deflate" and not _has_zlib_header(body):
        window = _BARE_WINDOW
    parts: list[bytes] = []
    n_left = max_bytes
    for _ in range(_MAX_MEMBERS):
        inflater = zlib.decompressobj(window)
        try:
            parts.append(inflater.decompress(body, n_left + 1))
        except zlib.error as error:
            raise BadRequestError(f"the body is not valid {name}: {error}") from error
        n_left -= len(parts[-1])
        if n_left < 0:
            raise BodyTooLargeError(f"the decoded body may have {max_bytes} bytes (MAX_BODY_BYTES)")
        body = inflater.unused_data
        if not inflater.eof:
            raise BadRequestError(f"the body is not valid {name}: it is cut off")
        if not body:
            return b"".join(parts)
        if name != "gzip":
            break
    raise BadRequestError(f"the body is not valid {name}: something follows it")


def _has_zlib_header(body: bytes) -> bool:
    """Tell whether the first two bytes are those of RFC 1950: compression method 8, and a check sum modulo 31."""
    return body[:1] != b"" and body[0] & 0x0F == 8 and int.from_bytes(body[:2], "big") % 31 == 0


def deflate(body: bytes, accepted: bytes) -> tuple[bytes, tuple[Header, ...]]:
    """Return a body in the coding that the client prefers, if that saves bytes, and the headers to send with it."""
    if len(body) < _WORTH_BYTES or not (b"gzip" in accepted or b"deflate" in accepted):
        return body, ()
    name = parse_accept_header(accepted.decode("latin-1"), Accept).best_match(list(_WINDOWS))
    if name is None:
        return body, ()
    deflater = zlib.compressobj(_FAST, wbits=_WINDOWS[name])
    deflated = deflater.compress(body) + deflater.flush()
    return deflated, ((b"content-encoding", name.encode()), (b"vary", b"accept-encoding"))
