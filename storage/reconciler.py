"""Looks after jobs that stalled: the only part that gives a job another attempt."""

import logging
import time
from typing import Any

from redis import Redis

from storage import keys
from storage.errors import StorageError
from storage.jobs import Claim, JobStatus, JobStore
from storage.queue import TrainingQueue

STALE_AFTER_S = 10.0
"""A running attempt that has not reported for so long is taken for dead."""

RING_AGAIN_AFTER_S = 5.0
"""A queued job is rung for again when its ring was so long ago and no worker still has it before it."""

MAX_DEATHS = 3
"""So many attempts of a job may die; then it is given up as `attempts_exhausted`."""

_LEASE_S = 10

_log = logging.getLogger(__name__)


class Reconciler:
    """Compares the job records with what is going on, and puts right what a death left behind.

    Every worker has one and calls `run` every few seconds; a lease lets one of them work at a time. Running twice
    would do no harm, since every step is fenced. RQ's own retries and clean-up are not relied on: see
    `docs/architecture.md`.
    """

    def __init__(self, redis: Redis, jobs: JobStore, queue: TrainingQueue, *, holder: str) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._jobs = jobs
        self._queue = queue
        self._holder = holder

    def run(self) -> None:
        """Look at all jobs that are queued or running, unless another reconciler holds the lease."""
        if not self._holds_lease():
            return
        now_ms = time.time_ns() // 1_000_000
        for job_id, (heartbeat_at_ms, n_deaths) in self._read("running", "heartbeat_at_ms", "n_deaths").items():
            if now_ms - heartbeat_at_ms >= STALE_AFTER_S * 1000:
                self._end_dead_attempt(job_id, n_deaths + 1)
        self._ring_for_forgotten(now_ms)

    def _end_dead_attempt(self, job_id: str, n_deaths: int) -> None:
        try:
            job = self._jobs.get(job_id)
            claim = Claim(job, job.attempt)
            if n_deaths < MAX_DEATHS:
                _log.warning("attempt %d of job %s is dead; the job is queued again", job.attempt, job_id)
                self._jobs.hand_back(claim, is_dead=True)
                return
            _log.error("attempt %d of job %s is dead; the job is given up", job.attempt, job_id)
            detail = f"{n_deaths} attempts died, the last one was attempt {job.attempt}; does the job fit in memory?"
            self._jobs.fail(claim, {"code": "attempts_exhausted", "detail": detail})
        except StorageError:
            # The attempt ended, or the record cannot be read: the other jobs still want to be looked at.
            _log.exception("could not end a dead attempt of job %s", job_id)

    def _ring_for_forgotten(self, now_ms: int) -> None:
        long_ago_ms = now_ms - int(RING_AGAIN_AFTER_S * 1000)
        queued = self._read("queued", "rung_at_ms")
        forgotten = [job_id for job_id, (rung_at_ms,) in queued.items() if rung_at_ms <= long_ago_ms]
        if not forgotten:
            return
        waiting = self._queue.waiting_job_ids()
        for job_id in forgotten:
            if job_id not in waiting:
                _log.warning("the ring for job %s was lost; ringing again", job_id)
                self._jobs.ring_again(job_id)

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
