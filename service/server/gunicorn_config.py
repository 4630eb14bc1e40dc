"""How gunicorn serves the API, with the reasons. `gunicorn --config python:service.server.gunicorn_config`."""

import ctypes
import logging
import math
import os
import signal
import sys
from typing import Any

from service.observe.metrics import folder
from service.server.reloads import RELOADS
from service.settings import metrics_versions, stop_delay_s
from storage.access.opening import check_may_listen
from storage.connection import connect
from storage.errors import OpenToAllError, RedisUrlError
from storage.log.form import configure
from storage.log.settings import LogSettings
from storage.log.unexpected import log_unexpected
from storage.output import never_block
from storage.store_settings import is_insecure, published_hosts, read_secret_files

_PR_SET_PDEATHSIG = 1

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_KEPT_BYTES = 32 * 1024 * 1024
_MAX_ARENAS = 2

# Before gunicorn opens its log: no process may wait for whoever reads it.
never_block()

wsgi_app = "service.asgi:app"

try:
    log_settings = LogSettings.from_env(os.environ)
except ValueError as error:
    print(f"perceptron: error: {error}", file=sys.stderr)
    sys.exit(2)
configure("api", log_settings)

try:
    read_secret_files(os.environ)
except ValueError as error:
    sys.exit(f"perceptron: error: {error}")

_host = os.environ.get("HOST", "127.0.0.1")
bind = f"{f'[{_host}]' if ':' in _host else _host}:{os.environ.get('PORT', '8000')}"

# uvloop and httptools serve about five times the requests per second of gthread on one core, and slow clients
# hold no thread. See docs/architecture.md, "Serving".
worker_class = "service.server.uvicorn_worker.ServiceWorker"

workers = int(os.environ.get("API_PROCESSES") or os.environ.get("WEB_CONCURRENCY") or 1)

# Each process imports the code itself, so that HUP loads new code.
preload_app = False

# A process without a heartbeat for this long is stuck; the event loop sends one every few seconds.
timeout = 60

# A drain may take 25 s in all; open requests get 20 s of it. The delay for load balancers comes before it.
graceful_timeout = 20 + math.ceil(stop_delay_s(os.environ))

# Longer than the 60 s of most load balancers, so that they close idle connections and not we.
keepalive = 75

# Heartbeat files in memory: on a slow disk a process would look stuck.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None

_n_versions = metrics_versions(os.environ)

# We do not use gunicorn's command socket.
control_socket_disable = True

# `service.observe.access_log` writes a line for each request, but for most predicts.
accesslog = None
logger_class = "service.server.gunicorn_logger.GunicornLogger"


def on_starting(server: Any) -> None:
    """Make the folder of all processes' metrics, and refuse to listen where everybody would come in."""
    folder.make()
    # A number stands for a socket that somebody else has opened: the processes that serve look at it themselves.
    addresses = [each for each in server.cfg.address if not isinstance(each, int)]
    listens_on = [address if isinstance(address, str) else address[0] for address in addresses]
    hosts = published_hosts(os.environ) or listens_on
    redis_url = os.environ.get("REDIS_URL")
    if redis_url is None:
        return  # the processes that serve say that it is missing
    try:
        with connect(redis_url, timeout_s=2, n_retries=0) as redis:
            check_may_listen(hosts, redis, is_insecure=is_insecure(os.environ))
    except (OpenToAllError, RedisUrlError, ValueError) as error:
        sys.exit(f"perceptron: error: {error}")


def on_exit(server: Any) -> None:
    """Remove it."""
    folder.remove()


def child_exit(server: Any, worker: Any) -> None:
    """Keep what the process counted."""
    if (shared := folder.current()) is not None:
        try:
            folder.leave(shared, worker.pid)
        except Exception as error:  # gunicorn would end
            log = logging.getLogger(__name__)
            log_unexpected(log, error, "the metrics of process %d are shown as it left them", worker.pid)


def on_reload(server: Any) -> None:
    """Count the reload, so that old processes know that new ones are coming."""
    RELOADS.begin()


def post_fork(server: Any, worker: Any) -> None:
    """Prepare a process that serves."""
    RELOADS.join()
    folder.join(n_versions=_n_versions)
    if sys.platform == "linux":
        _end_with_gunicorn(worker)
        _keep_freed_memory()


def _end_with_gunicorn(worker: Any) -> None:
    """End the process when gunicorn dies: an orphan would hold the port against the next start."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != worker.ppid:  # gunicorn died before the line above
        os._exit(1)


def _keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB of freed memory for the next large body, instead of asking the system for it again.

    The pages that the system gives are cleared one by one: a quarter of the time of a predict of 10,000 rows.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # other C libraries have none
        mallopt(_M_ARENA_MAX, _MAX_ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
