"""The losses of one instance, and their derivatives by the z of the last layer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from perceptron.activations import ACTIVATIONS, shift_largest_to_0, sum_over_last
from perceptron.arrays import Floats


@dataclass(frozen=True)
class Loss:
    """A loss as a function of the last layer.

    `evaluate(activation, z, targets)` gives the loss of each instance and network, (n_instances, n_networks): the
    SUM over its outputs; and d loss / dz, (n_instances, n_networks, n_outputs). It takes z of that shape, which it
    overwrites, and targets (n_instances, 1, n_outputs).
    """

    evaluate: Callable[[str, Floats, Floats], tuple[Floats, Floats]]
    activations: frozenset[str]
    """The output activations that it is defined for."""


def _squared_error(activation: str, z: Floats, targets: Floats) -> tuple[Floats, Floats]:
    outputs = ACTIVATIONS[activation].apply(z)
    errors = outputs - targets
    losses = _sum_over_outputs(errors * errors)
    errors *= 2
    return losses, ACTIVATIONS[activation].pull_back(outputs, errors)


def _cross_entropy(activation: str, z: Floats, targets: Floats) -> tuple[Floats, Floats]:
    # The losses are written in z: log(y_hat) would be log(0) as soon as an output rounds to 0 or 1. In the
    # derivative, that of sigmoid or softmax cancels against that of the logarithm and leaves y_hat - y.
    if activation == "softmax":
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
    outputs = ACTIVATIONS[activation].apply(z)
    likelier = np.subtract(1, outputs)
    np.maximum(likelier, outputs, out=likelier)
    terms -= np.log(likelier, out=likelier)
    outputs -= targets
    return _sum_over_outputs(terms), outputs


def _sum_over_outputs(terms: Floats) -> Floats:
    if terms.shape[-1] == 1:
        return terms[..., 0]
    return sum_over_last(terms)


LOSSES: Mapping[str, Loss] = MappingProxyType(
    {
        "mean_squared_error": Loss(_squared_error, frozenset(ACTIVATIONS)),
        "cross_entropy": Loss(_cross_entropy, frozenset({"sigmoid", "softmax"})),
    }
)
