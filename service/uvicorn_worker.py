"""gunicorn's worker process, as uvicorn with our settings."""

from typing import Any

from uvicorn_worker import UvicornWorker


class ServiceWorker(UvicornWorker):  # type: ignore[misc]  # uvicorn_worker ships no types
    """uvicorn on uvloop and httptools, without headers that tell strangers what runs here."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - as the base class declares it
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "off",
        "ws": "none",
        "access_log": False,
        "server_header": False,
        # uvicorn itself would wait for ever for a client that reads its answer slowly.
        "timeout_graceful_shutdown": 18,
    }
