"""What an optimizer is: a record of what it can do, and the function that makes a `Training`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, Rows
from perceptron.cost import Evaluation, Networks
from perceptron.course import Course
from perceptron.objective import Objective

MAX_HESSIAN_SIZE = 1_000
"""Optimizers that use the Hessian solve a matrix of this size in every epoch; a larger one takes more than 0.5 s."""

OptimizerState: TypeAlias = tuple[Any, ...]
"""A named tuple of arrays and numbers. Arrays have one row for each network, or the tuple has a method `take`."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What an optimizer has to solve, for one network or for many that are trained together."""

    objective: Objective
    networks: Networks
    learning_rates: NDArray[np.float64]
    """(n_networks,)"""
    batch_size: int | None = None
    """fewer than all instances; None: all"""
    seed: int = 0
    adapts: NDArray[np.bool_] | None = None
    """(n_networks,): whose learning rate is only the first one, which gradient descent changes as the cost goes; None:
    nobody's"""

    @property
    def learning_rate(self) -> float:
        """The learning rate of the only network."""
        (learning_rate,) = self.learning_rates.tolist()
        return float(learning_rate)


class Iterate(NamedTuple):
    """Where training is: everything that an epoch changes."""

    parameters: Floats
    """(n_networks, n_parameters)"""
    evaluation: Evaluation
    """at the parameters, over the whole training set; with gradients where the next epoch begins with them"""
    optimizer_state: OptimizerState = ()

    @property
    def costs(self) -> NDArray[np.float64]:
        """(n_networks,)"""
        return self.evaluation.costs

    @property
    def gradients(self) -> Floats:
        """(n_networks, n_parameters)"""
        return self.evaluation.gradients

    @property
    def held_out_costs(self) -> NDArray[np.float64] | None:
        """(n_networks,), with folds or a validation set"""
        return self.evaluation.held_out_costs

    def take(self, which: Rows) -> "Iterate":
        """Give the iterate of some of the networks."""
        return Iterate(self.parameters[which], self.evaluation.take(which), take_state(self.optimizer_state, which))

    def put(self, which: Rows, iterate: "Iterate") -> "Iterate":
        """Replace parameters and evaluation of some of the networks."""
        parameters, evaluation = self.parameters.copy(), self.evaluation.put(which, iterate.evaluation)
        parameters[which] = iterate.parameters
        return self._replace(parameters=parameters, evaluation=evaluation)


def take_state(state: OptimizerState, which: Rows) -> OptimizerState:
    """Give the state of some of the networks: these rows of every array; numbers are common to all."""
    if hasattr(state, "take"):
        taken: OptimizerState = state.take(which)
        return taken
    parts = [part[which] if isinstance(part, np.ndarray) else part for part in state]
    return type(state)(*parts) if parts else state


class Training(NamedTuple):
    """A way to train: `start(parameters)` gives the iterate of epoch 0, `epoch(iterate, k)` the one of epoch k."""

    start: Callable[[Floats], Iterate]
    epoch: Callable[[Iterate, int], Iterate]
    n_costs_compared: int = 1
    """the next cost is compared with the lowest of this many costs before it, to see whether training has converged"""
    has_converged: Callable[[Iterate], bool] | None = None
    """instead of that comparison, for one network"""


def epoch_rng(seed: int, epoch: int) -> np.random.Generator:
    """Give the random numbers of one epoch; those of epoch 0 are for the initialization.

    They depend on nothing else, so a training can be resumed after any epoch.
    """
    return np.random.default_rng([seed, epoch])


FastLoop: TypeAlias = Callable[[Iterate, Course, int, int], tuple[int, Iterate, Course]]
"""Trains from an iterate and the course up to it for at most so many epochs, until the cost stood still for so many of
them in a row, or training diverged. Gives the number of epochs done, the last iterate and the course up to it."""


@dataclass(frozen=True)
class Optimizer:
    """One optimizer. Config checks, sweeps, checkpoints and the service read what it can do here."""

    training: Callable[[Problem], Training]
    states: tuple[type[Any], ...] = ()
    """the named tuples that its `optimizer_state` is made of, for checkpoints"""
    follows_gradient: bool = True
    """False: it trains one output without a gradient, minimises no cost, and takes one instance at a time"""
    takes_batches: bool = True
    allows_hidden_layers: bool = True
    allows_auto: bool = True
    """whether learning_rate may be "auto": its steps are as long as the gradient says"""
    searches_step: bool = False
    """whether it finds the length of each step by itself, and ignores the learning rate"""
    uses_hessian: bool = False
    """an epoch builds and solves the matrix of second derivatives of one layer: for at most MAX_HESSIAN_SIZE
    parameters and for losses with `gauss_newton`; it takes long even on little data"""
    races: bool = True
    """whether a sweep trains all its networks together on the whole data set; otherwise one by one"""
    n_arrays: int = 16
    """arrays of the size of all parameters that a training keeps at once, with those of a checkpoint (measured)"""
    fast_loop: Callable[[Problem], FastLoop | None] | None = None
    """a faster loop for some problems, None for the others"""
