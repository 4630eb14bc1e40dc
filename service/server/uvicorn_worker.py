"""gunicorn's worker process, as uvicorn with our settings."""

import asyncio
import socket
import sys
import time
from typing import Any

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from service.server.reloads import RELOADS

_SUCCESSOR_S = 10.0
"""In a reload, a process serves on for so long at most until one with the new code does."""

_REQUESTS_S = 16
"""So long requests under way may take, of gunicorn's 20 s: what a reload's successor is waited for included."""

_LAST_CALLS_S = 0.2
"""So long it accepts connections that came before: closing the socket would break those not accepted yet."""

_FAREWELL_S = 2.0
"""So long a process that is about to stop waits for kept connections to end with an answer."""


class ServiceWorker(UvicornWorker):  # type: ignore[misc]  # uvicorn_worker ships no types
    """uvicorn on uvloop and httptools, without headers that tell strangers what runs here."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - as the base class declares it
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",
        "ws": "none",
        "access_log": False,
        "server_header": False,
        # Nobody asks who the client is.
        "proxy_headers": False,
        # uvicorn itself would wait for ever for a client that reads its answer slowly.
        "timeout_graceful_shutdown": _REQUESTS_S,
    }

    async def _serve(self) -> None:
        # As the base class does it, but for the class of the server.
        self.config.app = self.wsgi
        server = _DrainingServer(config=self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


class _DrainingServer(Server):
    """Tells the app that it is about to stop: uvicorn itself would wait for whoever waits.

    And it would close kept connections at once, also one on which the next request is already under way. So clients
    get some time to ask once more and to be told, by `Connection: close`, to come back on another one.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        RELOADS.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        told_at = time.monotonic()
        while RELOADS.is_awaiting_successor and time.monotonic() < told_at + _SUCCESSOR_S:
            await asyncio.sleep(0.05)
        # What this took is not there for the rest: gunicorn kills who is not gone after its graceful_timeout.
        self.config.timeout_graceful_shutdown = _REQUESTS_S - round(time.monotonic() - told_at)
        self.config.app.drain()  # type: ignore[union-attr]
        await asyncio.sleep(_LAST_CALLS_S)
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + _FAREWELL_S
        while self.server_state.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
