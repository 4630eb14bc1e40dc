"""gunicorn's worker process: uvicorn with our settings."""

import asyncio
import os
import socket
import sys
import time
from typing import Any

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker

from service.server.predict_protocol import PredictProtocol
from service.server.reloads import RELOADS
from storage.store_settings import published_hosts

_SUCCESSOR_S = 10.0
"""On a reload, an old process serves at most this long until a new one does."""

_REQUESTS_S = 16
"""Drain budget: 16 of gunicorn's 20 s, including the wait for a successor."""

_LAST_CALLS_S = 0.2
"""Keep accepting this long before closing the socket, so that the backlog is not reset."""

_FAREWELL_S = 2.0
"""How long a stopping process waits for kept connections to end with an answer."""


class ServiceWorker(UvicornWorker):  # type: ignore[misc]  # uvicorn_worker ships no types
    """uvicorn on uvloop and httptools, without headers that reveal what runs here."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - as the base class declares it
        "loop": "uvloop",
        "http": PredictProtocol,
        "lifespan": "on",
        "ws": "none",
        "access_log": False,
        "server_header": False,
        # The shell reads the client's address by itself.
        "proxy_headers": False,
        # By default uvicorn waits for ever for a client that reads its answer slowly.
        "timeout_graceful_shutdown": _REQUESTS_S,
    }

    async def _serve(self) -> None:
        # The same as in the base class, except for the class of the server.
        self.config.app = self.wsgi
        self.wsgi.gate.listens_on(published_hosts(os.environ) or map(_host_of, self.sockets))
        server = _DrainingServer(config=self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=self.sockets)
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)


def _host_of(listener: socket.socket) -> str:
    """Return the host on which a socket listens, or the path of a unix socket."""
    name = listener.getsockname()
    if isinstance(name, tuple):
        return str(name[0])
    return "/" + str(name)  # only this machine reaches it


class _DrainingServer(Server):
    """Tells the app to drain, and closes kept connections gently.

    uvicorn alone would wait for held requests, and would close kept connections at once, even one on which the next
    request is already on its way. Here clients get some time for one more request, whose answer tells them with
    `Connection: close` to open another connection.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        RELOADS.announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if not RELOADS.is_replaced:  # else the new processes of this machine are ready
            await self.config.app.leave()  # type: ignore[union-attr]
        told_at = time.monotonic()
        while RELOADS.is_awaiting_successor and time.monotonic() < told_at + _SUCCESSOR_S:
            await asyncio.sleep(0.05)
        # The rest of the budget: gunicorn kills a process that is not gone after its graceful_timeout.
        self.config.timeout_graceful_shutdown = _REQUESTS_S - round(time.monotonic() - told_at)
        self.config.app.drain()  # type: ignore[union-attr]
        await asyncio.sleep(_LAST_CALLS_S)
        for server in self.servers:
            server.close()
        deadline = time.monotonic() + _FAREWELL_S
        while self.server_state.connections and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
