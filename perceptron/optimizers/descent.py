"""Gradient descent of one neuron on a data set that fits in a core's cache: the same steps with less ado.

An epoch on a few hundred instances takes some microseconds, less than the bookkeeping for many networks, many blocks
and many outputs. This loop has none: one product forward, one back, in place.
"""

import math
from collections.abc import Callable

import numpy as np

from perceptron.activations import ACTIVATIONS, Activation
from perceptron.architecture import Architecture
from perceptron.arrays import Floats
from perceptron.config import TrainingConfig
from perceptron.data.dataset import Dataset
from perceptron.objective import BLOCK_BYTES


class Descent:
    """The loop, ready to run. It gives what `epochs.full_batch` gives, to rounding."""

    def __init__(self, dataset: Dataset, config: TrainingConfig, activation: str) -> None:
        self._config = config
        n_instances, n_features = dataset.features.shape
        self._n_instances, self._n_features = n_instances, n_features
        # The bias is a weight whose input is always 1. Features lie in columns: both products are fastest so.
        self._columns = np.empty((n_features + 1, n_instances), dataset.features.dtype)
        self._columns[:-1] = dataset.features.T
        self._columns[-1] = 1
        targets = np.ascontiguousarray(dataset.targets[:, 0])
        self._mean = 2 / n_instances
        """what the sum of a gradient is multiplied by"""
        if activation == "sigmoid" and targets.dtype == np.float32:
            self._propagate = _sigmoid_by_tanh(targets)
            self._columns *= 0.5
            self._mean /= 4
        else:
            self._propagate = _by_definition(ACTIVATIONS[activation], targets)

    @classmethod
    def of(cls, architecture: Architecture, dataset: Dataset, config: TrainingConfig) -> "Descent | None":
        """Give the loop, or None where the general one is needed."""
        if (
            architecture.widths[1:] == (1,)
            and architecture.activations[0] != "step"
            and config.optimizer == "gradient_descent"
            and config.loss == "mean_squared_error"
            and (config.batch_size is None or config.batch_size >= dataset.n_instances)
            and dataset.instance_weights is None
            and dataset.features.nbytes <= BLOCK_BYTES
        ):
            return cls(dataset, config, architecture.activations[0])
        return None

    def run(
        self, parameters: Floats, cost: float, gradient: Floats, n_epochs: int
    ) -> tuple[int, Floats, float, float, Floats]:
        """Go on for so many epochs, or until converged or no longer finite.

        Args:
            parameters: (n_parameters,), the weights and then the bias; it is not changed.
            cost: at the parameters.
            gradient: (n_parameters,) at the parameters.

        Returns:
            The number of epochs done, the parameters, their cost, the cost before the last epoch, and the gradient.
        """
        columns, rows, propagate = self._columns, self._columns.T, self._propagate
        dtype = columns.dtype.type
        learning_rate, tolerance, l2 = dtype(self._config.known_learning_rate), self._config.tolerance, self._config.l2
        twice_l2, mean, n_instances = dtype(2 * l2), dtype(self._mean), self._n_instances
        parameters, gradient = parameters.copy(), gradient.copy()
        weights, weights_gradient = parameters[:-1], gradient[:-1]
        z, change = np.empty(n_instances, dtype), np.empty_like(parameters)
        n_done = 0
        dot, multiply, subtract, isfinite = np.dot, np.multiply, np.subtract, math.isfinite
        previous = cost
        for _ in range(n_epochs):
            n_done += 1
            multiply(gradient, learning_rate, out=change)
            subtract(parameters, change, out=parameters)
            previous = cost
            loss, delta = propagate(dot(rows, parameters, out=z))
            cost = loss / n_instances
            dot(columns, delta, out=gradient)
            multiply(gradient, mean, out=gradient)
            if l2:
                cost += l2 * float(dot(weights, weights))
                weights_gradient += twice_l2 * weights
            if abs(previous - cost) < tolerance or not isfinite(cost):
                break
        return n_done, parameters, cost, previous, gradient


Propagate = Callable[[Floats], tuple[float, Floats]]
"""From z (n_instances,), which it overwrites, to the sum of the losses and, up to the factor that makes it the mean's,
delta (n_instances,)."""


def _by_definition(activation: Activation, targets: Floats) -> Propagate:
    """loss = (y_hat - y)^2, delta = (y_hat - y) dy_hat/dz"""
    errors, subtract, dot = np.empty_like(targets), np.subtract, np.dot

    def propagate(z: Floats) -> tuple[float, Floats]:
        outputs = activation.apply(z)
        subtract(outputs, targets, out=errors)
        loss = float(dot(errors, errors))
        return loss, activation.pull_back(outputs, errors)

    return propagate


def _sigmoid_by_tanh(targets: Floats) -> Propagate:
    """The same for sigmoid and half of z, with four operations fewer on the way.

    With t = tanh(z/2), y_hat = (1 + t) / 2; so with e = t - (2 y - 1), which is twice the error,

        loss = e^2 / 4,    dy_hat/dz = (1 - t^2) / 4,    e (1 - t^2) = 8 delta
    """
    centred, errors = 2 * targets - 1, np.empty_like(targets)
    tanh, subtract, multiply, dot = np.tanh, np.subtract, np.multiply, np.dot

    def propagate(half_z: Floats) -> tuple[float, Floats]:
        t = tanh(half_z, out=half_z)
        subtract(t, centred, out=errors)
        loss = float(dot(errors, errors)) / 4
        multiply(t, t, out=t)
        multiply(t, errors, out=t)
        return loss, subtract(errors, t, out=errors)

    return propagate
