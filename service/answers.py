"""What goes out as JSON."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

import storage

MAX_SHOWN_FEATURE_NAMES = 1_000


class FaultPayload(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter after a slash")
    detail: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None
    error: str
    errors: list[FaultPayload] = []


class JobErrorPayload(BaseModel):
    """Why a job failed."""

    type: str = "about:blank"
    title: str = "The training failed"
    code: Literal["diverged", "attempts_exhausted", "time_limit", "out_of_memory", "invalid_data", "internal"]
    detail: str


class EventPayload(BaseModel):
    """Something that happened to a job."""

    id: str = Field(description="Where to go on: `after` or `Last-Event-ID`.")
    type: Literal["status", "epoch", "log"]
    at: str
    data: dict[str, Any] = Field(
        description="`status`: the state, attempt and reason, and the version once there is one. `epoch`: a point of "
        "the learning curve. `log`: a message."
    )

    @classmethod
    def of(cls, event: storage.Event) -> "EventPayload":
        """Show an event."""
        return cls(id=event.id, type=event.type, at=rfc3339(event.at_ms), data=dict(event.data))


class EventList(BaseModel):
    """Events, the oldest first."""

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]  # flask-openapi3's
            "description": "So far, as JSON; or as they come, for `Accept: text/event-stream`.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    )

    data: list[EventPayload]
    has_more: bool
    last_id: str | None


class ProgressPayload(BaseModel):
    """How far a job is."""

    epoch: int
    max_epochs: int
    cost: float | None = Field(description="With a sweep, the lowest of its candidates.")
    validation_cost: float | None
    estimated_finish_at: str
    candidates: int | None = Field(None, description="Of a sweep.")
    running: int | None = Field(None, description="Networks of a sweep that still train: candidates times folds.")
    phase: Literal["refit"] | None = None


class LeaderboardEntry(BaseModel):
    """What became of one candidate."""

    rank: int
    candidate: int
    learning_rate: float | Literal["auto"]
    l2: float
    seed: int
    validation_cost: float | None = Field(description="Of the rows held out, over all folds.")
    cost: float | None
    epochs: int
    best_epoch: int
    stop_reason: Literal["converged", "max_epochs", "early_stopping", "time_limit", "diverged"]


class ResultPayload(BaseModel):
    """What a job gave."""

    version: int
    stop_reason: Literal["converged", "max_epochs", "early_stopping", "time_limit"]
    epochs: int = Field(description="How many were trained.")
    best_epoch: int = Field(description="Which one the version is: with early stopping not always the last.")
    cost: float = Field(description="Of the training set at the version's weights.")
    validation_cost: float | None
    metrics: dict[str, Any] = Field(
        description="On the rows held out, if any, else on the training rows; `training` holds those on the latter."
    )
    is_refitted: bool = Field(False, description="The version was trained once more, on all rows.")
    leaderboard: list[LeaderboardEntry] | None = Field(
        None, description="Of a sweep, the best first; only in the job itself, not in lists."
    )


class JobPayload(BaseModel):
    """A training job as it is now."""

    id: str
    model: str
    status: storage.JobStatus
    done: bool
    attempt: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    config: dict[str, Any] = Field(
        description="Task, network, training and validation with every default chosen; feature_names only up to 1,000."
    )
    progress: ProgressPayload | None
    result: ResultPayload | None
    error: JobErrorPayload | None
    metadata: dict[str, str]

    @classmethod
    def of(cls, job: storage.Job, *, in_list: bool = False) -> "JobPayload":
        """Show a job record; in a list without its leaderboard, which may be long."""
        result = dict(job.result or {})
        if in_list:
            result.pop("leaderboard", None)
        return cls.model_validate(
            {
                "id": job.id,
                "model": job.model,
                "status": job.status,
                "done": job.is_done,
                "attempt": job.attempt,
                "created_at": rfc3339(job.created_at_ms),
                "started_at": rfc3339(job.started_at_ms),
                "finished_at": rfc3339(job.finished_at_ms),
                "config": config_payload(job.spec),
                "progress": job.progress,
                "result": None if job.result is None else {"version": job.version, **result},
                "error": job.error,
                "metadata": job.metadata,
            }
        )


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    data: list[JobPayload]
    has_more: bool
    last_id: str | None


class ModelSummary(BaseModel):
    """A model in a list."""

    name: str
    latest_version: int
    n_versions: int
    aliases: dict[str, int]

    @classmethod
    def of(cls, model: storage.Model) -> "ModelSummary":
        """Show a model in short."""
        return cls(
            name=model.name,
            latest_version=model.versions[-1],
            n_versions=len(model.versions),
            aliases=dict(model.aliases),
        )


class ModelList(BaseModel):
    """A page of models in the order of their names."""

    data: list[ModelSummary]
    has_more: bool
    last_id: str | None


class VersionSummary(BaseModel):
    """A version in its model's list."""

    version: int
    created_at: str
    job: str
    metrics: dict[str, Any]


class ModelPayload(BaseModel):
    """What exists under one name."""

    name: str
    latest_version: int
    versions: list[VersionSummary]
    aliases: dict[str, int]


class VersionPayload(BaseModel):
    """One immutable trained network."""

    model_config = ConfigDict(extra="allow")

    model: str
    version: int
    created_at: str
    aliases: list[str] = Field(description="The aliases that point at this version now.")
    weights: list[list[list[float]]] | None = Field(
        description="weights[k] is a matrix [n_inputs_k][n_outputs_k], in the units of the raw features; null for "
        "networks of more than 10,000 parameters."
    )
    bias: list[list[float]] | None


class OutputsPayload(BaseModel):
    """What forward propagation gives."""

    outputs: list[list[float]] = Field(description="y_hat, one row for each instance")
    predictions: list[Any] = Field(description="The class, the value, or the list of values for each instance")


class VersionOutputsPayload(OutputsPayload):
    """What one of several versions gives."""

    aliases: list[str] | None = Field(None, description="The aliases that name it, if they were asked for.")


class PredictionPayload(OutputsPayload):
    """What a model gives."""

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]  # flask-openapi3's
            "description": "The outputs, in the form that `Accept` asks for; npy has the outputs alone.",
            "headers": {
                "Server-Timing": {"description": "`predict;dur=` and milliseconds", "schema": {"type": "string"}},
                "X-Model-Stale": {"description": "true while Redis is away", "schema": {"type": "string"}},
                "X-Model-Version": {"description": "in npy, CSV and Arrow answers", "schema": {"type": "string"}},
            },
            "content": {
                "application/x-npy": {"schema": {"type": "string", "format": "binary"}},
                "text/csv": {"schema": {"type": "string"}, "example": "output,prediction\n0.95,1\n0.04,0\n"},
                "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    )

    model: str
    version: int | None = Field(None, description="None of a provisional network, which is no version.")
    job: str | None = Field(None, description="As asked for.")
    provisional: bool = Field(False, description="From the best network so far of a job that still runs.")
    epoch: int | None = Field(None, description="Of a provisional network, as are cost and validation_cost.")
    cost: float | None = None
    validation_cost: float | None = None
    stale: bool = Field(False, description="Redis could not be asked: the version may have been superseded.")
    contributions: list[Any] | None = Field(
        None,
        description="With explain: for each instance a number for each feature (with several outputs, such a list for "
        "each output); with base and residual they sum to z.",
    )
    base: float | list[float] | None = Field(None, description="z of an instance whose features are all 0")
    residual: list[Any] | None = Field(
        None, description="What is missing of z: rounding, or for hidden layers the error of the integral"
    )
    by_version: dict[str, VersionOutputsPayload] | None = Field(None, description="With versions.")


class Readiness(BaseModel):
    """Whether the service can do its work."""

    status: Literal["ready"]
    redis: Literal["ok"]
    workers: int = Field(description="Training workers; with none, predictions go on and jobs wait.")


class Ready(BaseModel):
    """Predictions can be asked for."""

    status: Literal["ready"]


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["alive"]


def config_payload(spec: storage.TrainingSpec) -> dict[str, Any]:
    """Show what a job was asked to do, with every default chosen."""
    return {
        "task": spec.task.kind,
        "classes": spec.task.classes,
        "n_instances": spec.data.n_instances,
        "feature_names": spec.feature_names if len(spec.feature_names) <= MAX_SHOWN_FEATURE_NAMES else None,
        "network": asdict(spec.network),
        "training": asdict(spec.training) | {"time_limit_s": spec.time_limit_s},
        "validation": asdict(spec.validation) if spec.validation else None,
        "alias": spec.alias,
        "candidates": None if spec.sweep is None else len(spec.sweep.candidates),
        "start_from": asdict(spec.start_from) if spec.start_from else None,
    }


def rfc3339(milliseconds: int | None) -> str | None:
    """Write a time as RFC 3339 in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
