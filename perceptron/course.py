"""How the costs of a training went so far: what its end depends on, besides the last epoch itself."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats, Rows
from perceptron.losses import LOSSES
from perceptron.preprocessing.standardization import Moments

DIVERGENCE_FACTOR = 1000.0
"""A cost so many times the highest harmless one is high. Of 366 bad trainings 351 were found so, at a median of epoch
4, the others by their last cost, without a false alarm in 1,104; a factor of 10 gave 18."""
N_HIGH_EPOCHS = 3
"""A training with so many high costs in a row has diverged."""


class Course(NamedTuple):
    """How the costs of each network went, (n_networks,) each."""

    still_change: NDArray[np.float64]
    """a cost that changes by no more stands still"""
    highest: NDArray[np.float64]
    """max(C_start, C_null): no training that works ends above it"""
    n_still: Rows
    """epochs in a row in which the cost stood still"""
    n_high: Rows
    """epochs in a row with a cost above DIVERGENCE_FACTOR times the highest"""

    def after(self, previous: NDArray[np.float64] | float, costs: NDArray[np.float64]) -> "Course":
        """Give the course after one more epoch, with the costs (n_networks,) before and after it."""
        is_still = np.abs(previous - costs) <= self.still_change
        is_high = costs > DIVERGENCE_FACTOR * self.highest
        return self._replace(n_still=(self.n_still + 1) * is_still, n_high=(self.n_high + 1) * is_high)

    def take(self, which: Rows) -> "Course":
        """Give the course of some of the networks."""
        return Course(self.still_change[which], self.highest[which], self.n_still[which], self.n_high[which])


def constant_cost(
    targets: Floats, weights: Floats | None, *, loss: str, activation: str, scale: Floats | float = 1.0
) -> float:
    """Give C_null: the lowest cost of a network that gives the same outputs for all instances.

    That is the variance of the targets for mean_squared_error, and for cross_entropy the entropy of the classes.

    Args:
        targets: (n_instances, n_outputs).
        weights: the cost weights (n_instances,); None: all count the same.
        scale: give the cost of these targets divided by it, (n_outputs,).
    """
    moments = Moments.of(targets, None if weights is None else weights / weights.max())
    with np.errstate(over="ignore"):
        mean, variance = moments.mean * moments.unit, (moments.deviation / scale) ** 2
    return LOSSES[loss].of_constant(ACTIVATIONS[activation], mean, variance)
