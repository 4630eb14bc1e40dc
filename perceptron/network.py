"""A network as layers of neurons, and forward propagation.

The single neuron is the network with one layer and one output.

Source: S. Ravi, "Neural Networks: The Math", 2022.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import MIN_BLOCK_ROWS, Floats, row_blocks


@dataclass(frozen=True, eq=False)
class Layer:
    """Neurons side by side: y_hat = activation(x @ weights + bias).

    Raises:
        ValueError: the shapes of weights and bias do not match.
    """

    weights: Floats
    """(n_inputs, n_outputs)"""
    bias: Floats
    """(n_outputs,)"""
    activation: str

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.bias.shape != self.weights.shape[1:]:
            raise ValueError(
                "a layer needs weights (n_inputs, n_outputs) and bias (n_outputs,), "
                f"got {self.weights.shape} and {self.bias.shape}"
            )


@dataclass(frozen=True, eq=False)
class Network:
    """Layers; the outputs of each are the inputs of the next.

    Raises:
        ValueError: there is no layer, or two neighbours do not match.
    """

    layers: tuple[Layer, ...]
    centre: NDArray[np.float64] | None = None
    """(n_inputs,), subtracted from the features before the first layer; None: nothing"""

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a network needs at least one layer, got none")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.weights.shape[1] != after.weights.shape[0]:
                raise ValueError(
                    f"a layer of {before.weights.shape[1]} outputs "
                    f"is followed by one of {after.weights.shape[0]} inputs"
                )

    @property
    def n_inputs(self) -> int:
        """The number of features that an instance must have."""
        return int(self.layers[0].weights.shape[0])

    @property
    def n_outputs(self) -> int:
        """The number of outputs for an instance."""
        return int(self.layers[-1].weights.shape[1])

    @property
    def widest(self) -> int:
        """The most numbers that an instance has on its way: its features, or the outputs of a layer."""
        return max(self.n_inputs, *(layer.bias.size for layer in self.layers))

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        return sum(layer.weights.size + layer.bias.size for layer in self.layers)


def forward(network: Network, features: Floats) -> Floats:
    """Propagate features (n_instances, n_features) forward to the outputs (n_instances, n_outputs).

    For each layer, with x the outputs of the layer before it, or the features less the network's centre:

        z = x @ w + b
        y_hat = activation(z)

    A block of rows at a time: the memory of hidden layers does not grow with the number of instances.
    """
    with np.errstate(all="ignore"):
        if len(features) <= MIN_BLOCK_ROWS:
            return _forward_block(network, features)
        blocks = [_forward_block(network, features[rows]) for rows in row_blocks(len(features), network.widest)]
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _forward_block(network: Network, features: Floats) -> Floats:
    outputs = features if network.centre is None else features - network.centre
    for layer in network.layers:
        z = outputs @ layer.weights
        z += layer.bias
        outputs = ACTIVATIONS[layer.activation].apply(z)
    return outputs
