"""gzip and deflate, for bodies and answers."""

import zlib

from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

from service.http.errors import BadRequestError, BodyTooLargeError, UnsupportedMediaTypeError
from service.http.wire import Header
from service.settings import Limits

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_WINDOWS = {"gzip": _GZIP_WINDOW, "deflate": zlib.MAX_WBITS}
"""RFC 9110: deflate means the zlib format (RFC 1950), not the bare stream."""

_WORTH_BYTES = 1_024
"""Shorter answers fit in one packet anyway."""

_FAST = 1


def inflate(body: bytes, encoding: bytes, limits: Limits) -> bytes:
    """Undo the Content-Encoding of a body, without ever holding more bytes than the limit allows.

    Raises:
        UnsupportedMediaTypeError: the encoding is not gzip, deflate or identity.
        BadRequestError: the body is not in this encoding, or something follows it.
        BodyTooLargeError: the decoded body is too long.
    """
    name = encoding.decode("latin-1").strip().lower()
    if name in ("", "identity"):
        return body
    if name not in _WINDOWS:
        raise UnsupportedMediaTypeError(f"the Content-Encoding must be gzip or deflate, not {name}")
    inflater = zlib.decompressobj(_WINDOWS[name])
    try:
        inflated = inflater.decompress(body, limits.max_body_bytes + 1)
    except zlib.error as error:
        raise BadRequestError(f"the body is not valid {name}: {error}") from error
    if len(inflated) > limits.max_body_bytes:
        raise BodyTooLargeError(f"the decoded body may have {limits.max_body_bytes} bytes (MAX_BODY_BYTES)")
    if not inflater.eof or inflater.unused_data:
        raise BadRequestError(f"the body is not valid {name}: it is cut off, or something follows it")
    return inflated


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
