"""Jobs, their events, and what a job would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from perceptron_client.answers import html, plots
from perceptron_client.answers.answer import Answer, time_of


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Notice(Answer):
    """A warning of the service."""

    code: str
    detail: str
    pointer: str | None
    """Of a prediction: the cell that it is about."""

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {"code": raw["code"], "detail": raw.get("detail", ""), "pointer": raw.get("pointer")}


def notices_of(values: Iterable[Mapping[str, Any]] | None) -> tuple[Notice, ...]:
    """Read a list of warnings."""
    return tuple(map(Notice.of, values or ()))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Progress(Answer):
    """How far a job is."""

    epoch: int
    max_epochs: int
    cost: float | None
    validation_cost: float | None
    estimated_finish_at: datetime | None

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {
            "epoch": raw["epoch"],
            "max_epochs": raw["max_epochs"],
            "cost": raw.get("cost"),
            "validation_cost": raw.get("validation_cost"),
            "estimated_finish_at": time_of(raw.get("estimated_finish_at")),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Result(Answer):
    """What a job that succeeded came to."""

    version: int
    stop_reason: str
    epochs: int
    best_epoch: int | None
    cost: float | None
    validation_cost: float | None
    metrics: Mapping[str, Any]
    warnings: tuple[Notice, ...]
    leaderboard: tuple[Mapping[str, Any], ...] | None
    """The candidates of a sweep, best first."""

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        leaderboard = raw.get("leaderboard")
        return {
            "version": raw["version"],
            "stop_reason": raw["stop_reason"],
            "epochs": raw["epochs"],
            "best_epoch": raw.get("best_epoch"),
            "cost": raw.get("cost"),
            "validation_cost": raw.get("validation_cost"),
            "metrics": raw.get("metrics") or {},
            "warnings": notices_of(raw.get("warnings")),
            "leaderboard": None if leaderboard is None else tuple(leaderboard),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class JobError(Answer):
    """Why a job failed."""

    code: str
    detail: str

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {"code": raw["code"], "detail": raw.get("detail", "")}


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Webhook(Answer):
    """Who is told the end of a job, and how far that has come."""

    url: str
    delivered_at: datetime | None
    attempts: int
    last_error: str | None

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {
            "url": raw["url"],
            "delivered_at": time_of(raw.get("delivered_at")),
            "attempts": raw.get("attempts", 0),
            "last_error": raw.get("last_error"),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Event(Answer):
    """Something that happened to a job: `status`, `epoch` (a point of the learning curve) or `log`."""

    id: str
    type: str
    at: datetime | None
    data: Mapping[str, Any]

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        return {"id": raw["id"], "type": raw["type"], "at": time_of(raw.get("at")), "data": raw.get("data") or {}}

    @property
    def ends_the_job(self) -> bool:
        """Whether no event comes after this one."""
        return self.type == "status" and self.data.get("status") in ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Job(Answer):
    """A training job as it was when the service answered."""

    id: str
    model: str
    status: str
    done: bool
    attempt: int
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    config: Mapping[str, Any] = field(repr=False)
    """Every setting that was given or chosen; `reasons` says why."""
    progress: Progress | None
    result: Result | None
    error: JobError | None
    metadata: Mapping[str, str]
    webhook: Webhook | None
    _curve: Callable[[str], Any] | None = field(default=None, repr=False)

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        progress, result, error = raw.get("progress"), raw.get("result"), raw.get("error")
        webhook = raw.get("webhook")
        return {
            "id": raw["id"],
            "model": raw["model"],
            "status": raw["status"],
            "done": raw["done"],
            "attempt": raw.get("attempt", 0),
            "created_at": time_of(raw.get("created_at")),
            "started_at": time_of(raw.get("started_at")),
            "finished_at": time_of(raw.get("finished_at")),
            "config": raw.get("config") or {},
            "progress": None if progress is None else Progress.of(progress),
            "result": None if result is None else Result.of(result),
            "error": None if error is None else JobError.of(error),
            "metadata": raw.get("metadata") or {},
            "webhook": None if webhook is None else Webhook.of(webhook),
        }

    @property
    def version(self) -> int | None:
        """The number of the version that the job published."""
        return None if self.result is None else self.result.version

    @property
    def metrics(self) -> Mapping[str, Any]:
        """How good the version is; empty until the job has succeeded."""
        return {} if self.result is None else self.result.metrics

    def with_curve(self, curve: Callable[[str], Any]) -> Self:
        """Return the job with what loads its events."""
        return replace(self, _curve=curve)

    def plot(self, *, events: Iterable[Event] | None = None, ax: Any = None) -> Any:
        """Draw the learning curve so far; needs matplotlib.

        Args:
            events: those of the job; None: asked for. A job of an AsyncClient needs them.
            ax: the axes to draw on; None: new ones.

        Returns:
            The axes.
        """
        return plots.learning_curve(self, plots.loaded(events, self.id, self._curve), ax)

    def _repr_html_(self) -> str:
        rows: dict[str, Any] = {"id": self.id, "model": self.model, "status": self.status}
        if self.progress is not None and not self.done:
            rows |= {"epoch": f"{self.progress.epoch} of {self.progress.max_epochs}", "cost": self.progress.cost}
        if self.result is not None:
            rows |= {"version": self.result.version, "stopped": self.result.stop_reason, "epochs": self.result.epochs}
            rows |= html.figures(self.result.metrics)
            rows |= html.notices(self.result.warnings)
        if self.error is not None:
            rows |= {"error": self.error.code, "detail": self.error.detail}
        return html.card("Job", rows)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class DryRun(Answer):
    """What a job would do."""

    config: Mapping[str, Any] = field(repr=False)
    warnings: tuple[Notice, ...]
    feature_names: tuple[str, ...] | None
    n_features: int
    n_parameters: int
    n_networks: int
    memory_bytes: int
    epoch_s: float
    at_most_s: float

    @classmethod
    def members_of(cls, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of all members but `raw`."""
        names = raw.get("feature_names")
        same = ("n_features", "n_parameters", "n_networks", "memory_bytes", "epoch_s", "at_most_s")
        return {
            "config": raw["config"],
            "warnings": notices_of(raw.get("warnings")),
            "feature_names": None if names is None else tuple(names),
            **{name: raw[name] for name in same},
        }
