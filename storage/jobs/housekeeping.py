"""Deletes what is no longer needed: jobs and access keys that ended long ago, and blobs that nothing will read."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from redis import Redis

from storage import keys
from storage.blobs import BlobStore
from storage.damage import each_answer, reported
from storage.datasets.store import DatasetStore
from storage.errors import BlobStoreUnavailableError
from storage.jobs.known_tenants import every_tenant, surely_every_tenant
from storage.jobs.record import DONE_STATUSES, JobStatus, ids_in
from storage.scripts import load_script
from storage.tenants import local

KEEP_BLOBS_S = 3600.0
"""Keep an unused blob this long, because its job may not be recorded yet. No upload takes longer."""

LEAP_S = 60.0
"""A clock that gains or loses this much on the other one between two steps has leapt."""

EVERY_S = 60.0
JOBS_AT_ONCE = 500
FOLDERS_AT_ONCE = 8
"""Of 256 folders, one run a minute: every blob is checked about twice an hour."""

BLOBS_S = 2.0
"""One run deletes blobs for about this long. The reconciler waits meanwhile, and an object store may be slow."""

DELETION_S = 30
"""Longer than a run deletes the blobs of a folder."""

SUBMISSION_S = 10
"""Longer than a request takes from the end of the upload until its job is recorded."""

_N_FOLDERS = 256

_log = logging.getLogger(__name__)


class Housekeeping:
    """Works in small steps. The reconciler that holds the lease calls `run` every few seconds.

    Args:
        keep_jobs_s: how long after its end a job is kept, with its events.
        check_blobs: raises BlobStoreUnavailableError if the blob store is not ours, so that nothing is deleted there.
        tend_keys: deletes access keys, given the time of `SERVICE_CLOCK`.
        clock: seconds that never run backwards.
        wall_clock: seconds since 1970, as blobs are stamped.
    """

    def __init__(
        self,
        redis: Redis,
        blobs: BlobStore,
        *,
        keep_jobs_s: float,
        check_blobs: Callable[[], None] = lambda: None,
        tend_keys: Callable[[int], None] = lambda now_ms: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._blobs = blobs
        self._datasets = DatasetStore(redis)
        self._tend_keys = tend_keys
        self._keep_jobs_ms = int(keep_jobs_s * 1000)
        self._check_blobs = check_blobs
        self._clock = clock
        self._wall_clock = wall_clock
        self._due_at = clock()
        self._noted: Counter[tuple[str, str]] = Counter()
        """Of each tenant's jobs in each final state, how many have been noted as ended in this round."""
        self._next_folder = 0
        self._clocks_seen = clock(), wall_clock()
        self._steady_since = clock()

    def run(self) -> None:
        """Do the next step, if it is time. A blob store that is away is left for a later step.

        Raises:
            One of UNAVAILABLE_ERRORS: Redis is away; the step will be repeated.
        """
        now = self._clock()
        if now < self._due_at:
            return
        now_ms = self._service_time_ms()
        is_all_done = self._forget_jobs(now_ms)
        with reported(keys.ACCESS_KEYS):
            self._tend_keys(now_ms)
        try:
            if self._is_steady(now):
                self._delete_blobs()
        except BlobStoreUnavailableError as error:
            _log.warning("no blobs were deleted: %s", error)
        self._due_at = now + (EVERY_S if is_all_done else 0.0)

    def _service_time_ms(self) -> int:
        """Advance `SERVICE_CLOCK`, and return its time."""
        longest_step_ms = self._keep_jobs_ms // 30
        now_ms: int = load_script(self._redis, "advance_clock")(keys=[keys.SERVICE_CLOCK], args=[longest_step_ms])
        return now_ms

    def _forget_jobs(self, now_ms: int) -> bool:
        """Note some jobs as ended, and forget some that ended long ago. Return whether all have been looked at.

        The age of a job is told by a clock that a leap of the server's clock advances by a thirtieth of the time that
        jobs are kept, at most. It counts from when the job was first seen to have ended, since the time that its record
        gives may be that of a clock that was wrong.
        """
        n_left = JOBS_AT_ONCE
        is_all_done = True
        for tenant in every_tenant(self._redis):
            is_all_noted = all([self._note_ended(status, tenant, now_ms) for status in sorted(DONE_STATUSES)])
            n_old = self._forget_old(tenant, now_ms - self._keep_jobs_ms, n_left)
            is_all_done = is_all_done and is_all_noted and n_old < n_left
            n_left -= n_old
        return is_all_done

    def _note_ended(self, status: JobStatus, tenant: str, now_ms: int) -> bool:
        """Note some jobs of one tenant in one final state as ended. Return whether all have been looked at."""
        index, n_noted = keys.jobs_with_status(status, tenant), self._noted[status, tenant]
        with reported(index):
            members = self._redis.zrange(index, n_noted, n_noted + JOBS_AT_ONCE - 1)
            if ids := ids_in(index, members, tenant):
                self._redis.zadd(keys.ended(tenant), dict.fromkeys(map(local, ids), now_ms), nx=True)
            is_last = len(members) < JOBS_AT_ONCE
            self._noted[status, tenant] = 0 if is_last else n_noted + len(members)
            return is_last
        return True

    def _forget_old(self, tenant: str, until_ms: int, most: int) -> int:
        """Forget jobs of one tenant that ended by then. Return how many there were, up to `most`."""
        index = keys.ended(tenant)
        old = self._redis.zrangebyscore(index, "-inf", until_ms, start=0, num=most)
        with self._redis.pipeline(transaction=False) as pipeline:
            forget = load_script(pipeline, "forget")
            in_states = [keys.jobs_with_status(status, tenant) for status in sorted(DONE_STATUSES)]
            indexes = [keys.jobs(tenant), *in_states, index]
            for job_id in ids_in(index, old, tenant):
                forget(keys=[keys.job(job_id), keys.events(job_id), keys.best_network(job_id), *indexes])
            n_forgotten = sum(pipeline.execute())
        if n_forgotten:
            _log.info("forgot %d jobs that ended long ago", n_forgotten)
        return len(old)

    def _is_steady(self, now: float) -> bool:
        """Return whether blobs can be told to be old: no clock has leapt while this process watched for an hour.

        A process that has just started may have done so after a leap.
        """
        wall = self._wall_clock()
        before, wall_before = self._clocks_seen
        self._clocks_seen = now, wall
        if abs((wall - wall_before) - (now - before)) > LEAP_S:
            self._steady_since = now
            _log.warning("the clock was set: no blobs are deleted for %g s", KEEP_BLOBS_S)
        return now - self._steady_since >= KEEP_BLOBS_S

    def _delete_blobs(self) -> None:
        """Delete old blobs of some folders, if no data set and no queued or running job refers to them."""
        self._check_blobs()
        older_than = self._wall_clock() - KEEP_BLOBS_S
        self._blobs.sweep_scratch(older_than)
        ends_at = self._clock() + BLOBS_S
        for _ in range(FOLDERS_AT_ONCE):
            unneeded = self._without_needed(self._blobs.old(f"{self._next_folder:02x}", older_than))
            self._announce_deletion(unneeded, DELETION_S)
            for digest in self._without_needed(unneeded):
                if self._clock() >= ends_at:
                    break  # the other blobs of this folder come next time
                if self._blobs.delete_if_old(digest, older_than):
                    _log.info("deleted the blob %s, which no job needs", digest)
            else:
                self._next_folder = (self._next_folder + 1) % _N_FOLDERS
            self._announce_deletion(unneeded, SUBMISSION_S)
            if self._clock() >= ends_at:
                return

    def _announce_deletion(self, digests: list[str], seconds: int) -> None:
        """For some seconds, refuse jobs that need one of these blobs: `create.lua` does."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for digest in digests:
                pipeline.set(keys.being_deleted(digest), 1, ex=seconds)
            pipeline.execute()

    def _without_needed(self, digests: list[str]) -> list[str]:
        needed = self._needed_blobs() if digests else set()
        return [digest for digest in digests if digest not in needed]

    def _needed_blobs(self) -> set[str]:
        """Return the blobs of all data sets, and of the instances and checkpoints of all jobs that are not done."""
        tenants = surely_every_tenant(self._redis)
        indexes = [
            (keys.jobs_with_status(each, tenant), tenant) for tenant in tenants for each in ("queued", "running")
        ]
        with self._redis.pipeline() as transaction:  # else a job handed back between the two reads is in neither
            for index, _ in indexes:
                transaction.zrange(index, 0, -1)
            found = transaction.execute()
        job_ids = [
            job_id
            for (index, tenant), members in zip(indexes, found, strict=True)
            for job_id in ids_in(index, members, tenant)
        ]
        dataset_ids = [dataset_id for tenant in tenants for dataset_id in self._datasets.ids(tenant)]
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(keys.job(job_id), "data", "checkpoint")
            for dataset_id in dataset_ids:
                pipeline.hmget(keys.dataset(dataset_id), "blob")
            records = each_answer(pipeline)
        # The reconciler reports the others.
        readable = [record for record in records if isinstance(record, list)]
        return {blob.decode("ascii", "replace") for record in readable for blob in record if blob is not None}
