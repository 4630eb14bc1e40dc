"""Writes down where a training is, and finds where another attempt was."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from storage.availability import is_unavailable
from storage.blobs import BlobStore
from storage.errors import BlobNotFoundError, CorruptDataError, StaleAttemptError
from storage.jobs.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from storage.jobs.record import Claim
from storage.jobs.store import JobStore

EVERY_S = 5.0
"""So much of a training is lost at most when its worker dies, apart from the epoch that it was in."""

SHARE = 0.03
"""Writing takes no more of the time than this: what takes long to write is written less often."""

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one attempt: each is safe in the blob store before the record points at it.

    That a checkpoint cannot be written or read is no failure of the job: less, or nothing, is taken over from it.
    """

    def __init__(self, claim: Claim, jobs: JobStore, blobs: BlobStore, clock: Callable[[], float]) -> None:
        self._claim = claim
        self._jobs = jobs
        self._blobs = blobs
        self._clock = clock
        self._blob = claim.job.checkpoint.blob if claim.job.checkpoint else None
        self._due_at: float | None = None

    def load(self) -> Checkpoint | None:
        """Return what an earlier attempt left, or None: there is nothing that can be gone on from.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        if self._blob is None:
            return None
        try:
            checkpoint = decode_checkpoint(self._blobs.get(self._blob))
        except (BlobNotFoundError, CorruptDataError) as error:
            self.give_up(str(error))
            return None
        self.tell(f"going on from the checkpoint after {checkpoint.total_epochs} epochs")
        return checkpoint

    def give_up(self, reason: str) -> None:
        """Forget the checkpoint that an earlier attempt left: nobody can go on from it.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        self._jobs.drop_checkpoint(self._claim)
        self._delete()
        self.tell(f"beginning anew, since the checkpoint cannot be gone on from: {reason}")

    def tell(self, message: str) -> None:
        """Add a line to the events of the job, if Redis takes it.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        _log.info("job %s: %s", self._claim.job.id, message)
        try:
            self._jobs.log(self._claim, message)
        except Exception as error:
            if not is_unavailable(error):
                raise
            _log.warning("job %s: the line could not be added to its events: %s", self._claim.job.id, error)

    def is_due(self, now: float, *, began_at: float) -> bool:
        """Say whether it is time for the next one of a training that began at a time of the clock."""
        return now >= (began_at + EVERY_S if self._due_at is None else self._due_at)

    def save(self, state: Any, *, total_epochs: int, used_s: float, stage: Mapping[str, Any]) -> None:
        """Write a checkpoint and make it the job's.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        began_at = self._clock()
        checkpoint = Checkpoint(self._claim.job.id, total_epochs, used_s, state, stage)
        try:
            blob = self._blobs.put(encode_checkpoint(checkpoint))
            try:
                is_current = self._jobs.record_checkpoint(self._claim, blob=blob, total_epochs=total_epochs)
            except StaleAttemptError:
                # Sent twice, it may have been recorded the first time: then the next attempt goes on from it.
                recorded = self._jobs.get(self._claim.job.id).checkpoint
                if recorded is None or recorded.blob != blob:
                    self._blob = blob
                    self._delete()
                raise
            if is_current and blob != self._blob:
                self._delete()
                self._blob = blob
        except Exception as error:
            if not (is_unavailable(error) or isinstance(error, MemoryError)):
                raise
            _log.warning("job %s: no checkpoint: %s", self._claim.job.id, error)
        now = self._clock()
        self._due_at = now + max(EVERY_S, (now - began_at) / SHARE)

    def discard(self) -> None:
        """Delete the checkpoint of a job that is done."""
        self._delete()

    def _delete(self) -> None:
        if self._blob is not None:
            # What is not deleted here, the sweep of the blob store finds.
            with contextlib.suppress(Exception):
                self._blobs.delete(self._blob)
        self._blob = None
