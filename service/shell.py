"""The ASGI shell around the Flask app: it waits for bodies, and says that it is alive whatever the rest does."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from a2wsgi import WSGIMiddleware

from service.errors import problem_body
from service.requests import request_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_ALIVE = orjson.dumps({"status": "alive"})


class Shell:
    """Waits for each body on the event loop and hands the whole request to Flask's threads.

    A client that sends its body drop by drop so costs a buffer, not a thread. Which bodies are refused is for the
    Flask app to say: from the headers alone, so those bodies are not waited for.

    `/livez` is answered here, so that it needs no thread: all of them may be waiting for a Redis that hangs.

    Args:
        body_timeout_s: how long a client may send nothing in the middle of its body.
    """

    def __init__(self, wsgi_app: Any, *, threads: int, max_body_bytes: int, body_timeout_s: float = 30.0) -> None:
        self._flask = WSGIMiddleware(wsgi_app, workers=threads)
        self._max_body_bytes = max_body_bytes
        self._body_timeout_s = body_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's event, as ASGI 3 has it."""
        if scope["type"] == "http":
            length = int(_header(scope, b"content-length") or 0)  # the server has checked that it is a number
            if scope["path"] == "/livez" and scope["method"] in ("GET", "HEAD"):
                await _answer(scope, send, 200, b"application/json", _ALIVE)
                return
            if 0 < length <= self._max_body_bytes:
                try:
                    body = await _read(receive, self._body_timeout_s)
                except TimeoutError:
                    await _refuse_silence(scope, send, self._body_timeout_s)
                    return
                if body is None:
                    return
                receive = _once(body)
        await self._flask(scope, receive, send)  # type: ignore[arg-type]


def _header(scope: Scope, wanted: bytes) -> bytes:
    return next((value for name, value in scope["headers"] if name == wanted), b"")


async def _read(receive: Receive, timeout_s: float) -> bytes | None:
    """Return the whole body, or None when the client went away before its end.

    Raises:
        TimeoutError: the client sent nothing for too long.
    """
    parts = []
    while True:
        message = await asyncio.wait_for(receive(), timeout_s)
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _refuse_silence(scope: Scope, send: Send, timeout_s: float) -> None:
    detail = f"nothing more of the body came for {timeout_s:g} s"
    body = problem_body(408, "request_timeout", detail, request_id=_request_id(scope))
    await _answer(scope, send, 408, b"application/problem+json", orjson.dumps(body), (b"connection", b"close"))


async def _answer(
    scope: Scope, send: Send, status: int, media_type: bytes, body: bytes, *headers: tuple[bytes, bytes]
) -> None:
    """Answer with the headers that the Flask app gives, too."""
    all_headers = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", _request_id(scope).encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-cache"),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _request_id(scope: Scope) -> str:
    return request_id(_header(scope, b"x-request-id").decode("latin-1"))
