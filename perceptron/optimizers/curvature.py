"""Learning rate "auto": one over the curvature of the cost of a single layer, which is never too large.

Gradient descent with alpha <= 1 / L never raises a cost whose second derivative is nowhere above L, in no direction.
With z = x~ @ w, x~ = (x, 1) and c the largest second derivative of the loss in z,

    L = c * lambda_max(1/n sum_i w_i x~_i x~_i')  +  2 l2

References:
    Y. Nesterov, "Lectures on Convex Optimization", 2018, section 1.2.3.
    D. Boehning, "Multinomial logistic regression algorithm", 1992 (softmax with cross-entropy).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import NetworkConfig
from perceptron.arrays import Floats, row_blocks
from perceptron.config import TrainingConfig, check_trainable
from perceptron.data.dataset import Dataset, WeightTotals
from perceptron.errors import InvalidDatasetError
from perceptron.losses import LOSSES

MAX_EIGENVALUE_SIZE = 2048
"""The eigenvalues of larger matrices take seconds: their trace is used, a bound on the largest eigenvalue."""


def auto_learning_rate(dataset: Dataset, network_config: NetworkConfig, training_config: TrainingConfig) -> float:
    """Give 1 / L: with it, gradient descent on all instances at once lowers the cost in every epoch, to rounding.

    The features are taken as they are, as `fit` takes them.

    Raises:
        InvalidConfigError: auto cannot be used with this network, optimizer or loss.
        InvalidDatasetError: the features are so large that the rate would be 0.
    """
    check_trainable(network_config, replace(training_config, learning_rate="auto"))
    return rate_for(curvature(dataset, network_config, training_config.loss), training_config.l2)


def with_learning_rate(
    dataset: Dataset, network_config: NetworkConfig, training_config: TrainingConfig
) -> TrainingConfig:
    """Replace "auto" by its number in a config; a config with a number stays the same.

    Raises:
        InvalidConfigError, InvalidDatasetError: as `auto_learning_rate`.
    """
    if training_config.learning_rate != "auto":
        return training_config
    learning_rate = auto_learning_rate(dataset, network_config, training_config)
    return replace(training_config, learning_rate=learning_rate)


def curvature(dataset: Dataset, network_config: NetworkConfig, loss: str) -> float:
    """Give L without its penalty: it is the same for every config with this data set, network and loss."""
    of_loss = LOSSES[loss].curvature(ACTIVATIONS[network_config.activation])
    assert of_loss is not None, "check_trainable refuses auto where it is unknown"
    return of_loss * _largest_eigenvalue(dataset)


def rate_for(curvature: float, l2: float) -> float:
    """Give 1 / (curvature + 2 l2).

    Raises:
        InvalidDatasetError: the result would be 0.
    """
    bound = curvature + 2 * l2
    if not math.isfinite(bound):
        raise InvalidDatasetError(
            "the features are too large for learning_rate auto: scale them or set standardize to true"
        )
    return 1 / bound


@dataclass(frozen=True, eq=False)
class InputSquares:
    """The sum of w_i x~_i x~_i' over some rows, or only its trace; those of parts combine to those of the whole."""

    n_rows: int
    unit: float
    """the largest number: the square of 1e200 would overflow"""
    squares: NDArray[np.float64]
    """in units of unit^2; (n_inputs, n_inputs), or () where only the trace is affordable"""

    @classmethod
    def of(cls, dataset: Dataset, totals: WeightTotals | None = None) -> "InputSquares":
        """Sum over a data set.

        Args:
            totals: of the data set that this one is a part of; None: of this one.
        """
        n_inputs = dataset.n_features + 1
        unit, weights = _unit(dataset), dataset.relative_weights(totals)
        has_matrix = n_inputs <= MAX_EIGENVALUE_SIZE
        squares = np.zeros((n_inputs, n_inputs) if has_matrix else ())
        for rows in row_blocks(dataset.n_instances):
            inputs = _inputs(dataset, weights, rows, unit)
            squares += inputs.T @ inputs if has_matrix else np.vdot(inputs, inputs)
        return cls(dataset.n_instances, unit, squares)

    def combine(self, other: "InputSquares") -> "InputSquares":
        """Give the sums over both parts of the rows."""
        unit = max(self.unit, other.unit)
        squares = self.squares * (self.unit / unit) ** 2 + other.squares * (other.unit / unit) ** 2
        return InputSquares(self.n_rows + other.n_rows, unit, squares)

    def largest_eigenvalue(self) -> float:
        """Give that of 1/n sum_i w_i x~_i x~_i', or its trace, which is at least as large."""
        largest = float(np.linalg.eigvalsh(self.squares)[-1] if self.squares.ndim else self.squares)
        return largest / self.n_rows * self.unit * self.unit


def _largest_eigenvalue(dataset: Dataset) -> float:
    if dataset.n_instances > min(dataset.n_features, MAX_EIGENVALUE_SIZE):
        return InputSquares.of(dataset).largest_eigenvalue()
    # The matrix of x~_i' x~_j is smaller and has the same one.
    unit = _unit(dataset)
    inputs = _inputs(dataset, dataset.relative_weights(), slice(None), unit)
    return InputSquares(dataset.n_instances, unit, inputs @ inputs.T).largest_eigenvalue()


def _unit(dataset: Dataset) -> float:
    return max(float(-dataset.features.min()), float(dataset.features.max()), 1.0)


def _inputs(dataset: Dataset, weights: Floats | None, rows: slice, unit: float) -> NDArray[np.float64]:
    """Give sqrt(w_i) x~_i / unit of some rows."""
    features = dataset.features[rows]
    inputs = np.empty((len(features), features.shape[1] + 1))
    np.divide(features, unit, out=inputs[:, :-1])
    inputs[:, -1] = 1 / unit
    if weights is not None:
        inputs *= np.sqrt(weights[rows])[:, np.newaxis]
    return inputs
