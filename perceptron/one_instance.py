"""Forward propagation of one instance in Python's own floats.

For a few hundred parameters NumPy takes longer to be called than to compute. It is the same mathematics as
`network.forward`, with sums in another order, so that outputs may differ by rounding.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import mul
from types import MappingProxyType
from typing import TypeAlias

from perceptron.network import Network

MAX_PARAMETERS = 256
"""Beyond, NumPy is faster."""

Activate: TypeAlias = Callable[[list[float]], list[float]]

ForwardOne: TypeAlias = Callable[[Sequence[float]], list[float] | None]
"""From the features of an instance to its outputs; None when a z on the way is not finite, or too large to be sure."""

_LARGEST_Z = 1e300
_SMALLEST_EXPONENT = -709.0  # e^-z overflows below, and 1 / (1 + e^-z) is e^z there, to rounding


def forward_one(network: Network) -> ForwardOne | None:
    """Make the function that propagates one instance, or give None for a network that is too large for it.

    The function takes exactly `n_inputs` numbers; it does not count them.
    """
    if network.n_parameters > MAX_PARAMETERS:
        return None
    layers = tuple(
        (
            tuple(zip(map(tuple, layer.weights.T.tolist()), layer.bias.tolist(), strict=True)),
            _ACTIVATIONS[layer.activation],
        )
        for layer in network.layers
    )
    if len(layers) == 1 and network.n_outputs == 1:
        ((weights, bias),), activation = layers[0]
        return _one_neuron(weights, bias, activation)

    def outputs_of(features: Sequence[float]) -> list[float] | None:
        outputs = features
        for neurons, activation in layers:
            z = [sum(map(mul, outputs, weights), bias) for weights, bias in neurons]
            if not all(-_LARGEST_Z < value < _LARGEST_Z for value in z):
                return None
            outputs = activation(z)
        return list(outputs)

    return outputs_of


def _one_neuron(
    weights: tuple[float, ...], bias: float, activation: Callable[[list[float]], list[float]]
) -> ForwardOne:
    """Make the function for the most frequent network."""

    def output_of(features: Sequence[float]) -> list[float] | None:
        z = sum(map(mul, features, weights), bias)
        return activation([z]) if -_LARGEST_Z < z < _LARGEST_Z else None

    return output_of


def _sigmoid(z: list[float]) -> list[float]:
    return [1 / (1 + math.exp(-v)) if v > _SMALLEST_EXPONENT else math.exp(v) for v in z]


def _softmax(z: list[float]) -> list[float]:
    largest = max(z)
    powers = [math.exp(v - largest) for v in z]
    total = sum(powers)
    return [power / total for power in powers]


_ACTIVATIONS: Mapping[str, Activate] = MappingProxyType(
    {
        "identity": lambda z: z,
        "sigmoid": _sigmoid,
        "tanh": lambda z: [math.tanh(v) for v in z],
        "relu": lambda z: [v if v > 0 else 0.0 for v in z],
        "step": lambda z: [1.0 if v >= 0 else 0.0 for v in z],
        "softmax": _softmax,
    }
)
