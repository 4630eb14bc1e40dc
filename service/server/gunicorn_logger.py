"""gunicorn's logger, and with it uvicorn's, in the form of all our logs."""

import logging
from typing import Any

from gunicorn.glogging import Logger


class GunicornLogger(Logger):
    """Writes to the handlers of the root logger. `uvicorn_worker` gives uvicorn's loggers the same ones."""

    def setup(self, cfg: Any) -> None:
        """Take over a configuration, the first one or that of a reload."""
        super().setup(cfg)
        root = logging.getLogger()
        for logger in (self.error_log, self.access_log):
            logger.handlers = list(root.handlers)
            logger.setLevel(root.level)
