"""What a sweep trains and what it gives: candidates, and their networks, one for each fold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import overload

from perceptron.config import LearningRate, TrainingConfig
from perceptron.network import Network
from perceptron.preprocessing.standardization import Standardization
from perceptron.stopping import StopReason
from perceptron.sweeps.states import SweepState


@dataclass(frozen=True)
class Candidate:
    """The settings that one candidate of a sweep has of its own; all others are common."""

    learning_rate: LearningRate
    l2: float
    seed: int

    def config(self, common: TrainingConfig) -> TrainingConfig:
        """Give the config that trains this candidate alone."""
        return replace(common, learning_rate=self.learning_rate, l2=self.l2, seed=self.seed)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The network of one candidate, on one fold."""

    candidate: int
    fold: int | None
    """the fold that it did not train on"""
    make: Callable[[], Network] | None
    """makes the network; None when it diverged"""
    standardization: Standardization
    cost: float | None
    """of its training set, with the penalty; None when it diverged"""
    validation_cost: float | None
    """of the fold held out, without the penalty; None without folds or when it diverged"""
    epochs: int
    best_epoch: int
    stop_reason: StopReason | None
    """None while it trains"""
    learning_rate: float
    """with "auto" the number for this fold"""

    @cached_property
    def network(self) -> Network | None:
        """For features standardized by `standardization`, of the epoch to keep; None when it diverged."""
        return None if self.make is None else self.make()


class TrainedNetworks(Sequence[TrainedNetwork]):
    """All networks of a sweep after one epoch. Each is made when it is asked for: there may be 100,000."""

    def __init__(self, n: int, get: Callable[[int], TrainedNetwork]) -> None:
        self._n, self._get = n, get

    def __len__(self) -> int:
        return self._n

    @overload
    def __getitem__(self, index: int) -> TrainedNetwork: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TrainedNetwork]: ...

    def __getitem__(self, index: int | slice) -> TrainedNetwork | Sequence[TrainedNetwork]:
        if isinstance(index, slice):
            return [self._get(k) for k in range(self._n)[index]]
        return self._get(range(self._n)[index])


@dataclass(frozen=True)
class SweepProgress:
    """The state of a sweep after an epoch."""

    epoch: int
    n_running: int
    """networks that still train: candidates times folds"""
    cost: float | None
    """the lowest one; None when all have diverged"""
    validation_cost: float | None
    """the lowest one of a fold"""
    is_last: bool
    total_epochs: int
    """so far: an epoch counts once for all networks that are trained together; it never falls"""
    trained: Callable[[], Sequence[TrainedNetwork]]
    """gives the networks as they are now, by candidate, then by fold; call it before the next epoch"""
    state: Callable[[], SweepState]
    """gives what `fit_sweep` can resume from; call it before the next epoch"""
