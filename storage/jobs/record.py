"""One training job as its record in Redis describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import Json, TypeAdapter

from storage.errors import CorruptDataError
from storage.jobs.reports import Figures, JobError, Progress, Result
from storage.jobs.spec import TrainingSpec

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
DONE_STATUSES = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class CheckpointReference:
    """The newest checkpoint of a job."""

    blob: str
    """sha256 and name in the blob store."""
    total_epochs: int


@dataclass(frozen=True)
class Job:
    """A job record as it was at one moment. Times are milliseconds since 1970, UTC."""

    id: str
    model: str
    status: JobStatus
    attempt: int
    revision: int
    """Grows with every change of the record."""
    spec: Json[TrainingSpec]
    metadata: Json[dict[str, str]]
    created_at_ms: int
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    progress: Json[Progress] | None = None
    version: int | None = None
    """The version that the job published."""
    result: Json[Result] | None = None
    error: Json[JobError] | None = None
    checkpoint: CheckpointReference | None = None
    n_deaths: int = 0
    """Attempts that died without getting further than those before."""

    @property
    def is_done(self) -> bool:
        """Whether the job is in a state that never changes again."""
        return self.status in DONE_STATUSES


@dataclass(frozen=True)
class BestNetwork:
    """The best network so far of a job that is not done."""

    job: Job
    weights: bytes
    """As `encode_model` writes them, with the mean and scale of the features."""
    figures: Figures


class SilentAttempt(NamedTuple):
    """A running attempt and its last known heartbeat."""

    job_id: str
    number: int
    heartbeat_at_ms: int


METADATA = TypeAdapter(dict[str, str])
_JOB = TypeAdapter(Job)


def decode_job(job_id: str, record: Mapping[bytes, bytes]) -> Job:
    """Read what HGETALL gives of a job.

    Raises:
        CorruptDataError: it is not the record of a job.
    """
    try:
        fields: dict[str, Any] = {name.decode(): value.decode() for name, value in record.items()}
        if "checkpoint" in fields:
            fields["checkpoint"] = {"blob": fields["checkpoint"], "total_epochs": fields["checkpoint_epochs"]}
        return _JOB.validate_python({"id": job_id, **fields})
    except (KeyError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise CorruptDataError(f"the record of job {job_id!r} cannot be read: {error}") from error
