"""A job as its owner sees it: in the answers of the API, and in the events that webhooks get.

The API writes the first and a worker the second, so both find it here.
"""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from pydantic import BaseModel, Field

from perceptron import Candidate
from storage.jobs.record import Job, JobStatus
from storage.jobs.reports import JobError, Progress, Result
from storage.jobs.spec import MAX_NAMES_IN_RECORD, TrainingSpec
from storage.tenants import local
from storage.times import rfc3339
from storage.webhooks.record import Webhook


@dataclass(frozen=True, kw_only=True)
class _Problem:
    type: str = "about:blank"
    title: str = "The training failed"


@dataclass(frozen=True)
class JobErrorPayload(JobError, _Problem):  # fields of the second base come first in the answer
    """Why a job failed."""


@dataclass(frozen=True)
class _Published:
    version: int


@dataclass(frozen=True)
class ResultPayload(Result, _Published):
    """What a job that succeeded came to."""


class WebhookPayload(BaseModel):
    """Who is told the end of the job, and how far that has come."""

    url: str
    delivered_at: str | None
    attempts: int
    last_error: str | None = Field(description="Why the last attempt that failed did so.")

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookPayload":
        """Return the payload of a job's webhook."""
        return cls(
            url=webhook.url,
            delivered_at=rfc3339(webhook.delivered_at_ms),
            attempts=webhook.attempts,
            last_error=webhook.last_error,
        )


class JobPayload(BaseModel):
    """A training job as it is now."""

    id: str
    model: str
    status: JobStatus
    done: bool
    attempt: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    config: dict[str, Any] = Field(
        description="What the job was asked to do, with every default filled in, and in `reasons` why: a sentence for "
        "each field that was chosen, by its path. Null in `training` is what the candidates of a sweep differ in. "
        "`feature_names` is null if there are more than 1,000."
    )
    progress: Progress | None
    result: ResultPayload | None
    error: JobErrorPayload | None
    metadata: dict[str, str]
    webhook: WebhookPayload | None

    @classmethod
    def of(cls, job: Job, *, in_list: bool = False) -> "JobPayload":
        """Return the payload of a job; in a list without the leaderboard, which may be long."""
        result, error = job.result, job.error
        if result is not None:
            result = replace(result, leaderboard=None if in_list else job.leaderboard or result.leaderboard)
        return cls(
            id=local(job.id),
            model=local(job.model),
            status=job.status,
            done=job.is_done,
            attempt=job.attempt,
            created_at=rfc3339(job.created_at_ms),
            started_at=rfc3339(job.started_at_ms),
            finished_at=rfc3339(job.finished_at_ms),
            config=config_payload(job.spec),
            progress=job.progress,
            result=None
            if result is None or job.version is None
            else ResultPayload(**vars(result), version=job.version),
            error=None if error is None else JobErrorPayload(error.code, error.detail),
            metadata=dict(job.metadata),
            webhook=None if job.webhook is None else WebhookPayload.of(job.webhook),
        )


class JobEndedPayload(BaseModel):
    """The end of a job, as its webhook is told it. It may come twice, with the same id."""

    id: str = Field(description="Also in the header webhook-id: what has it came before.")
    type: Literal["job.succeeded", "job.failed", "job.cancelled"]
    created_at: str
    data: JobPayload = Field(description="The job as it was at its end, without the leaderboard.")

    @classmethod
    def of(cls, job: Job) -> "JobEndedPayload":
        """Return the event of a job that is done: the same whenever it is asked for."""
        if job.webhook is not None:
            job = replace(job, webhook=Webhook(job.webhook.url))
        return cls(
            id=local(job.id).replace("job_", "evt_"),
            type=f"job.{job.status}",
            created_at=rfc3339(job.finished_at_ms),
            data=JobPayload.of(job, in_list=True),
        )


def config_payload(spec: TrainingSpec) -> dict[str, Any]:
    """Return what a job was asked to do, with every default filled in; null for what its candidates differ in."""
    training = asdict(spec.training) | {"time_limit_s": spec.time_limit_s}
    if spec.sweep is not None:
        for name in (each.name for each in fields(Candidate)):
            values = {getattr(each, name) for each in spec.sweep.candidates}
            training[name] = values.pop() if len(values) == 1 else None
    return {
        "task": spec.task.kind,
        "classes": spec.task.classes,
        "n_instances": spec.data.n_instances,
        "feature_names": spec.feature_names if spec.table is None and not _has_many(spec.data.n_features) else None,
        **_table_payload(spec),
        "network": asdict(spec.network),
        "training": training,
        "validation": asdict(spec.validation) if spec.validation else None,
        "alias": spec.alias,
        "candidates": None if spec.sweep is None else len(spec.sweep.candidates),
        "start_from": asdict(spec.start_from) if spec.start_from else None,
        "reasons": dict(spec.reasons),
    }


def _has_many(n_names: int) -> bool:
    return n_names > MAX_NAMES_IN_RECORD


def _table_payload(spec: TrainingSpec) -> dict[str, Any]:
    if spec.table is None:
        return {}
    return {
        "dataset": spec.data.dataset,
        "dataset_digest": f"sha256:{spec.data.blob}" if spec.data.blob else None,
        "target": spec.table.target,
        "columns": spec.table.features or None,
        "weights": spec.table.weights,
        "categorical": spec.table.categorical,
    }
