"""The shape of a network, and its parameters as one flat vector for the optimizers to move."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from perceptron.arrays import Floats
from perceptron.config import NetworkConfig
from perceptron.network import Layer, Network


@dataclass(frozen=True)
class Architecture:
    """All of a network but its numbers: (n_inputs, hidden..., n_outputs), and each layer's activation."""

    widths: tuple[int, ...]
    activations: tuple[str, ...]

    @classmethod
    def of(cls, config: NetworkConfig, *, n_inputs: int, n_outputs: int) -> "Architecture":
        """Give the architecture that the config describes for this many inputs and outputs."""
        hidden = config.hidden_layers
        return cls((n_inputs, *hidden, n_outputs), (config.hidden_activation,) * len(hidden) + (config.activation,))

    @classmethod
    def of_network(cls, network: Network) -> "Architecture":
        """Give the architecture of an existing network."""
        return cls(
            (network.n_inputs, *(layer.bias.size for layer in network.layers)),
            tuple(layer.activation for layer in network.layers),
        )

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        return sum((n_inputs + 1) * n_outputs for n_inputs, n_outputs in pairwise(self.widths))

    def network(self, parameters: Floats) -> Network:
        """View a vector (n_parameters,) as a network: of each layer the weights, by rows, then the bias."""
        layers: list[Layer] = []
        start = 0
        for (n_inputs, n_outputs), activation in zip(pairwise(self.widths), self.activations, strict=True):
            middle = start + n_inputs * n_outputs
            end = middle + n_outputs
            weights = parameters[start:middle].reshape(n_inputs, n_outputs)
            layers.append(Layer(weights, parameters[middle:end], activation))
            start = end
        return Network(tuple(layers))


def flatten(network: Network) -> Floats:
    """Copy all weights and biases into one vector (n_parameters,), in the order of `Architecture.network`."""
    return np.concatenate([part for layer in network.layers for part in (layer.weights.ravel(), layer.bias)])
