"""A learning rate that cannot be too large: one over the curvature of the cost of a single layer.

Gradient descent with alpha <= 1 / L never raises a cost whose second derivative is nowhere above L, in no direction.
With z = x~ @ w, x~ = (x, 1) and c the largest second derivative of the loss in z,

    L = c * lambda_max(1/n sum_i w_i x~_i x~_i')  +  2 l2

References:
    Y. Nesterov, "Lectures on Convex Optimization", 2018, section 1.2.3.
    D. Boehning, "Multinomial logistic regression algorithm", 1992 (softmax with cross-entropy).
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, row_blocks
from perceptron.config import NetworkConfig, TrainingConfig, check_trainable
from perceptron.data.dataset import Dataset
from perceptron.errors import InvalidDatasetError

MAX_EIGENVALUE_SIZE = 2048
"""Of the larger matrices only the trace is taken, a bound on the largest eigenvalue: those take seconds."""

# (s - y)^2 has the second derivative 2 s^2 (1 - s) (2 - 3 s) in z for y = 0, the same mirrored for y = 1, and something
# between the two for the y between. It is largest where 12 s^2 - 15 s + 4 = 0.
_STEEPEST = (15 - math.sqrt(33)) / 24
_SIGMOID_SQUARED_ERROR = 2 * _STEEPEST**2 * (1 - _STEEPEST) * (2 - 3 * _STEEPEST)

LARGEST_SECOND_DERIVATIVES: Mapping[tuple[str, str], float] = MappingProxyType(
    {
        ("identity", "mean_squared_error"): 2.0,
        # 0.154...
        ("sigmoid", "mean_squared_error"): _SIGMOID_SQUARED_ERROR,
        # tanh z = 2 sigmoid(2 z) - 1: the errors are twice as large, and change twice as fast: 2^2 * 2^2
        ("tanh", "mean_squared_error"): 16 * _SIGMOID_SQUARED_ERROR,
        # 2 where z > 0, and 0 below. At the corner the slope jumps down, by 2 y, which lowers the cost only more.
        ("relu", "mean_squared_error"): 2.0,
        # With y_hat = p, target class t and u = v - p @ v, in the direction v:
        #     2 sum_k p_k u_k^2 (2 p_k - [k = t] - p @ p + p_t)  <=  2 * 9/8 * (variance of v under p)  <=  9/8 v @ v
        # since p @ p >= p_k^2 + p_t^2 and p_k + p_t <= 1 bound the parenthesis by 9/8, met at p_t = 1/4, p_k = 3/4.
        ("softmax", "mean_squared_error"): 9 / 8,
        # p (1 - p)
        ("sigmoid", "cross_entropy"): 1 / 4,
        # diag(p) - p p'
        ("softmax", "cross_entropy"): 1 / 2,
    }
)
"""By output activation and loss, for targets that the activation can give; for softmax, of the matrix."""


def auto_learning_rate(dataset: Dataset, network_config: NetworkConfig, training_config: TrainingConfig) -> float:
    """Give 1 / L: with it, gradient descent on all instances at once lowers the cost in every epoch, to rounding.

    The features are taken as they are, as `fit` takes them.

    Raises:
        InvalidConfigError: the network has hidden layers or is trained by the perceptron rule, or adam is asked for.
        InvalidDatasetError: the features are so large that the rate would be 0.
    """
    check_trainable(network_config, replace(training_config, learning_rate="auto"))
    return rate_for(curvature(dataset, network_config, training_config.loss), training_config.l2)


def with_learning_rate(
    dataset: Dataset, network_config: NetworkConfig, training_config: TrainingConfig
) -> TrainingConfig:
    """Give the config with a number for "auto"; one that has a number already stays the same.

    Raises:
        InvalidConfigError, InvalidDatasetError: as `auto_learning_rate`.
    """
    if training_config.learning_rate != "auto":
        return training_config
    learning_rate = auto_learning_rate(dataset, network_config, training_config)
    return replace(training_config, learning_rate=learning_rate)


def curvature(dataset: Dataset, network_config: NetworkConfig, loss: str) -> float:
    """Give L without its penalty: what every config for the same data set and network has in common."""
    return LARGEST_SECOND_DERIVATIVES[network_config.activation, loss] * _largest_eigenvalue(dataset)


def rate_for(curvature: float, l2: float) -> float:
    """Give 1 / (curvature + 2 l2).

    Raises:
        InvalidDatasetError: that is 0.
    """
    bound = curvature + 2 * l2
    if not math.isfinite(bound):
        raise InvalidDatasetError(
            "the features are too large for learning_rate auto: scale them or set standardize to true"
        )
    return 1 / bound


def _largest_eigenvalue(dataset: Dataset) -> float:
    """Give that of 1/n sum_i w_i x~_i x~_i', or of the matrix of x~_i' x~_j, which has the same one, if smaller."""
    n_instances, n_inputs = dataset.n_instances, dataset.n_features + 1
    # In units of the largest number: the square of 1e200 would overflow before it is known to be needed.
    unit = max(float(-dataset.features.min()), float(dataset.features.max()), 1.0)
    weights = dataset.relative_weights()
    if min(n_instances, n_inputs) > MAX_EIGENVALUE_SIZE:
        trace = 0.0
        for rows in row_blocks(n_instances):
            inputs = _inputs(dataset, weights, rows, unit)
            trace += float(np.vdot(inputs, inputs))
        largest = trace
    elif n_instances < n_inputs:
        inputs = _inputs(dataset, weights, slice(None), unit)
        largest = float(np.linalg.eigvalsh(inputs @ inputs.T)[-1])
    else:
        gram = np.zeros((n_inputs, n_inputs))
        for rows in row_blocks(n_instances):
            inputs = _inputs(dataset, weights, rows, unit)
            gram += inputs.T @ inputs
        largest = float(np.linalg.eigvalsh(gram)[-1])
    return largest / n_instances * unit * unit


def _inputs(dataset: Dataset, weights: Floats | None, rows: slice, unit: float) -> NDArray[np.float64]:
    """Give sqrt(w_i) x~_i / unit of some rows."""
    features = dataset.features[rows]
    inputs = np.empty((len(features), features.shape[1] + 1))
    np.divide(features, unit, out=inputs[:, :-1])
    inputs[:, -1] = 1 / unit
    if weights is not None:
        inputs *= np.sqrt(weights[rows])[:, np.newaxis]
    return inputs
