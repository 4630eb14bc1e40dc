"""One worker's attempt at a job: all that a worker can change in the record of the job that it trains."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
from redis import Redis

from storage import keys
from storage.codec import encode_names
from storage.errors import CorruptDataError, StaleAttemptError
from storage.jobs.description import DESCRIPTION, Description, digest_of
from storage.jobs.record import Job, JobStatus
from storage.jobs.reports import ERROR, FIGURES, LEADERBOARD, PROGRESS, RESULT, Figures, JobError, Progress, Result
from storage.jobs.spec import MAX_NAMES_IN_RECORD, SPEC, TrainingSpec
from storage.log.faults import describe
from storage.queue import TrainingQueue
from storage.scripts import load_script
from storage.tenants import local, tenant_of

_NOT_ON_THE_CURVE = {"max_epochs", "estimated_finish_at"}


class Attempt:
    """The right to report on a job, as `JobStore.claim` grants it.

    Each method is one atomic step in Redis that names the number of this attempt. A cancel or a later attempt ends the
    right: from then on every method raises StaleAttemptError and changes nothing. A command that was sent twice,
    because its first answer was lost, changes nothing the second time and gives the same answer.
    """

    def __init__(self, redis: Redis, queue: TrainingQueue, job: Job, number: int) -> None:
        self.job = job
        """The record as it was when the attempt began."""
        self.number = number
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._queue = queue
        self._has_shown_names = False
        self._last_report: tuple[bytes, bytes] = b"", b""

    def full_spec(self) -> TrainingSpec:
        """Return what to train with the names that are too many for whoever reads the record.

        Raises:
            CorruptDataError: it cannot be read.
        """
        try:
            return SPEC.validate_json(self._redis.hget(keys.job(self.job.id), "spec"))
        except ValueError as error:
            raise CorruptDataError(f"the spec of job {self.job.id!r} cannot be read: {describe(error)}") from error

    def heartbeat(self) -> None:
        """Report that the attempt is alive."""
        self._step("heartbeat")

    def report(self, progress: Progress, *, on_curve: bool = False) -> None:
        """Report how far the attempt is. This is a heartbeat, too.

        Args:
            on_curve: whether this becomes an event of the job, a point of its learning curve.
        """
        self._step("progress", PROGRESS.dump_json(progress), self._point(progress) if on_curve else b"")

    def report_with_result(self, progress: Progress) -> None:
        """Report how far the attempt came in the same step that publishes its network: each step waits for a disk."""
        self._last_report = PROGRESS.dump_json(progress), self._point(progress)

    def _point(self, progress: Progress) -> bytes:
        figures = PROGRESS.dump_python(progress, exclude=_NOT_ON_THE_CURVE, exclude_defaults=True)
        return orjson.dumps({"attempt": self.number, **figures})

    def log(self, message: str) -> None:
        """Add a line to the events of the job, for its owner to read."""
        self._step("log", orjson.dumps({"attempt": self.number, "message": message}))

    def show_best(self, weights: bytes, figures: Figures) -> None:
        """Show the best network so far, as safetensors bytes, so that clients can predict with it already."""
        names = b"" if self._has_shown_names else _long_names(self.job.spec.feature_names)
        self._step("show_best", weights, FIGURES.dump_json(figures), names)
        self._has_shown_names = True

    def record_checkpoint(self, blob: str, *, total_epochs: int) -> bool:
        """Name the checkpoint that the next attempt resumes from. An older one never replaces a newer one.

        Args:
            blob: sha256 of the checkpoint in the blob store, where it must be safe by now.
            total_epochs: done by all attempts together when it was written.

        Returns:
            Whether it is the job's checkpoint now.
        """
        return self._step("checkpoint", blob, total_epochs) == 1

    def has_checkpoint(self, blob: str) -> bool:
        """Return whether the record names this checkpoint. A stale attempt may ask, too."""
        return bool(self._redis.hget(keys.job(self.job.id), "checkpoint") == blob.encode())

    def drop_checkpoint(self) -> None:
        """Forget the job's checkpoint, because no attempt can resume from it."""
        self._step("drop_checkpoint")

    def publish(self, weights: bytes, description: Description, result: Result) -> int:
        """Make the trained network the model's next version, move the alias asked for and finish the job: one step.

        Returns:
            The new version's number.
        """
        model = self.job.model
        names = _long_names(description.feature_names)
        if names:
            digests = replace(description.digests, feature_names=hashlib.sha256(names).hexdigest())
            description = replace(description, feature_names=(), digests=digests)
        described = DESCRIPTION.dump_json(description)
        leaderboard = result.leaderboard
        return self._step(
            "publish",
            local(model),
            weights,
            described,
            RESULT.dump_json(replace(result, leaderboard=None)),
            self.job.spec.alias or "",
            digest_of(described),
            names,
            b"" if leaderboard is None else LEADERBOARD.dump_json(leaderboard),
            *self._last_report,
            more_keys=(
                self._index("running"),
                self._index("succeeded"),
                keys.version_numbers(tenant_of(model)),
                keys.models(tenant_of(model)),
                keys.versions(model),
                keys.aliases(model),
                keys.version(model, ""),
                keys.digests(model),
            ),
        )

    def fail(self, error: JobError) -> None:
        """End the job without a version."""
        self._step("fail", ERROR.dump_json(error), more_keys=(self._index("running"), self._index("failed")))

    def hand_back(self, *, is_urgent: bool = True) -> None:
        """Queue the job for another attempt.

        Args:
            is_urgent: false leaves it to the reconciler to enqueue the job, some seconds later.
        """
        self._step("hand_back", more_keys=(self._index("running"), self._index("queued")))
        if is_urgent:
            self._queue.enqueue(self.job.id)

    def _index(self, status: JobStatus) -> str:
        return keys.jobs_with_status(status, tenant_of(self.job.id))

    def _step(self, script: str, *args: bytes | str | int, more_keys: tuple[str, ...] = ()) -> int:
        run = load_script(self._redis, script)
        answer: int = run(keys=[keys.job(self.job.id), *more_keys], args=[self.number, *args])
        if not answer:
            raise StaleAttemptError(self.job.id, self.number)
        return answer


def _long_names(names: Sequence[str]) -> bytes:
    """Return the names of features if they are too many for records and descriptions, else nothing."""
    return encode_names(names) if len(names) > MAX_NAMES_IN_RECORD else b""
