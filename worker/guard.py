"""How the parent watches the child that trains, and decides that it must be killed."""

import logging
import multiprocessing
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from storage.errors import StaleAttemptError
from storage.jobs.store import JobStore
from storage.log.form import members_of
from worker.deadline import KILL_AFTER_S, TIME_LIMIT_ERROR, Deadline

KILL_STALE_AFTER_S = 8.0
"""A training that no longer owns its job ends by itself within 6 s, unless it is stopped or hangs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerChild:
    """What the two processes of a worker share. The parent makes it before it forks the child that trains."""

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The child claims its jobs with it."""
    deadline: Deadline = field(default_factory=Deadline)
    # Without a lock: if the child were killed while it held one, the parent would wait for ever.
    _job_id: Any = field(default_factory=lambda: multiprocessing.RawArray("c", 128))
    _is_waiting: Any = field(default_factory=lambda: multiprocessing.RawValue("b", 0))

    @property
    def job_id(self) -> str:
        """The job that the child is about to claim, or trains; empty before the first and while it waits."""
        return bytes(self._job_id.value).decode()

    @property
    def is_waiting(self) -> bool:
        """Whether the child has no job now, and waits for another one."""
        return bool(self._is_waiting.value)

    def begin(self, job_id: str) -> None:
        """Note, in the child, which job comes next."""
        self._note(job_id, is_waiting=False)

    def wait(self) -> None:
        """Note, in the child, that it waits for a job."""
        self._note("", is_waiting=True)

    def _note(self, job_id: str, *, is_waiting: bool) -> None:
        self.deadline.lift()
        self._job_id.value = job_id.encode()
        self._is_waiting.value = is_waiting


class Guard:
    """Watches one child. The job's record says whether the child still owns its job, so no message can be lost."""

    def __init__(self, child: WorkerChild, jobs: JobStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._child = child
        self._job_id = ""
        self._jobs = jobs
        self._clock = clock
        self._has_claimed = False
        self._stale_since: float | None = None

    def reason_to_kill(self) -> str | None:
        """Return why the child must be killed now, or None if it may continue.

        Raises:
            One of UNAVAILABLE_ERRORS: Redis cannot be asked.
        """
        if self._job_id != self._child.job_id:
            self._job_id, self._has_claimed, self._stale_since = self._child.job_id, False, None
        try:
            is_held = self._job_id != "" and self._jobs.is_held_by(self._job_id, self._child.token)
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
        if self._child.deadline.overdue_s < KILL_AFTER_S:
            return None
        try:
            self._jobs.current_attempt(self._job_id).fail(TIME_LIMIT_ERROR)
        except StaleAttemptError:
            _log.info("job %s ended by itself just now", self._job_id, extra=members_of(self._job_id))
            return None
        if self._job_id != self._child.job_id:
            return None  # the child has begun the next one
        return "does not end though its time limit has passed"
