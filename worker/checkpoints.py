"""Saves where a training is, and loads what an earlier attempt saved."""

import contextlib
import logging

from storage.availability import is_unavailable
from storage.blobs import BlobStore
from storage.errors import BlobNotFoundError, CorruptDataError, StaleAttemptError
from storage.jobs.attempt import Attempt
from storage.jobs.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from worker.stores import tell

_log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one attempt: each is safe in the blob store before the record names it.

    A checkpoint that cannot be written or read does not fail the job: the next attempt only has more to train.
    """

    def __init__(self, attempt: Attempt, blobs: BlobStore) -> None:
        self._attempt = attempt
        self._blobs = blobs
        self._blob = attempt.job.checkpoint.blob if attempt.job.checkpoint else None

    def load(self) -> Checkpoint | None:
        """Return what an earlier attempt saved, or None: there is nothing to resume from.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        if self._blob is None:
            return None
        try:
            checkpoint = decode_checkpoint(self._blobs.get(self._blob))
        except (BlobNotFoundError, CorruptDataError) as error:
            self.drop(str(error))
            return None
        tell(self._attempt, f"resuming from the checkpoint after {checkpoint.total_epochs} epochs")
        return checkpoint

    def drop(self, reason: str) -> None:
        """Forget the checkpoint that an earlier attempt saved, because no attempt can resume from it.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        self._attempt.drop_checkpoint()
        self.delete()
        tell(self._attempt, f"starting over, because the checkpoint cannot be used: {reason}")

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and make it the job's.

        Raises:
            StaleAttemptError: the job was cancelled or taken over.
        """
        try:
            blob = self._blobs.put(encode_checkpoint(checkpoint))
            try:
                is_current = self._attempt.record_checkpoint(blob, total_epochs=checkpoint.total_epochs)
            except StaleAttemptError:
                # If the command was sent twice, the first one may have recorded it, and the next attempt needs it.
                if not self._attempt.has_checkpoint(blob):
                    self._blob = blob
                    self.delete()
                raise
            if is_current and blob != self._blob:
                self.delete()
                self._blob = blob
        except Exception as error:
            if not (is_unavailable(error) or isinstance(error, MemoryError)):
                raise
            _log.warning("job %s: no checkpoint: %s", self._attempt.job.id, error)

    def delete(self) -> None:
        """Delete the newest checkpoint; housekeeping finds it if that fails."""
        if self._blob is not None:
            with contextlib.suppress(Exception):
                self._blobs.delete(self._blob)
        self._blob = None
