"""Forward propagation of one instance in Python's own floats.

For a few hundred parameters, calling NumPy takes longer than its computation. This is the same mathematics as
`network.forward` with sums in another order, so outputs may differ by rounding.
"""

from collections.abc import Callable, Sequence
from operator import mul, sub
from typing import TypeAlias

from perceptron.activations import ACTIVATIONS
from perceptron.network import Network

MAX_PARAMETERS = 256
"""Beyond, NumPy is faster."""

ForwardOne: TypeAlias = Callable[[Sequence[float]], list[float] | None]
"""From the features of an instance to its outputs; None when a z on the way is not finite, or too large to be sure."""

_LARGEST_Z = 1e300


def forward_one(network: Network) -> ForwardOne | None:
    """Make the function that propagates one instance, or give None for a network that NumPy has to propagate.

    The function takes exactly `n_inputs` numbers; it does not count them.
    """
    if network.n_parameters > MAX_PARAMETERS:
        return None
    layers: list[tuple[tuple[tuple[tuple[float, ...], float], ...], Callable[[list[float]], list[float]]]] = []
    for layer in network.layers:
        activation = ACTIVATIONS[layer.activation].apply_to_list
        if activation is None:
            return None
        layers.append((tuple(zip(map(tuple, layer.weights.T.tolist()), layer.bias.tolist(), strict=True)), activation))
    if network.centre is not None:
        return _centred(tuple(network.centre.tolist()), forward_one(Network(network.layers)))
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


def _centred(centre: tuple[float, ...], forward: ForwardOne | None) -> ForwardOne | None:
    return None if forward is None else lambda features: forward(list(map(sub, features, centre)))


def _one_neuron(
    weights: tuple[float, ...], bias: float, activation: Callable[[list[float]], list[float]]
) -> ForwardOne:
    """Make the function for the most frequent network."""

    def output_of(features: Sequence[float]) -> list[float] | None:
        z = sum(map(mul, features, weights), bias)
        return activation([z]) if -_LARGEST_Z < z < _LARGEST_Z else None

    return output_of
