"""Tells the job's record that its attempt is alive, and ends what goes on for too long, also within one epoch."""

import logging
import os
import threading
from types import TracebackType
from typing import NoReturn

from storage.availability import is_unavailable
from storage.errors import StaleAttemptError
from storage.jobs.record import Claim
from storage.jobs.store import JobStore
from worker.deadline import FAIL_AFTER_S, INTERRUPT_AFTER_S, Deadline, time_limit_error

EVERY_S = 2.0
"""A quarter of what the reconciler waits before it takes an attempt for dead."""

LEAVE_WITHIN_S = 4.0
"""A training that no longer owns its job, or is to stop, gets so long to notice by itself, at the end of an epoch."""

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats in a thread of its own inside a `with` block.

    When the claim is lost, or a stop is requested, the training ends after its epoch. When that takes too long, the
    heartbeat ends the process: nobody waits for the epoch, and a worker and its memory do.
    """

    def __init__(self, claim: Claim, jobs: JobStore, stop_requested: threading.Event, deadline: Deadline) -> None:
        self._claim = claim
        self._jobs = jobs
        self._stop_requested = stop_requested
        self._deadline = deadline
        self._is_over = threading.Event()
        self._is_interrupted = False
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over.set()

    def _beat(self) -> None:
        while not self._is_over.wait(self._until_next()):
            try:
                self._jobs.heartbeat(self._claim)
                self._watch_limit()
                if self._stop_requested.is_set() and not self._is_over.wait(LEAVE_WITHIN_S):
                    self._jobs.hand_back(self._claim)
                    self._leave("handed back in the middle of an epoch")
            except StaleAttemptError as error:
                if not self._is_over.wait(LEAVE_WITHIN_S):
                    self._leave(str(error))
            except Exception as error:
                if not is_unavailable(error):
                    raise
                _log.warning("job %s: no heartbeat: %s", self._claim.job.id, error)

    def _until_next(self) -> float:
        """Return the time to wait: a beat, or less when the time limit has passed or soon will."""
        next_step_s = FAIL_AFTER_S if self._is_interrupted else INTERRUPT_AFTER_S
        return min(EVERY_S, max(0.1, next_step_s - self._deadline.overdue_s))

    def _watch_limit(self) -> None:
        overdue_s = self._deadline.overdue_s
        if overdue_s >= INTERRUPT_AFTER_S and not self._is_interrupted:
            self._is_interrupted = True
            self._deadline.interrupt()
        elif overdue_s >= FAIL_AFTER_S:
            self._jobs.fail(self._claim, time_limit_error())
            self._leave("its time limit passed, and it does not end")

    def _leave(self, reason: str) -> NoReturn:
        _log.info("job %s: %s; the process ends", self._claim.job.id, reason)
        os._exit(0)
