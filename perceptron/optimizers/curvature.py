"""Learning rate "auto": one over the curvature of the cost. For a single layer it is never too large.

Gradient descent with alpha <= 1 / L never raises a cost whose second derivative is nowhere above L, in no direction.
With z = x~ @ w, x~ = (x, 1) and c the largest second derivative of the loss in z,

    L = c * lambda_max(1/n sum_i w_i x~_i x~_i')  +  2 l2

With hidden layers no such bound exists. There L is the largest eigenvalue of the Hessian at the start, by power
iteration. Gradient descent on all instances begins with 1 / L and then follows the cost (see
`gradient.plain_or_adaptive`); momentum and mini-batches keep it. `docs/defaults.md` compares the two.

References:
    Y. Nesterov, "Lectures on Convex Optimization", 2018, section 1.2.3.
    D. Boehning, "Multinomial logistic regression algorithm", 1992 (softmax with cross-entropy).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture, NetworkConfig
from perceptron.arrays import Floats, row_blocks
from perceptron.config import TrainingConfig, check_trainable
from perceptron.cost import Networks
from perceptron.data.dataset import Dataset, WeightTotals
from perceptron.errors import InvalidDatasetError
from perceptron.initialization import default_initialization, initialize
from perceptron.losses import LOSSES
from perceptron.objective import Objective
from perceptron.optimizers.optimizer import epoch_rng

N_DIFFERENCES, MAX_HESSIAN_ROWS = 20, 20_000
"""Steps of the power iteration, and the rows that it takes gradients of."""

MAX_EIGENVALUE_SIZE = 2048
"""The eigenvalues of larger matrices take seconds: their trace is used, a bound on the largest eigenvalue."""


def auto_learning_rate(dataset: Dataset, network_config: NetworkConfig, training_config: TrainingConfig) -> float:
    """Give 1 / L. Without hidden layers, gradient descent on all instances at once then lowers the cost in every epoch,
    to rounding.

    The features are taken as they are, as `fit` takes them.

    Raises:
        InvalidConfigError: auto cannot be used with this network, optimizer or loss.
        InvalidDatasetError: the features are so large that the rate would be 0.
    """
    check_trainable(network_config, replace(training_config, learning_rate="auto"))
    return rate_for(curvature(dataset, network_config, training_config), training_config.l2)


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


def curvature(dataset: Dataset, network_config: NetworkConfig, training_config: TrainingConfig) -> float:
    """Give L without its penalty: it is the same for every config with this data set, network and loss, and with hidden
    layers this seed."""
    if network_config.hidden_layers:
        return _hessian_eigenvalue(dataset, network_config, training_config)
    of_loss = LOSSES[training_config.loss].curvature(ACTIVATIONS[network_config.activation])
    assert of_loss is not None, "check_trainable refuses auto where it is unknown"
    return of_loss * _largest_eigenvalue(dataset)


def rate_for(curvature: float, l2: float) -> float:
    """Give 1 / (curvature + 2 l2).

    Raises:
        InvalidDatasetError: the result would be 0.
    """
    bound = curvature + 2 * l2
    if bound == 0:
        return 1.0  # nothing depends on the parameters
    if not math.isfinite(bound):
        raise InvalidDatasetError(
            "the features are too large for learning_rate auto: scale them or set standardize to true"
        )
    return 1 / bound


def _hessian_eigenvalue(dataset: Dataset, network_config: NetworkConfig, training_config: TrainingConfig) -> float:
    """Give the largest eigenvalue, by its size, of the Hessian at the first parameters.

    H v is (gradient(w + h v) - gradient(w)) / h, and v <- H v / |H v| turns towards its eigenvector.

    References:
        Y. LeCun, P. Simard, B. Pearlmutter, "Automatic learning rate maximization by on-line estimation of the
        Hessian's eigenvectors", 1992.
    """
    rng = np.random.default_rng([training_config.seed, 0, 3])
    if dataset.n_instances > MAX_HESSIAN_ROWS:
        rows = np.arange(dataset.n_instances) if dataset.cost_weights is None else np.flatnonzero(dataset.cost_weights)
        dataset = dataset.take(np.sort(rng.choice(rows, min(MAX_HESSIAN_ROWS, len(rows)), replace=False)))
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    objective = Objective(architecture, dataset.as_dtype("float64"), loss=training_config.loss)
    initialization = training_config.initialization or default_initialization(network_config)
    parameters = initialize(architecture, initialization, epoch_rng(training_config.seed, 0))

    def gradient(at: Floats) -> NDArray[np.float64]:
        of_one: NDArray[np.float64] = objective.evaluate(at[np.newaxis], Networks.single()).gradients[0]
        return of_one

    step = math.sqrt(np.finfo(np.float64).eps) * (1 + float(np.linalg.norm(parameters)))
    eigenvalue, direction = 0.0, rng.normal(size=parameters.size)
    direction /= np.linalg.norm(direction)
    with np.errstate(all="ignore"):
        here = gradient(parameters)
        for _ in range(N_DIFFERENCES):
            changed = (gradient(parameters + step * direction) - here) / step
            eigenvalue = float(np.linalg.norm(changed))
            if not 0 < eigenvalue < math.inf:
                break
            direction = changed / eigenvalue
    return eigenvalue


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
