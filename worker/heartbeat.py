"""Tells the job's record that its attempt is alive, and ends the process when an epoch takes too long."""

import logging
import os
import threading
from contextvars import copy_context
from typing import NoReturn

from storage.errors import StaleAttemptError
from storage.jobs.attempt import Attempt
from worker.deadline import FAIL_AFTER_S, INTERRUPT_AFTER_S, TIME_LIMIT_ERROR, Deadline
from worker.stores import optional

EVERY_S = 2.0
"""A quarter of the silence after which the reconciler declares an attempt dead."""

LEAVE_WITHIN_S = 4.0
"""After a stop request or a lost job, the training has this long to end by itself after its epoch."""

_log = logging.getLogger(__name__)


class Heartbeat:
    """Beats in a thread of its own inside a `with` block.

    When the attempt has lost its job, or a stop is requested, the training ends after its epoch. When that takes too
    long, the heartbeat ends the process, to free the worker and its memory.
    """

    def __init__(self, attempt: Attempt, stop_requested: threading.Event, deadline: Deadline) -> None:
        self._attempt = attempt
        self._stop_requested = stop_requested
        self._deadline = deadline
        self._is_over = threading.Event()
        self._is_interrupted = False
        self._thread = threading.Thread(target=copy_context().run, args=(self._beat,), name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()

    def _beat(self) -> None:
        while not self._is_over.wait(self._until_next()):
            try:
                with optional(self._attempt, "no heartbeat"):
                    self._attempt.heartbeat()
                    self._watch_limit()
                    if self._stop_requested.is_set():
                        self._deadline.lift()  # else the parent might fail the job before it is handed back
                        if not self._is_over.wait(LEAVE_WITHIN_S):
                            self._attempt.hand_back()
                            self._leave("handed back in the middle of an epoch")
            except StaleAttemptError as error:
                if not self._is_over.wait(LEAVE_WITHIN_S):
                    self._leave(str(error))

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
            self._attempt.fail(TIME_LIMIT_ERROR)
            self._leave("its time limit passed, and it does not end")

    def _leave(self, reason: str) -> NoReturn:
        _log.info("job %s: %s; the process ends", self._attempt.job.id, reason)
        os._exit(0)
