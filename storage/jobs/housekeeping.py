"""Deletes what is no longer needed: jobs done long ago, and blobs that no job will read."""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis import Redis

from storage import keys
from storage.blobs import BlobStore
from storage.errors import BlobStoreUnavailableError
from storage.jobs.record import DONE_STATUSES
from storage.scripts import load_script

KEEP_BLOBS_S = 3600.0
"""Keep an unused blob this long, because its job may not be recorded yet. No upload takes longer."""

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
    """

    def __init__(
        self,
        redis: Redis,
        blobs: BlobStore,
        *,
        keep_jobs_s: float,
        check_blobs: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._blobs = blobs
        self._keep_jobs_s = keep_jobs_s
        self._check_blobs = check_blobs
        self._clock = clock
        self._due_at = clock()
        self._skipped = dict.fromkeys(DONE_STATUSES, 0)
        """How many old jobs the next step skips, because they have not ended long ago."""
        self._next_folder = 0

    def run(self) -> None:
        """Do the next step, if it is time. A blob store that is away is left for a later step.

        Raises:
            One of UNAVAILABLE_ERRORS: Redis is away; the step will be repeated.
        """
        if self._clock() < self._due_at:
            return
        is_all_done = self._forget_jobs()
        try:
            self._delete_blobs()
        except BlobStoreUnavailableError as error:
            _log.warning("no blobs were deleted: %s", error)
        self._due_at = self._clock() + (EVERY_S if is_all_done else 0.0)

    def _forget_jobs(self) -> bool:
        """Forget some jobs. Return whether all have been checked."""
        seconds, _ = self._redis.time()
        done_by_ms = int((seconds - self._keep_jobs_s) * 1000)
        is_all_done = True
        for status in DONE_STATUSES:
            index, skipped = keys.jobs_with_status(status), self._skipped[status]
            # The index is by time of creation, which is before the time of the end.
            found = self._redis.zrangebyscore(index, "-inf", done_by_ms, start=skipped, num=JOBS_AT_ONCE)
            with self._redis.pipeline(transaction=False) as pipeline:
                forget = load_script(pipeline, "forget")
                for job_id in (member.decode() for member in found):
                    forget(keys=[keys.job(job_id), keys.events(job_id), keys.JOBS, index], args=[done_by_ms])
                n_forgotten = sum(pipeline.execute())
            if n_forgotten:
                _log.info("forgot %d %s jobs that ended long ago", n_forgotten, status)
            is_last = len(found) < JOBS_AT_ONCE
            is_all_done = is_all_done and is_last
            self._skipped[status] = 0 if is_last else skipped + len(found) - n_forgotten
        return is_all_done

    def _delete_blobs(self) -> None:
        """Delete old blobs of some folders, if no queued or running job refers to them."""
        self._check_blobs()
        older_than = time.time() - KEEP_BLOBS_S
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
        """Return the blobs of the instances and checkpoints of all jobs that are not done."""
        with self._redis.pipeline() as transaction:  # else a job handed back between the two reads is in neither
            for status in ("queued", "running"):
                transaction.zrange(keys.jobs_with_status(status), 0, -1)
            job_ids = [member.decode() for members in transaction.execute() for member in members]
        with self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(keys.job(job_id), "data", "checkpoint")
            records = pipeline.execute()
        return {blob.decode() for record in records for blob in record if blob is not None}
