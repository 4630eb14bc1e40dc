"""A network as layers of neurons: forward propagation, and backpropagation by the chain rule.

The single neuron is the network with one layer and one output.

Source: S. Ravi, "Neural Networks: The Math", 2022.
"""

from dataclasses import dataclass
from typing import NamedTuple

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats


@dataclass(frozen=True, eq=False)
class Layer:
    """Neurons side by side: y_hat = activation(x @ weights + bias).

    Raises:
        ValueError: the shapes of weights and bias do not belong together.
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
    """Layers, each one's outputs being the inputs of the next.

    Raises:
        ValueError: there is no layer, or two neighbours do not fit.
    """

    layers: tuple[Layer, ...]

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
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        return sum(layer.weights.size + layer.bias.size for layer in self.layers)


class LayerGradient(NamedTuple):
    """dC/dw (n_inputs, n_outputs) and dC/db (n_outputs,) of one layer."""

    weights: Floats
    bias: Floats


class ForwardPass(NamedTuple):
    """What forward propagation computed on the way, for the way back."""

    inputs: tuple[Floats, ...]
    """for each layer (n_instances, n_inputs); the first are the features"""
    z: Floats
    """x @ w + b of the last layer, (n_instances, n_outputs)"""
    outputs: Floats
    """(n_instances, n_outputs)"""


def forward(network: Network, features: Floats) -> Floats:
    """Propagate features (n_instances, n_features) forward to the outputs (n_instances, n_outputs)."""
    return forward_pass(network, features).outputs


def forward_pass(network: Network, features: Floats) -> ForwardPass:
    """Propagate features (n_instances, n_features) forward and keep what backpropagation needs.

    For each layer, with x the outputs of the one before:

        z = x @ w + b
        y_hat = activation(z)
    """
    inputs: list[Floats] = []
    outputs = features
    for layer in network.layers:
        inputs.append(outputs)
        z = outputs @ layer.weights
        z += layer.bias
        outputs = ACTIVATIONS[layer.activation].apply(z)
    return ForwardPass(tuple(inputs), z, outputs)


def backward(network: Network, inputs: tuple[Floats, ...], delta: Floats) -> tuple[LayerGradient, ...]:
    """Propagate delta = dC/dz (n_instances, n_outputs) of the last layer back to every weight and bias.

    For each layer, from the last to the first, with x its inputs:

        dC/dw = x' @ delta                         since dz/dw = x
        dC/db = sum of delta over the instances    the bias is a weight whose input is always 1
        delta of the layer before = (delta @ w') * dy_hat/dz of that layer

    Returns:
        The gradient of each layer, in the order of the layers.
    """
    gradients: list[LayerGradient] = []
    for k in reversed(range(len(network.layers))):
        gradients.append(LayerGradient(inputs[k].T @ delta, delta.sum(axis=0)))
        if k > 0:
            before = ACTIVATIONS[network.layers[k - 1].activation]
            delta = before.pull_back(inputs[k], delta @ network.layers[k].weights.T)
    return tuple(reversed(gradients))
