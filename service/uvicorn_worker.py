"""gunicorn's worker process, as uvicorn with our settings."""

import socket
import sys
from typing import Any

from gunicorn.arbiter import Arbiter
from uvicorn.server import Server
from uvicorn_worker import UvicornWorker


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
        "timeout_graceful_shutdown": 18,
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
    """Tells the app that it is about to stop: uvicorn itself would wait for whoever waits."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.drain()  # type: ignore[union-attr]
        await super().shutdown(sockets)
