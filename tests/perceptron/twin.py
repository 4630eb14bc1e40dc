"""A second implementation of the article's neuron, slow and obvious: lists and `math`, no NumPy.

One neuron, mean squared error, gradient descent, as in S. Ravi, "Neural Networks: The Math", 2022.
"""

import math

ACTIVATION = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0.0),
}
DERIVATIVE = {
    "identity": lambda z: 1.0,
    "sigmoid": lambda z: ACTIVATION["sigmoid"](z) * (1 - ACTIVATION["sigmoid"](z)),
    "tanh": lambda z: 1 - math.tanh(z) ** 2,
    "relu": lambda z: 1.0 if z > 0 else 0.0,
}


def z_of(weights, bias, x):
    return sum(w_j * x_j for w_j, x_j in zip(weights, x, strict=True)) + bias


def cost_of(activation, weights, bias, features, targets):
    losses = [(y - ACTIVATION[activation](z_of(weights, bias, x))) ** 2 for x, y in zip(features, targets, strict=True)]
    return sum(losses) / len(losses)


def train(activation, features, targets, learning_rate, n_epochs, weights, bias):
    """Yield (weights, bias, cost) after each epoch."""
    n = len(features)
    for _ in range(n_epochs):
        dc_dw = [0.0] * len(weights)
        dc_db = 0.0
        for x, y in zip(features, targets, strict=True):
            z = z_of(weights, bias, x)
            y_hat = ACTIVATION[activation](z)
            dc_dz = 2 / n * (y_hat - y) * DERIVATIVE[activation](z)
            for j, x_j in enumerate(x):
                dc_dw[j] += dc_dz * x_j
            dc_db += dc_dz
        weights = [w_j - learning_rate * g_j for w_j, g_j in zip(weights, dc_dw, strict=True)]
        bias = bias - learning_rate * dc_db
        yield weights, bias, cost_of(activation, weights, bias, features, targets)
