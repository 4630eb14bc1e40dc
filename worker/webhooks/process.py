"""The worker's side of the process that tells webhooks."""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence

COMMAND = (sys.executable, "-m", "worker.webhooks")

_STOP_S = 4.0
"""Longer than the process takes to end."""

_log = logging.getLogger(__name__)


class DelivererProcess:
    """Runs from the first `keep` to `stop`, and is started again when it dies. It ends by itself when we die.

    Args:
        command: what to run; our process id is added.
    """

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Start the process unless it runs. Called every few seconds."""
        if self._process is not None:
            if (status := self._process.poll()) is None:
                return
            _log.warning("the process that tells webhooks ended with status %d; it is started again", status)
        self._process = subprocess.Popen([*self._command, str(os.getpid())], stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        """End the process. What it does not finish is done by another one."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
