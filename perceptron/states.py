"""The types that the states of trainings and sweeps are made of."""

from typing import Any

from perceptron.cost import Evaluation
from perceptron.course import Course
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.optimizer import Iterate
from perceptron.stopping import Kept
from perceptron.sweeps.states import NetworkResult, OneByOneState, RaceState
from perceptron.training import TrainingState


def state_types() -> dict[str, type[Any]]:
    """Give the named tuples by their names.

    Their fields hold one another, tuples, arrays, numbers, strings and None: a checkpoint has to store no more.
    """
    common = (TrainingState, Kept, RaceState, OneByOneState, NetworkResult, Iterate, Evaluation, Course)
    of_optimizers = (kind for optimizer in OPTIMIZERS.values() for kind in optimizer.states)
    return {kind.__name__: kind for kind in (*common, *of_optimizers)}
