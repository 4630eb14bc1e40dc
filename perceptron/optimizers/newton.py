"""Newton's method for a network without hidden layers: few passes over the data, each with one product more.

The step is -H^-1 g, with H the curvature of the cost, shortened until the cost falls. With many more rows than H needs
to be accurate, H is computed from a random part of them; cost and gradient stay those of all rows. The first epoch
then begins with the optimum of that part, which lies within sampling error of the optimum of all.

References:
    R. Byrd, G. Chin, W. Neveitt, J. Nocedal, "On the use of stochastic Hessian information in optimization methods for
    machine learning", 2011.
    N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent", 2002 (Gauss-Newton).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture
from perceptron.arrays import Floats, Rows
from perceptron.cost import Evaluation
from perceptron.data.dataset import Dataset
from perceptron.losses import LOSSES
from perceptron.objective import Objective
from perceptron.optimizers.optimizer import Iterate, Problem, Training, epoch_rng

MIN_ROWS, ROWS_PER_PARAMETER = 20_000, 20
"""H is computed from at least this many rows, or from all."""
SUFFICIENT_DECREASE = 1e-4
MAX_HALVINGS = 60
"""Enough to get from 1 to where float64 sees no change."""
PART_TOLERANCE, MAX_PART_STEPS = 1e-4, 20
"""Steps on the part end when one lowers its cost by less than this share: its optimum is only a start."""
_BLOCK_VALUES = 200_000

Evaluate = Callable[[Floats], Evaluation]
"""Evaluates the parameters (1, n_parameters) of one network."""


class NewtonState(NamedTuple):
    """Whether no step, however short, lowers the cost: the minimum, to rounding."""

    is_at_rest: bool = False


def training(problem: Problem) -> Training:
    """Train one network on all instances; the learning rate is ignored."""
    objective, networks = problem.objective, problem.networks
    architecture, dataset, loss, l2 = objective.architecture, objective.dataset, objective.loss, float(networks.l2[0])
    rows = rows_for_curvature(dataset, architecture.n_parameters, epoch_rng(problem.seed, 1))
    part = dataset if rows is None else dataset.take(rows)
    curvature = Curvature(architecture, part, loss=loss, l2=l2)

    def evaluate(parameters: Floats) -> Evaluation:
        return objective.evaluate(parameters, networks)

    def start(parameters: Floats) -> Iterate:
        return Iterate(parameters, evaluate(parameters), NewtonState())

    def epoch(iterate: Iterate, k: int) -> Iterate:
        if k == 1 and rows is not None:
            of_part = Objective(architecture, part, loss=loss)
            parameters = optimum_of_part(iterate.parameters, curvature, lambda p: of_part.evaluate(p, networks))
            evaluation = evaluate(parameters)
            if evaluation.costs[0] < iterate.costs[0]:
                return iterate._replace(parameters=parameters, evaluation=evaluation)
        return update(iterate, curvature, evaluate)

    return Training(start, epoch)


class Curvature:
    """The matrix H of a data set: the Hessian of the cost, or where that can be indefinite its Gauss-Newton part.

    With x~ = (x, 1), J = dy_hat/dz, (n_outputs, n_outputs), and w the weight of an instance,

        H = 1/n sum_i w_i (x~_i x~_i') (x) c_i  +  2 l2,    c = J or 2 J J, the `gauss_newton` of the loss

    which is exact for cross_entropy, whose sigmoid and softmax cancel against the logarithm, and for squared errors of
    identity outputs.
    """

    def __init__(self, architecture: Architecture, dataset: Dataset, *, loss: str, l2: float) -> None:
        self._activation = ACTIVATIONS[architecture.activations[0]]
        self._is_coupled = self._activation.output == "distribution"  # as softmax is, the only one of them
        self._is_squared = LOSSES[loss].gauss_newton == "2 J J"
        self._dataset = dataset
        self._weights = dataset.relative_weights()
        self._penalty = np.repeat([2 * l2, 0.0], [dataset.n_features * dataset.n_outputs, dataset.n_outputs])

    def at(self, parameters: Floats) -> NDArray[np.float64]:
        """Give H, (n_parameters, n_parameters), at parameters (n_parameters,)."""
        n_inputs, n_outputs = self._dataset.n_features + 1, self._dataset.n_outputs
        hessian = np.zeros((parameters.size, parameters.size))
        by_output = hessian.reshape(n_inputs, n_outputs, n_inputs, n_outputs)
        matrix = parameters.reshape(n_inputs, n_outputs)
        for rows, inputs in self._blocks():
            outputs = self._activation.apply(inputs @ matrix)
            weights = 1.0 if self._weights is None else self._weights[rows, np.newaxis].astype(inputs.dtype)
            if self._is_coupled:
                self._subtract_mixed(hessian, inputs, outputs, weights)
                own = weights * (2 * outputs * outputs if self._is_squared else outputs)
            else:
                slopes = self._activation.pull_back(outputs, np.ones_like(outputs))
                own = weights * (2 * slopes * slopes if self._is_squared else slopes)
            for k in range(n_outputs):
                # With roots it is a matrix times itself, which takes half of the operations.
                scaled = inputs * np.sqrt(own[:, k, np.newaxis])
                by_output[:, k, :, k] += scaled.T @ scaled
        hessian /= self._dataset.n_instances
        _diagonal(hessian)[...] += self._penalty
        return hessian

    def _subtract_mixed(
        self, hessian: NDArray[np.float64], inputs: Floats, outputs: Floats, weights: Floats | float
    ) -> None:
        """Subtract what softmax has off its diagonal, as products of the matrices x~_i (x) a_i, x~_i (x) b_i.

        J = diag(y) - y y', and J J = diag(y^2) - (a y' + y a') with a = y^2 - (y @ y) y / 2.
        """
        if self._is_squared:
            a = 2 * weights * (outputs**2 - (outputs**2).sum(axis=1, keepdims=True) * outputs / 2)
            product = _by_rows(inputs, a).T @ _by_rows(inputs, outputs)
            hessian -= product
            hessian -= product.T
        else:
            scaled = _by_rows(inputs, np.sqrt(weights) * outputs)
            hessian -= scaled.T @ scaled

    def _blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Give x~ block by block."""
        dataset = self._dataset
        n_values = (dataset.n_features + 1) * (dataset.n_outputs if self._is_coupled else 1)
        n_rows = max(_BLOCK_VALUES // n_values, 1)
        for first in range(0, dataset.n_instances, n_rows):
            rows = slice(first, min(first + n_rows, dataset.n_instances))
            inputs = np.ones((rows.stop - first, dataset.n_features + 1), dataset.features.dtype)
            inputs[:, :-1] = dataset.features[rows]
            yield rows, inputs


def rows_for_curvature(dataset: Dataset, n_parameters: int, rng: np.random.Generator) -> Rows | None:
    """Draw as many rows as H needs; None for all of them."""
    # Rows of weight 0 say nothing about H, and a draw could hold no others.
    weights = dataset.cost_weights
    n_rows = max(MIN_ROWS, ROWS_PER_PARAMETER * n_parameters)
    if weights is None:
        is_enough = n_rows >= dataset.n_instances
        return None if is_enough else np.sort(rng.choice(dataset.n_instances, n_rows, replace=False))
    counted = np.flatnonzero(weights)
    return None if n_rows >= len(counted) else np.sort(rng.choice(counted, n_rows, replace=False))


def update(iterate: Iterate, curvature: Curvature, evaluate: Evaluate) -> Iterate:
    """Move to a lower point along the Newton step or, where that does not lead down, along the gradient."""
    if NewtonState(*iterate.optimizer_state).is_at_rest:
        return iterate
    gradient = iterate.gradients[0].astype(np.float64)
    hessian = curvature.at(iterate.parameters[0])
    for direction in (_newton_step(hessian, gradient, iterate.parameters.dtype), -gradient):
        lower = _lower(iterate, direction, float(gradient @ direction), evaluate)
        if lower is not None:
            return lower
    return iterate._replace(optimizer_state=NewtonState(is_at_rest=True))


def optimum_of_part(parameters: Floats, curvature: Curvature, evaluate: Evaluate) -> Floats:
    """Give parameters (1, n_parameters) near the minimum of a part of the data set: a start for the whole."""
    iterate = Iterate(parameters, evaluate(parameters), NewtonState())
    for _ in range(MAX_PART_STEPS):
        before = iterate.costs[0]
        iterate = update(iterate, curvature, evaluate)
        if not before - iterate.costs[0] > PART_TOLERANCE * before:
            break
    return iterate.parameters


def _newton_step(
    hessian: NDArray[np.float64], gradient: NDArray[np.float64], dtype: np.dtype[Any]
) -> NDArray[np.float64]:
    """Solve H step = -gradient in units of the features' own curvatures, so that their scales do not matter.

    H is singular along directions in which no output changes: for softmax when all z move alike, for a constant
    feature, or for two features in proportion. The diagonal is raised only by as much as rounding leaves uncertain.
    """
    diagonal = np.diagonal(hessian)
    units = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = units[:, np.newaxis] * hessian * units
    _diagonal(scaled)[...] += len(gradient) * np.finfo(dtype).eps
    try:
        step: NDArray[np.float64] = -units * np.linalg.solve(scaled, units * gradient)
    except np.linalg.LinAlgError:
        return -gradient
    return step


def _diagonal(square: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a view that can be written to."""
    return square.reshape(-1)[:: len(square) + 1]


def _lower(iterate: Iterate, direction: NDArray[np.float64], slope: float, evaluate: Evaluate) -> Iterate | None:
    """Halve the step until the cost falls by enough; None where it never does."""
    if not (slope < 0 and np.isfinite(direction).all()):
        return None
    cost, length = float(iterate.costs[0]), 1.0
    rounding = float(np.finfo(iterate.parameters.dtype).eps) * abs(cost)
    for _ in range(MAX_HALVINGS):
        parameters = iterate.parameters + (length * direction).astype(iterate.parameters.dtype)
        there = evaluate(parameters)
        if there.costs[0] < cost and there.costs[0] <= cost + SUFFICIENT_DECREASE * length * slope:
            return iterate._replace(parameters=parameters, evaluation=there)
        # Once even the slope promises less than the rounding of the cost, more halving is in vain.
        if length * -slope <= rounding:
            return None
        length /= 2
    return None


def _by_rows(inputs: Floats, factors: Floats) -> Floats:
    """Give x~_i (x) a_i as rows, in the order of the parameters: (n_rows, n_inputs * n_outputs)."""
    products: Floats = (inputs[:, :, np.newaxis] * factors[:, np.newaxis, :]).reshape(len(inputs), -1)
    return products
