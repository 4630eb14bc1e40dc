"""The shape of a network, and its parameters as one flat vector for the optimizers to move."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats
from perceptron.errors import InvalidConfigError, check_one_of
from perceptron.network import Layer, Network

MAX_HIDDEN_LAYERS = 16
MAX_LAYER_WIDTH = 4096


@dataclass(frozen=True)
class NetworkConfig:
    """The activation of the outputs, and the hidden layers in front of them, if any.

    Raises:
        InvalidConfigError: an activation is unknown or cannot be used there; more than 16 hidden layers, or
            one that is not 1 to 4,096 wide; hidden layers under an activation without a gradient.
    """

    activation: str
    hidden_layers: tuple[int, ...] = ()
    hidden_activation: str = "tanh"

    def __post_init__(self) -> None:
        check_one_of("network/activation", self.activation, ACTIVATIONS)
        check_one_of("network/hidden_activation", self.hidden_activation, hidden_activations())
        # A list, as JSON has it, would make the frozen config mutable and unhashable.
        object.__setattr__(self, "hidden_layers", tuple(self.hidden_layers))
        field = "network/hidden_layers"
        if len(self.hidden_layers) > MAX_HIDDEN_LAYERS:
            raise InvalidConfigError(
                f"expected at most {MAX_HIDDEN_LAYERS} hidden layers, got {len(self.hidden_layers)}",
                field=field,
            )
        for width in self.hidden_layers:
            if not 1 <= width <= MAX_LAYER_WIDTH:
                raise InvalidConfigError(
                    f"a hidden layer must be 1 to {MAX_LAYER_WIDTH:,} wide, got {width!r}", field=field
                )
        if self.hidden_layers and not ACTIVATIONS[self.activation].has_gradient:
            raise InvalidConfigError(
                f"{self.activation} has no gradient to train hidden layers with: expected none, "
                f"got {len(self.hidden_layers)}; use sigmoid to have some",
                field=field,
            )


def hidden_activations() -> list[str]:
    """Give the names of the activations that hidden layers may use."""
    return [name for name, activation in ACTIVATIONS.items() if activation.is_hidden]


@dataclass(frozen=True)
class Architecture:
    """A network without its numbers: the widths (n_inputs, hidden..., n_outputs), and each layer's activation."""

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
        """View a vector (n_parameters,) as a network: for each layer the weights, by rows, then the bias."""
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
