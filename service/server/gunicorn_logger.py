"""gunicorn's logger, and with it uvicorn's, in the form of all our logs."""

import logging
from typing import Any

from gunicorn.glogging import Logger

_NOISE = {
    "Starting gunicorn %s",
    "Using worker: %s",
    "Booting worker with pid: %s",
    "Error while closing socket %s",  # ours are closed before gunicorn does it
}


class GunicornLogger(Logger):
    """Writes to the handlers of the root logger. `uvicorn_worker` gives uvicorn's loggers the same ones.

    What says nothing to whoever starts the service is logged with LOG_LEVEL=debug alone: uvicorn's steps of starting
    and stopping, and some of gunicorn's.
    """

    def setup(self, cfg: Any) -> None:
        """Take over a configuration, the first one or that of a reload."""
        super().setup(cfg)
        root = logging.getLogger()
        for logger in (self.error_log, self.access_log):
            logger.handlers = list(root.handlers)
            logger.setLevel(root.level)
        for name in ("gunicorn.error", "uvicorn.error"):
            logging.getLogger(name).addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    if record.levelno > logging.INFO or logging.getLogger("service").isEnabledFor(logging.DEBUG):
        return True
    return record.name != "uvicorn.error" and record.msg not in _NOISE
