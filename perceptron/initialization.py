"""The parameters that training starts from."""

from itertools import pairwise

import numpy as np

from perceptron.architecture import Architecture
from perceptron.arrays import Floats


def initialize(architecture: Architecture, initialization: str, rng: np.random.Generator) -> Floats:
    """Give the first parameters, as a vector (n_parameters,) in float64. All biases are 0; the weights are

        zeros             0
        glorot_uniform    uniform in +-sqrt(6 / (n_inputs + n_outputs)) of their layer
        he_normal         normal with mean 0 and variance 2 / n_inputs of their layer

    References:
        X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks",
        2010.
        K. He et al., "Delving Deep into Rectifiers", 2015.
    """
    parts: list[Floats] = []
    for n_inputs, n_outputs in pairwise(architecture.widths):
        n_weights = n_inputs * n_outputs
        if initialization == "glorot_uniform":
            limit = np.sqrt(6 / (n_inputs + n_outputs))
            parts.append(rng.uniform(-limit, limit, n_weights))
        elif initialization == "he_normal":
            parts.append(rng.normal(0, np.sqrt(2 / n_inputs), n_weights))
        else:
            parts.append(np.zeros(n_weights))
        parts.append(np.zeros(n_outputs))
    return np.concatenate(parts)
