"""One training job as its record in Redis says it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson
from pydantic import ValidationError

from storage.errors import CorruptDataError
from storage.jobs.spec import SPEC, TrainingSpec

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
JOB_STATUSES: tuple[JobStatus, ...] = get_args(JobStatus)
DONE_STATUSES = frozenset({"succeeded", "failed", "cancelled"})


@dataclass(frozen=True)
class CheckpointReference:
    """Where the newest checkpoint of a job lies."""

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
    progress: Mapping[str, Any] | None
    version: int | None
    """The version that the job published."""
    result: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    checkpoint: CheckpointReference | None
    n_deaths: int
    """Attempts that died without getting further than those before."""

    @property
    def is_done(self) -> bool:
        """Whether the state is one that never changes again."""
        return self.status in DONE_STATUSES


@dataclass(frozen=True)
class BestNetwork:
    """The best network so far of a job that is not done."""

    job: Job
    weights: bytes
    """As safetensors, with the mean and scale of its features."""
    figures: Mapping[str, Any]
    """`epoch`, `cost`, `validation_cost`."""


@dataclass(frozen=True)
class Claim:
    """The right of one attempt to report on a job, granted by `JobStore.claim`; a later attempt or a cancel ends it."""

    job: Job
    attempt: int


def decode_job(job_id: str, record: Mapping[bytes, bytes]) -> Job:
    """Read what HGETALL gives of a job.

    Raises:
        CorruptDataError: it is something else.
    """

    def number(name: bytes) -> int | None:
        return int(record[name]) if name in record else None

    def value(name: bytes) -> Any:
        return orjson.loads(record[name]) if name in record else None

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
            metadata=value(b"metadata"),
            created_at_ms=int(record[b"created_at_ms"]),
            started_at_ms=number(b"started_at_ms"),
            finished_at_ms=number(b"finished_at_ms"),
            progress=value(b"progress"),
            version=number(b"version"),
            result=value(b"result"),
            error=value(b"error"),
            checkpoint=CheckpointReference(record[b"checkpoint"].decode(), int(record[b"checkpoint_epochs"]))
            if b"checkpoint" in record
            else None,
            n_deaths=number(b"n_deaths") or 0,
        )
    except (KeyError, ValueError, ValidationError) as error:
        raise CorruptDataError(f"the record of job {job_id!r} cannot be read: {error}") from error
