"""The losses of one instance, and their derivatives by the z of the last layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats


@dataclass(frozen=True)
class Loss:
    """A loss as two functions of the last layer; arrays are (n_instances, n_outputs).

    `values(activation, z, outputs, targets)` is the loss of each instance, (n_instances,): the SUM over its
    outputs.
    `delta(activation, outputs, targets)` is d loss / dz, (n_instances, n_outputs).
    """

    values: Callable[[str, Floats, Floats, Floats], Floats]
    delta: Callable[[str, Floats, Floats], Floats]
    activations: frozenset[str]
    """The output activations that it is defined for."""


def _squared_error(activation: str, z: Floats, outputs: Floats, targets: Floats) -> Floats:
    errors = outputs - targets
    values: Floats = np.einsum("ij,ij->i", errors, errors)
    return values


def _squared_error_delta(activation: str, outputs: Floats, targets: Floats) -> Floats:
    return ACTIVATIONS[activation].pull_back(outputs, 2 * (outputs - targets))


def _cross_entropy(activation: str, z: Floats, outputs: Floats, targets: Floats) -> Floats:
    # Written in z: log(y_hat) would be log(0) as soon as an output rounds to 0 or 1.
    if activation == "softmax":
        # -sum_k y_k log y_hat_k = sum_k y_k (logsumexp(z) - z_k)
        below_largest = z - z.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(below_largest).sum(axis=1, keepdims=True))
        values: Floats = (targets * (log_sum - below_largest)).sum(axis=1)
        return values
    # -y log y_hat - (1 - y) log(1 - y_hat) = softplus(z) - y z
    # with softplus(z) = log(1 + e^z) = max(z, 0) + log(1 + e^-|z|)
    values = (np.maximum(z, 0) - targets * z + np.log1p(np.exp(-np.abs(z)))).sum(axis=1)
    return values


def _cross_entropy_delta(activation: str, outputs: Floats, targets: Floats) -> Floats:
    # The derivative of sigmoid or softmax cancels against that of the logarithm.
    return outputs - targets


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "mean_squared_error": Loss(_squared_error, _squared_error_delta, frozenset(ACTIVATIONS)),
        "cross_entropy": Loss(_cross_entropy, _cross_entropy_delta, frozenset({"sigmoid", "softmax"})),
    }
)
