"""The states that a sweep can be resumed from."""

from typing import NamedTuple, TypeAlias

from perceptron.arrays import Floats, Rows
from perceptron.course import Course
from perceptron.optimizers.optimizer import Iterate
from perceptron.stopping import Kept, StopReason
from perceptron.training import TrainingState


class RaceState(NamedTuple):
    """Everything that changes while networks are trained together. Arrays are by network, candidates first."""

    epoch: int
    iterate: Iterate
    """of those that still run"""
    running: Rows
    """their indices"""
    kept: Kept
    """costs are infinite where no epoch was finite"""
    epochs: Rows
    """the last one that each network has trained"""
    stop_reasons: tuple[StopReason | None, ...]
    course: Course
    """of those that still run"""


class NetworkResult(NamedTuple):
    """The network of one candidate, on one fold: a `TrainedNetwork` as arrays and numbers."""

    parameters: Floats | None
    """(n_parameters,); None when it diverged"""
    cost: float | None
    validation_cost: float | None
    epochs: int
    best_epoch: int
    stop_reason: StopReason | None
    learning_rate: float


class OneByOneState(NamedTuple):
    """Everything that changes while networks are trained one after the other."""

    done: tuple[NetworkResult, ...] = ()
    """by candidate, then by fold"""
    current: TrainingState | None = None
    """of the next one, once it has begun"""


SweepState: TypeAlias = RaceState | OneByOneState
