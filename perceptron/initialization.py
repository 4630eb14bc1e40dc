"""The parameters that training starts from.

References:
    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", 2010.
    K. He et al., "Delving Deep into Rectifiers", 2015.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture, NetworkConfig
from perceptron.arrays import Floats


def _zeros(n_inputs: int, n_outputs: int, rng: np.random.Generator) -> Floats:
    return np.zeros(n_inputs * n_outputs)


def _glorot_uniform(n_inputs: int, n_outputs: int, rng: np.random.Generator) -> Floats:
    limit = np.sqrt(6 / (n_inputs + n_outputs))
    return rng.uniform(-limit, limit, n_inputs * n_outputs)


def _he_normal(n_inputs: int, n_outputs: int, rng: np.random.Generator) -> Floats:
    return rng.normal(0, np.sqrt(2 / n_inputs), n_inputs * n_outputs)


INITIALIZATIONS: dict[str, Callable[[int, int, np.random.Generator], Floats]] = {
    "zeros": _zeros,
    "glorot_uniform": _glorot_uniform,
    "he_normal": _he_normal,
}
"""By name: from the numbers of inputs and outputs of a layer to its first weights, one after the other."""


def initialize(architecture: Architecture, initialization: str, rng: np.random.Generator) -> Floats:
    """Give the first parameters, as a vector (n_parameters,) in float64. All biases are 0; the weights are

    zeros             0
    glorot_uniform    uniform in +-sqrt(6 / (n_inputs + n_outputs)) of their layer
    he_normal         normal with mean 0 and variance 2 / n_inputs of their layer
    """
    parts: list[Floats] = []
    for n_inputs, n_outputs in pairwise(architecture.widths):
        parts += [INITIALIZATIONS[initialization](n_inputs, n_outputs, rng), np.zeros(n_outputs)]
    return np.concatenate(parts)


def default_initialization(network: NetworkConfig) -> str:
    """Give zeros without hidden layers, else glorot_uniform; a layer of relu first has he_normal."""
    first = network.hidden_activation if network.hidden_layers else network.activation
    return ACTIVATIONS[first].default_initialization or ("glorot_uniform" if network.hidden_layers else "zeros")
