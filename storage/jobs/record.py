"""One training job as its record in Redis describes it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

from pydantic import Json, TypeAdapter

from storage import keys
from storage.alarm import report
from storage.errors import CorruptDataError
from storage.jobs.reports import Figures, JobError, LeaderboardEntry, Progress, Result
from storage.jobs.spec import TrainingSpec
from storage.log.faults import describe
from storage.tenants import owned, tenant_of
from storage.webhooks.record import WEBHOOK_FIELDS, Webhook, take_webhook

JobStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
DONE_STATUSES: frozenset[JobStatus] = frozenset({"succeeded", "failed", "cancelled"})


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
    """In a list without the leaderboard."""
    leaderboard: Json[tuple[LeaderboardEntry, ...]] | None = None
    """That of the result; an older record has it there."""
    error: Json[JobError] | None = None
    checkpoint: CheckpointReference | None = None
    n_deaths: int = 0
    """Attempts that died without getting further than those before."""
    webhook: Webhook | None = None
    enqueued_at_ms: int | None = None
    """When it was enqueued for the last time."""
    trace: Json[dict[str, str]] | None = None
    """`traceparent` and `tracestate` of the span that made the job."""

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


def ids_in(index: str, members: Iterable[bytes], tenant: str = "") -> list[str]:
    """Return the ids of jobs among the members of a tenant's index; what is no id is reported and left out."""
    ids = []
    for text in (member.decode("ascii", "replace") for member in members):
        if "/" not in text and keys.is_job_id(text):
            ids.append(owned(tenant, text))
        else:
            report(f"{index} has the member {text[:100]!r}, which is no job's id")
    return ids


LISTED_FIELDS = tuple(
    {each.name for each in fields(Job)} - {"id", "leaderboard", "spec"}
    | {"checkpoint_epochs", "short_spec", *WEBHOOK_FIELDS}
)
"""What a list of jobs reads of each record, and `spec` where there is no `short_spec`."""

METADATA = TypeAdapter(dict[str, str])
_JOB = TypeAdapter(Job)


def decode_job(job_id: str, record: Mapping[str, bytes]) -> Job:
    """Read the fields of a job.

    Raises:
        CorruptDataError: it is not the record of a job.
    """
    try:
        given: dict[str, Any] = {name: value.decode() for name, value in record.items()}
        if "short_spec" in given:
            given["spec"] = given.pop("short_spec")
        if "checkpoint" in given:
            given["checkpoint"] = {"blob": given["checkpoint"], "total_epochs": given["checkpoint_epochs"]}
        given["webhook"] = take_webhook(given)
        given["model"] = owned(tenant_of(job_id), given["model"])
        return _JOB.validate_python({"id": job_id, **given})
    except (KeyError, ValueError) as error:  # pydantic's ValidationError is a ValueError
        raise CorruptDataError(f"the record of job {job_id!r} cannot be read: {describe(error)}") from error
