"""Looks from outside after the process that trains: ends it when it should have ended by itself."""

import logging
import multiprocessing
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from storage.errors import StaleAttemptError
from storage.jobs.record import Claim
from storage.jobs.store import JobStore
from worker.deadline import KILL_AFTER_S, Deadline, time_limit_error

KILL_STALE_AFTER_S = 8.0
"""A training that no longer owns its job leaves by itself within 6 s, unless it is stopped or hangs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkHorse:
    """What a worker's two processes have in common: made by the parent before it forks the child that trains."""

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The child claims its jobs with it."""
    deadline: Deadline = field(default_factory=Deadline)
    # Without a lock: a child killed while it held one would leave the parent waiting for ever.
    _job_id: Any = field(default_factory=lambda: multiprocessing.RawArray("c", 64))

    @property
    def job_id(self) -> str:
        """The job that the child is about to claim, or trains; empty before the first."""
        return bytes(self._job_id.value).decode()

    def begin(self, job_id: str) -> None:
        """Say in the child which job comes next."""
        self.deadline.lift()
        self._job_id.value = job_id.encode()


class Guard:
    """Looks after one child. The record says whether it still owns its job, so no message to it can be lost."""

    def __init__(self, horse: WorkHorse, jobs: JobStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._horse = horse
        self._job_id = ""
        self._jobs = jobs
        self._clock = clock
        self._has_claimed = False
        self._stale_since: float | None = None

    def reason_to_kill(self) -> str | None:
        """Say why the child must end now, or None: it may go on.

        Raises:
            One of UNAVAILABLE_ERRORS: nobody knows.
        """
        if self._job_id != self._horse.job_id:
            self._job_id, self._has_claimed, self._stale_since = self._horse.job_id, False, None
        try:
            is_held = self._jobs.is_held_by(self._job_id, self._horse.token)
        except Exception:
            self._stale_since = None  # the child waits for Redis, too, and cannot begin the next job
            raise
        if not is_held:
            if not self._has_claimed:
                return None
            now = self._clock()
            self._stale_since = now if self._stale_since is None else self._stale_since
            return "no longer owns its job" if now - self._stale_since >= KILL_STALE_AFTER_S else None
        self._has_claimed, self._stale_since = True, None
        if self._horse.deadline.overdue_s < KILL_AFTER_S:
            return None
        job = self._jobs.get(self._job_id)
        try:
            self._jobs.fail(Claim(job, job.attempt), time_limit_error())
        except StaleAttemptError:
            _log.info("job %s ended by itself just now", self._job_id)
            return None
        if self._job_id != self._horse.job_id:
            return None  # the child has gone on to the next one
        return "does not end though its time limit has passed"
