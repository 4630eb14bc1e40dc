"""What a sweep trains and what comes of it: candidates, and their networks, one for each fold."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from perceptron.config import LearningRate, TrainingConfig
from perceptron.network import Network
from perceptron.preprocessing.standardization import Standardization
from perceptron.training import StopReason

CandidateStop: TypeAlias = StopReason | Literal["diverged"]


@dataclass(frozen=True)
class Candidate:
    """What one candidate of a sweep has of its own; everything else is common to all."""

    learning_rate: LearningRate
    l2: float
    seed: int

    def config(self, common: TrainingConfig) -> TrainingConfig:
        """Give the config that trains this candidate alone."""
        return replace(common, learning_rate=self.learning_rate, l2=self.l2, seed=self.seed)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """What became of one candidate, on one fold."""

    candidate: int
    fold: int | None
    """the fold that it did not train on"""
    network: Network | None
    """for features standardized by `standardization`, of the epoch to keep; None when it diverged"""
    standardization: Standardization
    cost: float | None
    """of what it trained on, with the penalty; None when it diverged"""
    validation_cost: float | None
    """of the fold held out, without the penalty; None without folds or when it diverged"""
    epochs: int
    best_epoch: int
    stop_reason: CandidateStop | None
    """None when it still ran"""
    learning_rate: float
    """with "auto" what it came to on this fold"""


@dataclass(frozen=True)
class SweepProgress:
    """Where a sweep stands after an epoch."""

    epoch: int
    n_running: int
    """networks that still train: candidates times folds"""
    cost: float | None
    """the lowest one; None while all have diverged"""
    validation_cost: float | None
    """the lowest one of a fold"""
    is_last: bool
    total_epochs: int
    """done by now: each counts once for all networks that are trained together; it never falls"""
    trained: Callable[[], tuple[TrainedNetwork, ...]]
    """gives the networks as they are now, by candidate, then by fold; to be asked before the sweep goes on"""
    state: Callable[[], Any]
    """gives what `fit_sweep` goes on from, a `RaceState` or a `OneByOneState`; to be asked before the sweep goes on"""
