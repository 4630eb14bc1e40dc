"""Finds stalled jobs. It is the only part that gives a job another attempt."""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from storage import keys
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.record import JobStatus, SilentAttempt
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue

DEAD_AFTER_S = 8.0
"""A running attempt without a new heartbeat for this long is dead."""

ENQUEUE_AGAIN_AFTER_S = 5.0
"""A queued job that is no longer in the queue is enqueued again, this long after it was enqueued last."""

ENQUEUE_AT_ONCE = 500
"""Re-enqueue at most this many jobs per run, about a second's work, so heartbeats are still checked in time."""

_LEASE_S = 10

_log = logging.getLogger(__name__)


class Reconciler:
    """Compares the job records with their heartbeats and the queue, and repairs what a dead worker left behind.

    Every worker has one and calls `run` every few seconds. All of them watch, a lease lets one of them act, and every
    step is fenced, so that acting twice does no harm. `docs/architecture.md` says why RQ's own retries and clean-up are
    not used.

    Args:
        holder: a name for the lease that no other reconciler has.
        max_attempts: a job fails when this many of its attempts died without progress.
        housekeeping: run by the reconciler that holds the lease.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        redis: Redis,
        jobs: JobStore,
        queue: TrainingQueue,
        *,
        holder: str,
        max_attempts: int,
        housekeeping: Housekeeping,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._jobs = jobs
        self._queue = queue
        self._holder = holder
        self._max_attempts = max_attempts
        self._housekeeping = housekeeping
        self._clock = clock
        self._last_seen: dict[SilentAttempt, float] = {}
        """When this reconciler first saw the attempt with this heartbeat."""
        self._was_away = False
        """Whether Redis refused to answer since the last complete look."""
        self._interrupted: set[SilentAttempt] = set()
        """Attempts that ran through an outage and have sent no heartbeat since."""

    def run(self) -> None:
        """Look at all jobs that are queued or running.

        Raises:
            One of UNAVAILABLE_ERRORS: what was seen before an outage is forgotten, since no attempt could report.
        """
        try:
            dead = self._watch_heartbeats()
            if not self._holds_lease():
                return
            for attempt in dead:
                self._end(attempt)
            self._enqueue_lost()
            self._housekeeping.run()
        except BaseException:
            self._last_seen.clear()
            self._was_away = True
            raise

    def _watch_heartbeats(self) -> list[SilentAttempt]:
        """Return the attempts whose heartbeat did not move for `DEAD_AFTER_S` of this reconciler's own clock.

        Heartbeats are times of the server's clock, but are only compared with one another: no two clocks need agree.
        """
        now = self._clock()
        records = self._read("running", "attempt", "heartbeat_at_ms")
        seen = [SilentAttempt(job_id, attempt, heartbeat) for job_id, (attempt, heartbeat) in records.items()]
        self._interrupted = set(seen) if self._was_away else self._interrupted.intersection(seen)
        self._was_away = False
        self._last_seen = {attempt: self._last_seen.get(attempt, now) for attempt in seen}
        return [attempt for attempt, since in self._last_seen.items() if now - since >= DEAD_AFTER_S]

    def _end(self, dead: SilentAttempt) -> None:
        is_victim = dead in self._interrupted or dead.heartbeat_at_ms < self._server_started_at_ms()
        status = self._jobs.end_dead_attempt(dead, max_attempts=self._max_attempts, counts=not is_victim)
        if status is not None:
            _log.warning("attempt %d of job %s is dead; the job is %s", dead.number, dead.job_id, status)

    def _server_started_at_ms(self) -> int:
        """Return when the server started; 0 if it does not say, as where INFO is denied: then every death counts."""
        try:
            uptime_s = self._redis.info("server").get("uptime_in_seconds")  # whole seconds, rounded down
        except ResponseError:
            uptime_s = None
        return 0 if uptime_s is None else self._now_ms() - 1000 * (int(uptime_s) + 1)

    def _now_ms(self) -> int:
        seconds, microseconds = self._redis.time()
        return int(seconds * 1000 + microseconds // 1000)

    def _enqueue_lost(self) -> None:
        long_ago_ms = self._now_ms() - int(ENQUEUE_AGAIN_AFTER_S * 1000)
        queued = self._read("queued", "enqueued_at_ms")
        candidates = [job_id for job_id, (enqueued_at_ms,) in queued.items() if enqueued_at_ms <= long_ago_ms]
        if not candidates:
            return
        waiting = self._queue.waiting_job_ids()
        for job_id in [job_id for job_id in candidates if job_id not in waiting][:ENQUEUE_AT_ONCE]:
            _log.warning("the queue entry of job %s was lost; enqueueing it again", job_id)
            self._jobs.enqueue_again(job_id)

    def _read(self, status: JobStatus, *fields: str) -> dict[str, list[int]]:
        """Return the named numbers (0 where absent) of every job in one state, by job id."""
        members: list[bytes] = self._redis.zrange(keys.jobs_with_status(status), 0, -1)
        job_ids = [member.decode() for member in members]
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(keys.job(job_id), fields)
            records = pipeline.execute()
        return {job_id: [int(value or 0) for value in record] for job_id, record in zip(job_ids, records, strict=True)}

    def _holds_lease(self) -> bool:
        if self._redis.set(keys.RECONCILER_LEASE, self._holder, nx=True, ex=_LEASE_S):
            return True
        return bool(self._redis.get(keys.RECONCILER_LEASE) == self._holder.encode())
