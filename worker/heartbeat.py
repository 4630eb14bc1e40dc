"""Tells the job's record that its attempt is alive, also while one epoch takes long."""

import logging
import os
import threading
from types import TracebackType
from typing import NoReturn

from storage import UNAVAILABLE_ERRORS, Claim, JobStore, StaleAttemptError

EVERY_S = 2.0
"""A quarter of what the reconciler waits before it takes an attempt for dead."""

LEAVE_WITHIN_S = 5.0
"""A training that no longer owns its job gets so long to notice by itself, at the end of an epoch."""

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats in a thread of its own inside a `with` block.

    When the claim is lost, or a stop is requested, the training ends after its epoch. When that takes too long, the
    heartbeat ends the process: nobody waits for the epoch, and a worker and its memory do.
    """

    def __init__(self, claim: Claim, jobs: JobStore, stop_requested: threading.Event) -> None:
        self._claim = claim
        self._jobs = jobs
        self._stop_requested = stop_requested
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()

    def _beat(self) -> None:
        while not self._is_over.wait(EVERY_S):
            try:
                self._jobs.heartbeat(self._claim)
                if self._stop_requested.is_set() and not self._is_over.wait(LEAVE_WITHIN_S):
                    self._jobs.hand_back(self._claim)
                    self._leave("handed back in the middle of an epoch")
            except StaleAttemptError as error:
                if not self._is_over.wait(LEAVE_WITHIN_S):
                    self._leave(str(error))
            except UNAVAILABLE_ERRORS as error:
                _log.warning("job %s: no heartbeat: %s", self._claim.job.id, error)

    def _leave(self, reason: str) -> NoReturn:
        _log.info("job %s: %s; the process ends", self._claim.job.id, reason)
        os._exit(0)
