"""How gunicorn serves the API, with the reasons. `gunicorn --config python:service.server.gunicorn_config`."""

import ctypes
import os
import signal
import sys
from typing import Any

from service.server.reloads import RELOADS

_PR_SET_PDEATHSIG = 1

wsgi_app = "service.asgi:app"

_host = os.environ.get("HOST", "127.0.0.1")
bind = f"{f'[{_host}]' if ':' in _host else _host}:{os.environ.get('PORT', '8000')}"

# uvloop and httptools: about five times the requests per second of gthread on one core, and slow clients cost
# no thread. See docs/architecture.md, "Serving".
worker_class = "service.server.uvicorn_worker.ServiceWorker"

workers = int(os.environ.get("API_PROCESSES") or os.environ.get("WEB_CONCURRENCY") or 1)

# Each process loads the code by itself, so that HUP brings new code.
preload_app = False

# A process that has not answered gunicorn for so long is stuck; the event loop answers every few seconds.
timeout = 60

# A drain has 25 s in all: requests under way get 20 s.
graceful_timeout = 20

# Longer than the 60 s of most load balancers, so that they and not we close an idle connection.
keepalive = 75

# Memory, not disk, for the heartbeat files: a slow disk would look like a stuck process.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

# gunicorn's command socket is not used.
control_socket_disable = True

# One line a request would cost more than the request. Errors are logged.
accesslog = None
loglevel = "info"


def on_reload(server: Any) -> None:
    """Let the processes of before know, when they are told to stop, that others come."""
    RELOADS.begin()


def post_fork(server: Any, worker: Any) -> None:
    """Tie a process's life to gunicorn's: an orphan would hold the port against the next start."""
    RELOADS.join()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != worker.ppid:  # gunicorn died before the line above
            os._exit(1)
