"""The cost of a data set, and its gradient, as functions of the parameters: what the optimizers minimise."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from perceptron.architecture import Architecture
from perceptron.arrays import Floats, Rows, row_blocks
from perceptron.dataset import Dataset
from perceptron.losses import LOSSES
from perceptron.network import Network, backward, forward_pass


class Evaluation(NamedTuple):
    """The cost at some parameters, and its gradient (n_parameters,) there."""

    cost: float
    gradient: Floats


class _Block(NamedTuple):
    features: Floats
    targets: Floats
    weights: Floats | None


class Objective:
    """The cost of a data set as a function of a network's parameters.

    With the weights w_i of the instances (1 each by default), y of k outputs and W all weights but no bias:

        loss_i = sum_k (y_k - y_hat_k)^2     for mean_squared_error; the cross-entropy likewise sums over k
        C      = sum_i w_i loss_i / sum_i w_i  +  l2 * sum W^2

    so that for mean_squared_error and equal weights dC/dy_hat = 2/n (y_hat - y) for every output. It is
    computed in the dtype of the data set, in blocks of rows; sums of losses are kept in float64.
    """

    def __init__(self, architecture: Architecture, dataset: Dataset, *, loss: str, l2: float = 0.0) -> None:
        self._architecture = architecture
        self._dataset = dataset
        self._loss = LOSSES[loss]
        self._l2 = l2
        weights = dataset.relative_weights()
        self._weights = None if weights is None else weights.astype(dataset.features.dtype)
        self._blocks = tuple(self._block(rows) for rows in row_blocks(dataset.n_instances))

    @property
    def n_instances(self) -> int:
        """The number of instances that the cost is a mean over."""
        return self._dataset.n_instances

    def cost(self, parameters: Floats) -> float:
        """Give C over the whole data set."""
        network = self._architecture.network(parameters)
        total = 0.0
        for block in self._blocks:
            outputs = forward_pass(network, block.features)
            total += self._sum_of_losses(network, block, outputs.z, outputs.outputs)
        return total / self.n_instances + self._penalty(network)

    def evaluate(self, parameters: Floats) -> Evaluation:
        """Give C and its gradient over the whole data set."""
        return self._evaluate(parameters, self._blocks, self.n_instances)

    def evaluate_batch(self, parameters: Floats, rows: Rows) -> Evaluation:
        """Give C and its gradient over a mini-batch of rows.

        The weights of the instances stay relative to their mean over the whole data set, which makes this an
        unbiased estimate of the whole, and a batch whose weights are all 0 no division by 0.
        """
        blocks = (self._block(rows[part]) for part in row_blocks(len(rows)))
        return self._evaluate(parameters, blocks, len(rows))

    def _block(self, rows: slice | Rows) -> _Block:
        weights = None if self._weights is None else self._weights[rows]
        return _Block(self._dataset.features[rows], self._dataset.targets[rows], weights)

    def _evaluate(self, parameters: Floats, blocks: Iterable[_Block], n_instances: int) -> Evaluation:
        network = self._architecture.network(parameters)
        activation = network.layers[-1].activation
        gradient = np.zeros_like(parameters)
        gradient_layers = self._architecture.network(gradient).layers
        total = 0.0
        for block in blocks:
            passed = forward_pass(network, block.features)
            total += self._sum_of_losses(network, block, passed.z, passed.outputs)
            delta = self._loss.delta(activation, passed.outputs, block.targets)
            if block.weights is not None:
                delta = delta * block.weights[:, np.newaxis]
            for sums, part in zip(gradient_layers, backward(network, passed.inputs, delta), strict=True):
                np.add(sums.weights, part.weights, out=sums.weights)
                np.add(sums.bias, part.bias, out=sums.bias)
        gradient /= n_instances
        if self._l2:
            for sums, layer in zip(gradient_layers, network.layers, strict=True):
                np.add(sums.weights, 2 * self._l2 * layer.weights, out=sums.weights)
        return Evaluation(total / n_instances + self._penalty(network), gradient)

    def _sum_of_losses(self, network: Network, block: _Block, z: Floats, outputs: Floats) -> float:
        losses = self._loss.values(network.layers[-1].activation, z, outputs, block.targets)
        if block.weights is not None:
            losses = losses * block.weights
        return float(losses.sum(dtype=np.float64))

    def _penalty(self, network: Network) -> float:
        if not self._l2:
            return 0.0
        return self._l2 * sum(float(np.vdot(layer.weights, layer.weights)) for layer in network.layers)
