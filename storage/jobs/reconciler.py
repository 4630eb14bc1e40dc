"""Finds stalled jobs. It is the only part that gives a job another attempt."""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from storage import keys
from storage.alarm import report
from storage.availability import is_wrong_type
from storage.damage import each_answer, reported
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.known_tenants import every_tenant
from storage.jobs.record import JobStatus, SilentAttempt, ids_in
from storage.jobs.store import JobStore
from storage.log.form import members_of
from storage.queue import TrainingQueue
from storage.workload import share_alarms

DEAD_AFTER_S = 8.0
"""A running attempt without a new heartbeat for this long is dead."""

ENQUEUE_AGAIN_AFTER_S = 5.0
"""A queued job is enqueued again when it has not been in the queue for this long."""

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
        self._missing_since: dict[tuple[str, int], float] = {}
        """When this reconciler first saw that the job, enqueued at this time, is not in the queue."""
        self._lease: bytes | None = None
        self._lease_of_another: tuple[bytes | None, float] = (None, 0.0)
        """What the lease said last, and since when on this reconciler's own clock."""
        self._was_away = False
        """Whether Redis refused to answer since the last complete look."""
        self._interrupted: set[SilentAttempt] = set()
        """Attempts that ran through an outage and have sent no heartbeat since."""

    def run(self) -> None:
        """Look at all jobs that are queued or running. What is damaged is reported, and the others are looked after.

        Raises:
            One of UNAVAILABLE_ERRORS: what was seen before an outage is forgotten, since no attempt could report.
        """
        try:
            dead: list[SilentAttempt] = []
            with reported("the running jobs"):
                dead = self._watch_heartbeats()
            with reported(keys.COUNTERS):
                share_alarms(self._redis)
            if not self._holds_lease():
                return
            for attempt in dead:
                with reported(f"job {attempt.job_id}"):
                    self._end(attempt)
            with reported("the queued jobs or the queue"):
                self._enqueue_lost()
            with reported("the jobs that are done"):
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
            extra = {**members_of(dead.job_id), "attempt": dead.number}
            _log.warning("attempt %d of job %s is dead; the job is %s", dead.number, dead.job_id, status, extra=extra)

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
        """Enqueue jobs again whose entry has been missing for `ENQUEUE_AGAIN_AFTER_S` of this reconciler's own clock.

        The time at which a job was enqueued tells only one time from the next: the server's clock may have been set.
        """
        now = self._clock()
        queued = self._read("queued", "enqueued_at_ms")
        waiting = self._queue.waiting_job_ids() if queued else set()
        missing = [(job_id, enqueued_at_ms) for job_id, (enqueued_at_ms,) in queued.items() if job_id not in waiting]
        self._missing_since = {entry: self._missing_since.get(entry, now) for entry in missing}
        lost = [entry for entry, since in self._missing_since.items() if now - since >= ENQUEUE_AGAIN_AFTER_S]
        for job_id, _ in lost[:ENQUEUE_AT_ONCE]:
            _log.warning("the queue entry of job %s was lost; enqueueing it again", job_id, extra=members_of(job_id))
            with reported(f"job {job_id}"):
                self._jobs.enqueue_again(job_id)

    def _read(self, status: JobStatus, *fields: str) -> dict[str, list[int]]:
        """Return the named numbers (0 where absent) of every job in one state, by job id."""
        tenants = every_tenant(self._redis)
        with self._redis.pipeline(transaction=False) as pipeline:
            for tenant in tenants:
                pipeline.zrange(keys.jobs_with_status(status, tenant), 0, -1)
            members = each_answer(pipeline)
        job_ids: list[str] = []
        for tenant, found in zip(tenants, members, strict=True):
            with reported(index := keys.jobs_with_status(status, tenant)):
                if isinstance(found, Exception):
                    raise found
                job_ids += ids_in(index, found, tenant)
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(keys.job(job_id), fields)
            records = each_answer(pipeline)
        numbers = {}
        for job_id, record in zip(job_ids, records, strict=True):
            try:
                numbers[job_id] = [int(value or 0) for value in record]
            except (TypeError, ValueError):
                report(f"the record of {status} job {job_id!r}")
        return numbers

    def _holds_lease(self) -> bool:
        """Return whether this reconciler may act, and take the lease if nobody has it.

        The lease expires by the server's clock. If that was set back, it would outlive a dead holder, so one that stays
        the same for longer than it may is taken over.
        """
        now = self._clock()
        ours = f"{self._holder} {now}".encode()
        if self._redis.set(keys.RECONCILER_LEASE, ours, nx=True, ex=_LEASE_S):
            self._lease = ours
            return True
        try:
            found = self._redis.get(keys.RECONCILER_LEASE)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            report(f"{keys.RECONCILER_LEASE}, which is deleted: {error}")
            self._redis.delete(keys.RECONCILER_LEASE)
            return False
        if found is not None and found == self._lease:
            return True
        if found != self._lease_of_another[0]:
            self._lease_of_another = found, now
        if now - self._lease_of_another[1] <= 2 * _LEASE_S:
            return False
        self._redis.set(keys.RECONCILER_LEASE, ours, ex=_LEASE_S)
        self._lease = ours
        return True
