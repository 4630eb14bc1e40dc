"""The activations y_hat = activation(z). Each is one record, and all other code reads the records."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perceptron.arrays import Floats


@dataclass(frozen=True)
class Activation:
    """One activation. Arrays are (..., n_outputs), and both functions work in place.

    `apply(z)` turns z into y_hat. `pull_back(outputs, d_outputs)` is the chain rule
    dC/dz = dC/dy_hat * dy_hat/dz: it turns `d_outputs` into dC/dz. It takes y_hat instead of z, because each of
    these derivatives can be written in y_hat, and it may overwrite `outputs`. The caller ignores overflow on the
    way to a finite result (`np.errstate`).
    """

    apply: Callable[[Floats], Floats]
    pull_back: Callable[[Floats, Floats], Floats]
    low: float
    """the smallest output"""
    high: float
    """the largest output"""
    output: Literal["value", "probability", "distribution", "class"] = "value"
    """what an output is: any value from low to high; the probability of the second of two classes; one of the
    probabilities of all classes, which sum to 1; or one of two classes, low or high, without a useful gradient"""
    default_initialization: str | None = None
    """for networks that begin with it; None: zeros without hidden layers, else glorot_uniform"""
    squared_error_curvature: float | None = None
    """the largest second derivative of (y - y_hat)^2 in z, for targets from low to high; of the Hessian matrix its
    largest eigenvalue. None: unknown, and learning_rate auto cannot be used"""
    apply_to_list: Callable[[list[float]], list[float]] | None = None
    """`apply` for the z of one instance in Python's floats; None: such predictions use `apply`"""

    @property
    def has_gradient(self) -> bool:
        """Whether gradients can train it; otherwise only the perceptron rule does."""
        return self.output != "class"

    @property
    def is_hidden(self) -> bool:
        """Whether hidden layers may use it."""
        return self.output in ("value", "probability")

    @property
    def gives_probabilities(self) -> bool:
        """Whether outputs are probabilities of classes."""
        return self.output in ("probability", "distribution")


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
    """Subtract the largest z_k, in place, along the last axis: softmax stays the same, and no e^z_k overflows."""
    # Several times faster than z.max(axis=-1) where that axis is short.
    columns = np.ascontiguousarray(z.reshape(-1, z.shape[-1]).T)
    z -= columns.max(axis=0).reshape(z.shape[:-1])[..., np.newaxis]


def sum_over_last(terms: Floats) -> Floats:
    """Sum (..., n) over its last axis, by a product with ones: several times faster for a small n."""
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


_SMALLEST_EXPONENT = -709.0  # e^-z overflows below, and 1 / (1 + e^-z) is e^z there, to rounding


def _sigmoid_of_list(z: list[float]) -> list[float]:
    return [1 / (1 + math.exp(-v)) if v > _SMALLEST_EXPONENT else math.exp(v) for v in z]


def _softmax_of_list(z: list[float]) -> list[float]:
    largest = max(z)
    powers = [math.exp(v - largest) for v in z]
    total = sum(powers)
    return [power / total for power in powers]


# (s - y)^2 has the second derivative 2 s^2 (1 - s) (2 - 3 s) in z for y = 0, the same mirrored for y = 1, and something
# between the two for the y between. It is largest, 0.154..., where 12 s^2 - 15 s + 4 = 0.
_STEEPEST = (15 - math.sqrt(33)) / 24
_SIGMOID_CURVATURE = 2 * _STEEPEST**2 * (1 - _STEEPEST) * (2 - 3 * _STEEPEST)

ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": Activation(
        sigmoid,
        _sigmoid_pull_back,
        low=0.0,
        high=1.0,
        output="probability",
        squared_error_curvature=_SIGMOID_CURVATURE,
        apply_to_list=_sigmoid_of_list,
    ),
    "step": Activation(
        step,
        _step_pull_back,
        low=0.0,
        high=1.0,
        output="class",
        apply_to_list=lambda z: [1.0 if v >= 0 else 0.0 for v in z],
    ),
    "identity": Activation(
        identity,
        lambda outputs, d_outputs: d_outputs,
        low=-math.inf,
        high=math.inf,
        squared_error_curvature=2.0,
        apply_to_list=lambda z: z,
    ),
    "tanh": Activation(
        tanh,
        _tanh_pull_back,
        low=-1.0,
        high=1.0,
        # tanh z = 2 sigmoid(2 z) - 1: the errors are twice as large, and change twice as fast: 2^2 * 2^2
        squared_error_curvature=16 * _SIGMOID_CURVATURE,
        apply_to_list=lambda z: [math.tanh(v) for v in z],
    ),
    "relu": Activation(
        relu,
        _relu_pull_back,
        low=0.0,
        high=math.inf,
        # From zeros it would never learn: at z = 0 it has no slope.
        default_initialization="he_normal",
        # 2 where z > 0, and 0 below. At the corner the slope jumps down, by 2 y, which lowers the cost only more.
        squared_error_curvature=2.0,
        apply_to_list=lambda z: [v if v > 0 else 0.0 for v in z],
    ),
    "softmax": Activation(
        softmax,
        _softmax_pull_back,
        low=0.0,
        high=1.0,
        output="distribution",
        # With y_hat = p, target class t and u = v - p @ v, in the direction v:
        #     2 sum_k p_k u_k^2 (2 p_k - [k = t] - p @ p + p_t)  <=  2 * 9/8 * (variance of v under p)  <=  9/8 v @ v
        # since p @ p >= p_k^2 + p_t^2 and p_k + p_t <= 1 bound the parenthesis by 9/8, met at p_t = 1/4, p_k = 3/4.
        squared_error_curvature=9 / 8,
        apply_to_list=_softmax_of_list,
    ),
}
"""By name. Read it when a name is used, never at import: a record added later counts as well."""
