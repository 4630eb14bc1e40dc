"""The activations y_hat = activation(z), and how a gradient passes back through each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from perceptron.arrays import Floats


@dataclass(frozen=True)
class Activation:
    """One activation; arrays are (..., n_outputs), and both functions work in place.

    `apply(z)` turns z into y_hat. `pull_back(outputs, d_outputs)` is the chain rule
    dC/dz = dC/dy_hat * dy_hat/dz: it turns `d_outputs` into dC/dz. It takes y_hat, not z, since for each of
    these functions the derivative can be written in its own value, and it leaves nothing useful in `outputs`.
    Overflow on the way to a finite result is the caller's to ignore (`np.errstate`).
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
    """y_hat = 1 / (1 + e^-z)."""
    if z.dtype == np.float32:
        # = (1 + tanh(z / 2)) / 2, which NumPy computes faster in float32, and e^-z in float64.
        z *= 0.5
        np.tanh(z, out=z)
        z *= 0.5
        z += 0.5
        return z
    np.negative(z, out=z)
    np.exp(z, out=z)  # inf below z = -709, and its reciprocal, 0, is the right answer
    z += 1
    return np.reciprocal(z, out=z)


def tanh(z: Floats) -> Floats:
    """y_hat = tanh z."""
    return np.tanh(z, out=z)


def relu(z: Floats) -> Floats:
    """y_hat = max(z, 0)."""
    return np.maximum(z, 0, out=z)


def step(z: Floats) -> Floats:
    """y_hat = 1 where z >= 0, else 0; NaN stays NaN."""
    # step(0) is 1, as McCulloch and Pitts have it.
    return np.heaviside(z, 1.0, out=z)


def softmax(z: Floats) -> Floats:
    """y_hat_k = e^z_k / sum_j e^z_j, along the last axis."""
    shift_largest_to_0(z)
    np.exp(z, out=z)
    z /= sum_over_last(z)[..., np.newaxis]
    return z


def shift_largest_to_0(z: Floats) -> None:
    """Subtract the largest z_k, in place, along the last axis: it changes no softmax, and no e^z_k overflows."""
    # Several times faster than z.max(axis=-1) where that axis is short.
    columns = np.ascontiguousarray(z.reshape(-1, z.shape[-1]).T)
    z -= columns.max(axis=0).reshape(z.shape[:-1])[..., np.newaxis]


def sum_over_last(terms: Floats) -> Floats:
    """Sum (..., n) over its last axis; as a product with ones, which is several times faster for a small n."""
    n = terms.shape[-1]
    sums: Floats = terms.reshape(-1, n) @ np.ones(n, terms.dtype)
    return sums.reshape(terms.shape[:-1])


def _sigmoid_pull_back(outputs: Floats, d_outputs: Floats) -> Floats:
    d_outputs *= outputs
    d_outputs *= np.subtract(1, outputs, out=outputs)
    return d_outputs


def _tanh_pull_back(outputs: Floats, d_outputs: Floats) -> Floats:
    outputs *= outputs
    d_outputs *= np.subtract(1, outputs, out=outputs)
    return d_outputs


def _relu_pull_back(outputs: Floats, d_outputs: Floats) -> Floats:
    # The derivative at the corner z = 0 is taken as 0.
    d_outputs *= outputs > 0
    return d_outputs


def _step_pull_back(outputs: Floats, d_outputs: Floats) -> Floats:
    d_outputs[...] = 0
    return d_outputs


def _softmax_pull_back(outputs: Floats, d_outputs: Floats) -> Floats:
    # The Jacobian is diag(y) - y y', so that dC/dz_k = y_k (g_k - sum_j y_j g_j).
    d_outputs -= np.einsum("...j,...j->...", outputs, d_outputs)[..., np.newaxis]
    d_outputs *= outputs
    return d_outputs


_INFINITY = float("inf")

ACTIVATIONS: Mapping[str, Activation] = MappingProxyType(
    {
        "identity": Activation(identity, lambda outputs, d_outputs: d_outputs, -_INFINITY, _INFINITY),
        "sigmoid": Activation(sigmoid, _sigmoid_pull_back, 0.0, 1.0),
        "tanh": Activation(tanh, _tanh_pull_back, -1.0, 1.0),
        "relu": Activation(relu, _relu_pull_back, 0.0, _INFINITY),
        "step": Activation(step, _step_pull_back, 0.0, 1.0, is_hidden=False),
        "softmax": Activation(softmax, _softmax_pull_back, 0.0, 1.0, is_hidden=False),
    }
)
