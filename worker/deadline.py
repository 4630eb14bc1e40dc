"""The clock of a job's time limit, and the ways to end an epoch that does not end by itself."""

import contextlib
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType

from storage.jobs.reports import JobError

INTERRUPT_AFTER_S = 2.0
"""An epoch still running this long after the time limit is interrupted; the epoch before it is published."""

FAIL_AFTER_S = 5.0
"""A training still running this long after the time limit fails, and its process ends."""

KILL_AFTER_S = 6.0
"""The parent kills the child this long after the limit: none of its threads runs while a C call holds the GIL."""

SIGNAL = signal.SIGUSR2

TIME_LIMIT_ERROR = JobError("time_limit", "the time limit passed before there was a network to publish")


class HandedBackError(Exception):
    """The process was asked to stop in the middle of the training; another attempt will resume it."""


class TimeUpError(BaseException):
    """The time limit passed in the middle of an epoch.

    Not an `Exception`, so that no `except Exception` in between handles it as an error of its own.
    """


class Deadline:
    """Counts the time that a job trains, over all its attempts, and knows when its time limit has passed.

    It is the only clock of the time limit. The process that trains, its heartbeat thread and the parent that watches
    share it: make it before the fork.

    Args:
        clock: seconds that never run backwards; the default is the same for all processes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._limit_at = multiprocessing.RawValue("d", math.inf)
        self._is_lifted = multiprocessing.RawValue("b", False)
        self._limit_s = math.inf
        self._zero_at = clock()
        """When the job would have begun, had it trained without a break until now."""
        self._paused_at: float | None = None
        self._is_interruptible = False

    def begin(self, time_limit_s: float | None, *, used_s: float) -> None:
        """Start to count.

        Args:
            used_s: how long earlier attempts have trained.
        """
        self._zero_at = self.clock() - used_s
        self._limit_s = math.inf if time_limit_s is None else time_limit_s
        self._limit_at.value = self._zero_at + self._limit_s
        self._is_lifted.value = False

    def lift(self) -> None:
        """End nothing by force any more: the job is about to be published or handed back. From any thread."""
        self._is_lifted.value = True

    @property
    def used_s(self) -> float:
        """How long the job has trained by now."""
        return (self.clock() if self._paused_at is None else self._paused_at) - self._zero_at

    @property
    def has_passed(self) -> bool:
        """Whether the job has used up its time limit."""
        return self.used_s >= self._limit_s

    @property
    def overdue_s(self) -> float:
        """How long ago the limit passed; negative before that, in a pause and once it is lifted. For any process."""
        return -math.inf if self._is_lifted.value else self.clock() - float(self._limit_at.value)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Count no time inside: the training waits for a store, or evaluates what it has learned."""
        self._paused_at = self.clock()
        limit_at, self._limit_at.value = float(self._limit_at.value), math.inf
        try:
            yield
        finally:
            pause_s = self.clock() - self._paused_at
            self._paused_at = None
            self._zero_at += pause_s
            self._limit_at.value = limit_at + pause_s

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let `interrupt` end what happens inside.

        Python runs signal handlers between two steps of the interpreter, so a long call of NumPy ends first.

        Raises:
            TimeUpError: it was interrupted.
        """
        self._is_interruptible = True
        try:
            yield
        finally:
            self._is_interruptible = False

    def install(self) -> None:
        """Handle the signal. Call it in the main thread of the process that trains."""
        signal.signal(SIGNAL, self._raise)

    def interrupt(self) -> None:
        """Interrupt the epoch of this process's main thread; from any thread."""
        os.kill(os.getpid(), SIGNAL)

    def _raise(self, _signal_number: int, _frame: FrameType | None) -> None:
        if self._is_interruptible:
            self._is_interruptible = False
            raise TimeUpError
