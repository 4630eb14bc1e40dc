"""How much each feature of an instance contributes to z, the value that the last activation is applied to.

Source of integrated gradients: M. Sundararajan, A. Taly, Q. Yan, "Axiomatic Attribution for Deep Networks", 2017.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats, row_blocks
from perceptron.errors import OutputNotFiniteError
from perceptron.network import Layer, Network, forward

N_STEPS = 64
"""Points of the path at which the gradient is taken, for networks with hidden layers."""

_ROOM = 8
"""Smaller blocks than those of forward propagation: the outputs of all layers are kept, and the gradients."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(N_STEPS)


@dataclass(frozen=True, eq=False)
class Explanation:
    """z = base + sum of the contributions + residual, for each instance and output, in the units of z."""

    contributions: NDArray[np.float64]
    """(n_instances, n_outputs, n_features)"""
    base: NDArray[np.float64]
    """(n_outputs,): z of an instance whose features are all 0, or the network's centre if it has one"""
    residual: NDArray[np.float64]
    """(n_instances, n_outputs): rounding, or with hidden layers the error of the integral"""


def explain(network: Network, features: NDArray[np.float64]) -> Explanation:
    """Explain z for features (n_instances, n_features) by what each feature adds, starting from all features 0.

    With a centre, x stands for the features less the centre: contributions of 1e15 would cancel and leave rounding.

    Without hidden layers z = b + sum_i w_i x_i, so feature i contributes w_i x_i, exactly. With hidden layers its
    contribution is the integrated gradient along the straight path from 0 to x,

        x_i * integral over t from 0 to 1 of dz/dx_i (t x),

    by Gauss-Legendre quadrature; it is the same number where the network is linear.

    Raises:
        OutputNotFiniteError: a contribution is infinite or not a number; the error names the first such instance.
    """
    if network.centre is not None:
        features, network = features - network.centre, Network(network.layers)
    heights = Network((*network.layers[:-1], _without_activation(network.layers[-1])))
    base = forward(heights, np.zeros((1, network.n_inputs)))[0]
    with np.errstate(all="ignore"):
        if len(network.layers) == 1:
            contributions = features[:, np.newaxis, :] * network.layers[0].weights.T
        else:
            contributions = np.zeros((len(features), network.n_outputs, network.n_inputs))
            for rows in row_blocks(len(features), _ROOM * heights.widest):
                for node, weight in zip((_NODES + 1) / 2, _WEIGHTS / 2, strict=True):
                    contributions[rows] += weight * _gradients(heights, node * features[rows])
            contributions *= features[:, np.newaxis, :]
        residual = forward(heights, features) - (base + contributions.sum(axis=2))
    is_finite = np.isfinite(contributions).all(axis=(1, 2)) & np.isfinite(residual).all(axis=1)
    if not is_finite.all():
        raise OutputNotFiniteError(int(is_finite.argmin()))
    return Explanation(contributions, base, residual)


def _gradients(network: Network, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give dz_k/dx_i at each instance, (n_instances, n_outputs, n_inputs), by backpropagation from each output."""
    outputs: list[Floats] = [features]
    for layer in network.layers:
        outputs.append(forward(Network((layer,)), outputs[-1]))
    gradients = np.empty((len(features), network.n_outputs, network.n_inputs))
    last = network.layers[-1].weights
    for k in range(network.n_outputs):
        d_outputs = np.broadcast_to(last[:, k], outputs[-2].shape)
        for layer, outputs_of_layer in zip(network.layers[-2::-1], outputs[-2:0:-1], strict=True):
            d_z = ACTIVATIONS[layer.activation].pull_back(outputs_of_layer.copy(), d_outputs.copy())
            d_outputs = d_z @ layer.weights.T
        gradients[:, k] = d_outputs
    return gradients


def _without_activation(layer: Layer) -> Layer:
    return Layer(layer.weights, layer.bias, "identity")
