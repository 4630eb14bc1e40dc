"""Forward propagation for whoever asks, and what its outputs stand for."""

import numpy as np

from perceptron.arrays import Floats, row_blocks
from perceptron.errors import DimensionError, OutputNotFiniteError
from perceptron.network import Network, forward
from perceptron.task import Task


def predict_outputs(network: Network, features: Floats) -> Floats:
    """Give the outputs (n_instances, n_outputs) for features (n_instances, n_features), finite every one.

    Raises:
        DimensionError: the features are not as many as the network has inputs.
        OutputNotFiniteError: an output is infinite or not a number; names the first such instance.
    """
    n_features = features.shape[1] if features.ndim == 2 else features.size
    if features.ndim != 2 or n_features != network.n_inputs:
        raise DimensionError(network.n_inputs, n_features)
    outputs = np.empty((len(features), network.n_outputs), dtype=network.layers[-1].weights.dtype)
    with np.errstate(all="ignore"):
        for rows in row_blocks(len(features)):
            outputs[rows] = forward(network, features[rows])
    is_finite = np.isfinite(outputs).all(axis=1)
    if not is_finite.all():
        raise OutputNotFiniteError(int(is_finite.argmin()))
    return outputs


def predictions(task: Task, outputs: Floats) -> list[str] | list[int] | list[float] | list[list[float]]:
    """Give what each row of outputs (n_instances, n_outputs) stands for.

    For classification its class: that of the largest output, the first on a tie; of a single output the
    second class when it is >= 0.5, else the first. For regression its value, or the list of its values if the
    targets were lists.
    """
    if task.classes is not None:
        classes = task.classes
        return [classes[index] for index in task.class_indices(outputs)]
    values: list[float] | list[list[float]] = (outputs if task.is_list else outputs[:, 0]).tolist()
    return values
