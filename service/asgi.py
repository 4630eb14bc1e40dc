"""What gunicorn serves: an ASGI shell around the Flask app. Reads the environment and makes the parts."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from a2wsgi import WSGIMiddleware

from service.app import create_app
from service.settings import Settings
from storage import BlobStore, connect

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Shell:
    """Waits for each body on the event loop and hands the whole request to Flask's threads.

    A client that sends its body drop by drop so costs a buffer, not a thread. Which bodies are refused is for the
    Flask app to say: from the headers alone, so those bodies are not waited for.
    """

    def __init__(self, wsgi_app: Any, *, threads: int, max_body_bytes: int) -> None:
        self._flask = WSGIMiddleware(wsgi_app, workers=threads)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's event, as ASGI 3 has it."""
        if scope["type"] == "http" and 0 < _content_length(scope) <= self._max_body_bytes:
            body = await _read(receive)
            if body is None:
                return
            receive = _once(body)
        await self._flask(scope, receive, send)  # type: ignore[arg-type]


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # the server has checked that it is a number
    return 0


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, or None when the client went away before its end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def create_shell() -> Shell:
    """Build what is served, from the environment. No socket is opened before the first request."""
    settings = Settings.from_env(os.environ)
    app = create_app(
        # Two seconds at most until a 503: one second for an answer, and one retry.
        connect(settings.redis_url, timeout_s=0.9, n_retries=1),
        BlobStore(settings.blob_url),
        settings.limits,
    )
    return Shell(app, threads=settings.api_threads, max_body_bytes=settings.limits.max_body_bytes)


app = create_shell()
