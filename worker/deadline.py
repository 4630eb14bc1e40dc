"""When a training must be over, and the ways to end an epoch that goes on nevertheless."""

import contextlib
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

INTERRUPT_AFTER_S = 2.0
"""So long after the time limit, an epoch that still goes on is interrupted: what came before it is published."""

FAIL_AFTER_S = 5.0
"""So long after the time limit, a training that does not even end then is ended with its process: the job fails."""

KILL_AFTER_S = 6.0
"""So long after the time limit, the parent does the same: the child has no turn in a call that holds Python's lock."""

SIGNAL = signal.SIGUSR2


class TimeUpError(BaseException):
    """The time limit passed in the middle of an epoch.

    No `Exception`, so that no `except Exception` in between takes it for an error of its own.
    """


class Deadline:
    """Shared by the process that trains, its heartbeat, and the parent that looks on: make it before the fork."""

    def __init__(self) -> None:
        self._limit_at = multiprocessing.RawValue("d", math.inf)  # the monotonic clock is one for all processes
        self._is_interruptible = False

    def begin(self, time_limit_s: float | None, *, used_s: float) -> None:
        """Start to count.

        Args:
            used_s: how much of the job's time limit earlier attempts have used.
        """
        if time_limit_s is not None:
            self._limit_at.value = time.monotonic() + time_limit_s - used_s

    def lift(self) -> None:
        """Say that no epoch is to come: the rest takes the time that it takes."""
        self._limit_at.value = math.inf

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Let no time count: what goes on inside may wait for a store that is away, and trains nothing."""
        limit_at, began_at = float(self._limit_at.value), time.monotonic()
        self._limit_at.value = math.inf
        try:
            yield
        finally:
            self._limit_at.value = limit_at + time.monotonic() - began_at

    @property
    def overdue_s(self) -> float:
        """How long ago the limit passed; below 0 before it, and without one."""
        return time.monotonic() - float(self._limit_at.value)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let `interrupt` end what goes on inside.

        Python runs signal handlers between two steps of the interpreter: a single long call of NumPy is not ended.

        Raises:
            TimeUpError: it did.
        """
        self._is_interruptible = True
        try:
            yield
        finally:
            self._is_interruptible = False

    def install(self) -> None:
        """Listen to the signal; to be called in the main thread of the process that trains."""
        signal.signal(SIGNAL, self._raise)

    def interrupt(self) -> None:
        """End the epoch of this process's main thread; from any thread."""
        os.kill(os.getpid(), SIGNAL)

    def _raise(self, _signal_number: int, _frame: FrameType | None) -> None:
        if self._is_interruptible:
            self._is_interruptible = False
            raise TimeUpError


def time_limit_error() -> dict[str, str]:
    """Say that a job ended without a network because of its time limit."""
    return {"code": "time_limit", "detail": "the time limit passed before there was a network to publish"}
