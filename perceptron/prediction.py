"""Predictions: forward propagation, and what its outputs stand for."""

from collections.abc import Sequence

import numpy as np

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats, row_blocks
from perceptron.data.task import Task
from perceptron.errors import DimensionError, OutputNotFiniteError
from perceptron.network import Layer, Network, forward

MAX_WIDTH_SIDE_BY_SIDE = 4096
"""Wider first layers gain nothing from one product, which would only take memory."""


def predict_outputs(network: Network, features: Floats) -> Floats:
    """Give the outputs (n_instances, n_outputs) for features (n_instances, n_features).

    Raises:
        DimensionError: the number of features is not that of the network's inputs.
        OutputNotFiniteError: an output is infinite or not a number; the error names the first such instance.
    """
    _check_width(network, features)
    outputs = forward(network, features)
    _check_finite(outputs)
    return outputs


def predict_side_by_side(networks: Sequence[Network], features: Floats) -> list[Floats]:
    """Give the outputs of each network for the same features: their first layers are one matrix product.

    Raises:
        DimensionError, OutputNotFiniteError: as `predict_outputs`.
    """
    for network in networks:
        _check_width(network, features)
    firsts = [network.layers[0] for network in networks]
    ends = np.cumsum([first.bias.size for first in firsts])
    if ends[-1] > MAX_WIDTH_SIDE_BY_SIDE or any(network.centre is not None for network in networks):
        return [predict_outputs(network, features) for network in networks]
    weights, bias = np.hstack([first.weights for first in firsts]), np.concatenate([first.bias for first in firsts])
    joint = Network((Layer(weights, bias, "identity"),))
    outputs: list[Floats] = [np.empty((len(features), network.n_outputs)) for network in networks]
    with np.errstate(all="ignore"):
        for rows in row_blocks(len(features), int(ends[-1])):
            for network, z, to in zip(
                networks, np.split(forward(joint, features[rows]), ends[:-1], axis=1), outputs, strict=True
            ):
                first, *rest = network.layers
                activated = ACTIVATIONS[first.activation].apply(z)
                to[rows] = forward(Network(tuple(rest)), activated) if rest else activated
    for one in outputs:
        _check_finite(one)
    return outputs


def _check_width(network: Network, features: Floats) -> None:
    n_features = features.shape[1] if features.ndim == 2 else features.size
    if features.ndim != 2 or n_features != network.n_inputs:
        raise DimensionError(network.n_inputs, n_features)


def _check_finite(outputs: Floats) -> None:
    is_finite = np.isfinite(outputs).all(axis=1)
    if not is_finite.all():
        raise OutputNotFiniteError(int(is_finite.argmin()))


def predictions(task: Task, outputs: Floats) -> list[str] | list[int] | list[float] | list[list[float]]:
    """Give what each row of outputs (n_instances, n_outputs) stands for.

    In a classification that is a class, by `Task.class_indices`. In a regression it is the value, or a list of values
    if the targets were lists.
    """
    if task.classes is not None:
        classes = task.classes
        return [classes[index] for index in task.class_indices(outputs)]
    values: list[float] | list[list[float]] = (outputs if task.is_list else outputs[:, 0]).tolist()
    return values
