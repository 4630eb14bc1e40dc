"""The losses of one instance, and their derivatives by the z of the last layer. Each is one record."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perceptron.activations import Activation, shift_largest_to_0, sum_over_last
from perceptron.arrays import Floats
from perceptron.errors import InvalidConfigError, check_one_of


@dataclass(frozen=True)
class Loss:
    """A loss as a function of the last layer.

    `evaluate(activation, z, targets)` gives the loss of each instance and network, (n_instances, n_networks): the
    SUM over its outputs; and d loss / dz, (n_instances, n_networks, n_outputs). It takes z of that shape, which it
    overwrites, and targets (n_instances, 1, n_outputs).
    """

    evaluate: Callable[[Activation, Floats, Floats], tuple[Floats, Floats]]
    curvature: Callable[[Activation], float | None]
    """the largest second derivative of the loss in z, for targets that the activation can give; of the Hessian matrix
    its largest eigenvalue. None: unknown, and learning_rate auto cannot be used"""
    gauss_newton: Literal["J", "2 J J"] | None = None
    """the second derivative in z that Newton's method uses, with J = dy_hat/dz; None: newton cannot be used"""
    activations: frozenset[str] | None = None
    """the output activations that it is defined for; None: all"""
    of_constant: Callable[[Activation, Floats, Floats], float] = lambda activation, mean, variance: math.inf
    """the lowest mean loss of a constant output, from the mean and variance of the targets, (n_outputs,) each. The
    default, for a loss without such a formula, never calls a training diverged by its cost"""


def _squared_error(activation: Activation, z: Floats, targets: Floats) -> tuple[Floats, Floats]:
    outputs = activation.apply(z)
    errors = outputs - targets
    losses = _sum_over_outputs(errors * errors)
    errors *= 2
    return losses, activation.pull_back(outputs, errors)


def _cross_entropy(activation: Activation, z: Floats, targets: Floats) -> tuple[Floats, Floats]:
    # The losses are written in z: log(y_hat) would be log(0) as soon as an output rounds to 0 or 1. In the
    # derivative, that of sigmoid or softmax cancels against that of the logarithm and leaves y_hat - y.
    if activation.output == "distribution":
        # -sum_k y_k log y_hat_k = sum_k y_k (log sum_j e^z_j - z_k)
        shift_largest_to_0(z)
        losses = -_sum_over_outputs(z * targets)
        np.exp(z, out=z)
        sums = _sum_over_outputs(z)
        losses += np.log(sums) * _sum_over_outputs(targets)
        z /= sums[..., np.newaxis]
        z -= targets
        return losses, z
    # -y log y_hat - (1 - y) log(1 - y_hat) = log(1 + e^z) - y z = max(z, 0) - y z - log max(y_hat, 1 - y_hat)
    terms = np.maximum(z, 0)
    terms -= z * targets
    outputs = activation.apply(z)
    likelier = np.subtract(1, outputs)
    np.maximum(likelier, outputs, out=likelier)
    terms -= np.log(likelier, out=likelier)
    outputs -= targets
    return _sum_over_outputs(terms), outputs


def _sum_over_outputs(terms: Floats) -> Floats:
    if terms.shape[-1] == 1:
        return terms[..., 0]
    return sum_over_last(terms)


def _squared_error_of_constant(activation: Activation, mean: Floats, variance: Floats) -> float:
    if activation.output == "class":  # its only outputs are 0 and 1: the cost is the share of the rarer class
        return float(np.minimum(mean, 1 - mean).sum())
    return float(variance.sum())


def _entropy(activation: Activation, mean: Floats, variance: Floats) -> float:
    shares = mean if activation.output == "distribution" else np.concatenate([mean, 1 - mean])
    shares = shares[shares > 0]
    return float(-shares @ np.log(shares))


SQUARED_ERROR = Loss(
    _squared_error,
    curvature=lambda activation: activation.squared_error_curvature,
    gauss_newton="2 J J",
    of_constant=_squared_error_of_constant,
)

CROSS_ENTROPY = Loss(
    _cross_entropy,
    # the largest eigenvalue of J: of diag(p) - p p' for softmax, of p (1 - p) for sigmoid
    curvature=lambda activation: 1 / 2 if activation.output == "distribution" else 1 / 4,
    gauss_newton="J",
    activations=frozenset({"sigmoid", "softmax"}),
    of_constant=_entropy,
)

LOSSES: dict[str, Loss] = {"mean_squared_error": SQUARED_ERROR, "cross_entropy": CROSS_ENTROPY}
"""By name. Read it when a name is used, never at import: a record added later counts as well."""


def check_loss(loss: str, activation: str) -> None:
    """Check that a loss is known, and defined for outputs of an activation.

    Raises:
        InvalidConfigError: it is not.
    """
    check_one_of("training/loss", loss, LOSSES)
    allowed = LOSSES[loss].activations
    if allowed is not None and activation not in allowed:
        raise InvalidConfigError(
            f"{loss} needs {' or '.join(sorted(allowed))} outputs, got {activation}", field="training/loss"
        )
