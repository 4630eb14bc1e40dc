"""The activations y_hat = activation(z), and how a gradient passes back through each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from perceptron.arrays import Floats


@dataclass(frozen=True)
class Activation:
    """One activation; arrays are (n_instances, n_outputs).

    `pull_back(outputs, d_outputs)` is the chain rule dC/dz = dC/dy_hat * dy_hat/dz. It takes y_hat, not z:
    for each of these functions the derivative can be written in its own value.
    """

    apply: Callable[[Floats], Floats]
    pull_back: Callable[[Floats, Floats], Floats]
    low: float
    high: float
    is_hidden: bool = True
    """Whether hidden layers may use it."""


def identity(z: Floats) -> Floats:
    """y_hat = z."""
    return z


def sigmoid(z: Floats) -> Floats:
    """y_hat = 1 / (1 + e^-z), without warnings for any z."""
    # e^-z = inf below z = -709 is harmless: its reciprocal, 0, is the right answer.
    with np.errstate(over="ignore", under="ignore"):
        outputs = np.exp(-z)
        outputs += 1
        return np.reciprocal(outputs, out=outputs)


def tanh(z: Floats) -> Floats:
    """y_hat = tanh z."""
    outputs: Floats = np.tanh(z)
    return outputs


def relu(z: Floats) -> Floats:
    """y_hat = max(z, 0)."""
    outputs: Floats = np.maximum(z, 0)
    return outputs


def step(z: Floats) -> Floats:
    """y_hat = 1 where z >= 0, else 0; NaN stays NaN."""
    # step(0) is 1, as McCulloch and Pitts have it.
    outputs: Floats = np.heaviside(z, 1.0)
    return outputs


def softmax(z: Floats) -> Floats:
    """y_hat_k = e^z_k / sum_j e^z_j, for each row."""
    with np.errstate(under="ignore"):
        outputs: Floats = np.exp(z - z.max(axis=1, keepdims=True))
        outputs /= outputs.sum(axis=1, keepdims=True)
    return outputs


def _softmax_pull_back(outputs: Floats, d_outputs: Floats) -> Floats:
    # The Jacobian is diag(y) - y y', so that dC/dz_k = y_k (g_k - sum_j y_j g_j).
    along = np.einsum("ij,ij->i", outputs, d_outputs)[:, np.newaxis]
    d_z: Floats = outputs * (d_outputs - along)
    return d_z


_INFINITY = float("inf")

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "identity": Activation(identity, lambda y, g: g, -_INFINITY, _INFINITY),
        "sigmoid": Activation(sigmoid, lambda y, g: g * y * (1 - y), 0.0, 1.0),
        "tanh": Activation(tanh, lambda y, g: g * (1 - y * y), -1.0, 1.0),
        # The derivative at the corner z = 0 is taken as 0.
        "relu": Activation(relu, lambda y, g: g * (y > 0), 0.0, _INFINITY),
        "step": Activation(step, lambda y, g: np.zeros_like(g), 0.0, 1.0, is_hidden=False),
        "softmax": Activation(softmax, _softmax_pull_back, 0.0, 1.0, is_hidden=False),
    }
)
