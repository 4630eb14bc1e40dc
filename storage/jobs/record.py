"""One training job as its record in Redis describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_args

from pydantic import TypeAdapter

from storage.errors import CorruptDataError
from storage.jobs.reports import ERROR, PROGRESS, RESULT, Figures, JobError, Progress, Result
from storage.jobs.spec import SPEC, TrainingSpec

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
JOB_STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)
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
    spec: TrainingSpec
    metadata: Mapping[str, str]
    created_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    progress: Progress | None
    version: int | None
    """The version that the job published."""
    result: Result | None
    error: JobError | None
    checkpoint: CheckpointReference | None
    n_deaths: int
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
    """A running attempt, and the last heartbeat that was seen of it."""

    job_id: str
    number: int
    heartbeat_at_ms: int


METADATA = TypeAdapter(dict[str, str])

Value = TypeVar("Value")


def decode_job(job_id: str, record: Mapping[bytes, bytes]) -> Job:
    """Read what HGETALL gives of a job.

    Raises:
        CorruptDataError: it is not the record of a job.
    """

    def number(name: bytes) -> int | None:
        return int(record[name]) if name in record else None

    def value(name: bytes, kind: TypeAdapter[Value]) -> Value | None:
        return kind.validate_json(record[name]) if name in record else None

    try:
        status = record[b"status"].decode()
        if status not in JOB_STATUSES:
            raise ValueError(f"unknown status {status!r}")
        return Job(
            id=job_id,
            model=record[b"model"].decode(),
            status=status,
            attempt=int(record[b"attempt"]),
            revision=int(record[b"revision"]),
            spec=SPEC.validate_json(record[b"spec"]),
            metadata=METADATA.validate_json(record[b"metadata"]),
            created_at_ms=int(record[b"created_at_ms"]),
            started_at_ms=number(b"started_at_ms"),
            finished_at_ms=number(b"finished_at_ms"),
            progress=value(b"progress", PROGRESS),
            version=number(b"version"),
            result=value(b"result", RESULT),
            error=value(b"error", ERROR),
            checkpoint=CheckpointReference(record[b"checkpoint"].decode(), int(record[b"checkpoint_epochs"]))
            if b"checkpoint" in record
            else None,
            n_deaths=number(b"n_deaths") or 0,
        )
    except (KeyError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise CorruptDataError(f"the record of job {job_id!r} cannot be read: {error}") from error
