"""What a worker reports about a job: its progress and its outcome. Redis keeps each as JSON.

The API shows these types unchanged, so their docstrings and descriptions are part of its documentation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from perceptron import LearningRate

EndReason: TypeAlias = Literal["converged", "max_epochs", "early_stopping", "time_limit"]
ErrorCode: TypeAlias = Literal[
    "diverged", "attempts_exhausted", "time_limit", "out_of_memory", "invalid_data", "internal"
]
Metrics: TypeAlias = Mapping[str, JsonValue]
"""The figures of `perceptron.evaluate`, which depend on the task, and which rows they were measured on."""

_DOCUMENTED = ConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True)
class Figures:
    """How good a network was after an epoch."""

    epoch: int
    cost: float | None
    validation_cost: float | None


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    __pydantic_config__ = _DOCUMENTED

    epoch: int
    max_epochs: int
    cost: float | None
    """With a sweep, the lowest of its candidates."""
    validation_cost: float | None
    estimated_finish_at: str
    candidates: int | None = None
    """How many candidates a sweep has."""
    running: int | None = None
    """Networks of a sweep that still train: candidates times folds."""
    phase: Literal["refit"] | None = None


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    code: ErrorCode
    detail: str


@dataclass(frozen=True)
class LeaderboardEntry:
    """The outcome of one candidate of a sweep."""

    __pydantic_config__ = _DOCUMENTED

    rank: int
    candidate: int
    learning_rate: LearningRate
    l2: float
    seed: int
    validation_cost: float | None
    """The cost of the rows held out, over all folds."""
    cost: float | None
    epochs: int
    best_epoch: int
    stop_reason: Literal[EndReason, "diverged"]


WarningCode: TypeAlias = Literal[
    "not_better_than_constant",
    "not_converged",
    "class_never_predicted",
    "separable_without_l2",
    "fewer_rows_than_weights",
    "metric_undefined",
    "leak",
]


@dataclass(frozen=True)
class TrainingWarning:
    """What to know about a network that was trained without an error."""

    code: WarningCode
    detail: str


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training: part of the job's result and of the version's description."""

    stop_reason: EndReason
    epochs: Annotated[int, Field(description="How many were trained.")]
    best_epoch: Annotated[
        int, Field(description="The epoch of the version's network; with early stopping not always the last.")
    ]
    cost: Annotated[float, Field(description="The cost of the training set at the version's weights.")]
    validation_cost: float | None
    metrics: Annotated[
        Metrics,
        Field(
            description="On the rows held out, if any, else on the training rows; `training` holds those on the latter."
        ),
    ]
    is_refitted: Annotated[bool, Field(description="The version was trained once more, on all rows.")] = False
    warnings: Annotated[
        tuple[TrainingWarning, ...], Field(description="What to know before the version is used; often empty.")
    ] = ()


@dataclass(frozen=True)
class Result(Outcome):
    """The outcome of a job that succeeded, besides its version."""

    leaderboard: Annotated[
        tuple[LeaderboardEntry, ...] | None,
        Field(description="The candidates of a sweep, best first. Lists of jobs leave it out."),
    ] = None


FIGURES = TypeAdapter(Figures)
PROGRESS = TypeAdapter(Progress)
ERROR = TypeAdapter(JobError)
RESULT = TypeAdapter(Result)
LEADERBOARD = TypeAdapter(tuple[LeaderboardEntry, ...])
