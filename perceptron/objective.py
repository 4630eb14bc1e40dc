"""The cost of a data set, and its gradient, as functions of the parameters: what the optimizers minimise."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture
from perceptron.arrays import Floats, Rows
from perceptron.data.dataset import Dataset
from perceptron.data.mapped import WINDOW_BYTES, GiveBack
from perceptron.losses import LOSSES

BLOCK_BYTES = 1_600_000
"""About what stays in a core's cache while a block of rows goes forward and back."""
MIN_BLOCK_ROWS, MAX_BLOCK_ROWS = 8, 4096


class Evaluation(NamedTuple):
    """Costs and gradients at some parameters, one for each network."""

    costs: NDArray[np.float64]
    """(n_networks,)"""
    gradients: Floats
    """(n_networks, n_parameters)"""
    held_out_costs: NDArray[np.float64] | None = None
    """(n_networks,): of the validation set, or of the fold that each network does not train on, without the penalty"""

    def take(self, which: Rows) -> "Evaluation":
        """Give the evaluation of some of the networks."""
        held_out_costs = None if self.held_out_costs is None else self.held_out_costs[which]
        return Evaluation(self.costs[which], self.gradients[which], held_out_costs)


@dataclass(frozen=True)
class Networks:
    """What tells networks apart that are evaluated together, beside their parameters."""

    l2: NDArray[np.float64]
    """(n_networks,): the penalty of each"""
    held_out: Rows | None = None
    """(n_networks,): the fold that each does not train on"""

    @classmethod
    def single(cls, l2: float = 0.0) -> "Networks":
        """One network that trains on everything."""
        return cls(np.array([l2]))

    def take(self, which: Rows) -> "Networks":
        """Give some of them."""
        return Networks(self.l2[which], None if self.held_out is None else self.held_out[which])


@dataclass(frozen=True, eq=False)
class Folds:
    """A partition of the instances for cross-validation, with the standardization that goes with each fold.

    A network that holds out a fold sees the features as ((x - mean) / scale) of the other folds' instances. Its
    parameters are those for standardized features; the objective folds them into its own, so that one product
    serves all networks.
    """

    fold_of: Rows
    """(n_instances,): 0, 1, ..."""
    mean: NDArray[np.float64]
    """(n_folds, n_features)"""
    scale: NDArray[np.float64]
    """(n_folds, n_features)"""


class Objective:
    """The cost of a data set as a function of the parameters of one network, or of many of one architecture.

    With the weights w_i of the instances (1 each by default), y of k outputs and W all weights but no bias:

        loss_i = sum_k (y_k - y_hat_k)^2     for mean_squared_error; the cross-entropy likewise sums over k
        C      = sum_i w_i loss_i / sum_i w_i  +  l2 * sum W^2

    so that for mean_squared_error and equal weights dC/dy_hat = 2/n (y_hat - y) for every output. It is
    computed in the dtype of the data set, in blocks of rows that stay in cache on their way forward and back; the
    sums over blocks are kept in float64. Many networks are columns of one matrix in the first layer, which reads the
    features once for all of them, and a stack of matrices in the others.

    The blocks are shared among threads in a fixed way, and the threads' sums added in a fixed order: the same data,
    parameters and number of threads give the same bytes.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        *,
        loss: str,
        folds: Folds | None = None,
        n_threads: int = 1,
    ) -> None:
        self.architecture = architecture
        self.dataset = dataset
        self.loss = loss
        self._loss = LOSSES[loss]
        self._activations = [ACTIVATIONS[name] for name in architecture.activations]
        self._folds = folds
        self._dtype = dataset.targets.dtype
        weights = dataset.relative_weights()
        if folds is not None:
            self._row_weights: Floats | None = _fold_weights(folds, weights).astype(self._dtype)
        else:
            self._row_weights = None if weights is None else weights.astype(self._dtype)[:, np.newaxis]
        # A product with ones sums columns several times faster than sum(axis=0).
        self._ones = np.ones((1, MAX_BLOCK_ROWS), self._dtype)
        self._n_threads = n_threads
        self._give_back = GiveBack(dataset.features)
        self._threads = ThreadPoolExecutor(n_threads - 1) if n_threads > 1 else None

    def cost(self, parameters: Floats, networks: Networks) -> NDArray[np.float64]:
        """Give C of each network over the whole data set, (n_networks,), for parameters (n_networks, n_parameters)."""
        return self.evaluate(parameters, networks, with_gradients=False).costs

    def evaluate(
        self, parameters: Floats, networks: Networks, rows: Rows | None = None, *, with_gradients: bool = True
    ) -> Evaluation:
        """Give C and its gradient for parameters (n_networks, n_parameters).

        Args:
            rows: a mini-batch, which there is only without folds; None: the whole data set. The weights of the
                instances stay relative to their mean over the whole data set: so this is an unbiased estimate of the
                whole, and a batch whose weights are all 0 is no division by 0.
            with_gradients: otherwise the gradients are (0, n_parameters).
        """
        n_networks = len(parameters)
        stack = _Stack(self.architecture, parameters)
        seen = stack if self._folds is None else self._in_raw_units(stack, self._folds, networks)
        n_rows = self.dataset.n_instances if rows is None else len(rows)
        block_rows = self._block_rows(n_networks)
        blocks = [slice(first, min(first + block_rows, n_rows)) for first in range(0, n_rows, block_rows)]
        sums = self._sum(seen, self._trained_on(networks), blocks, rows, with_gradients=with_gradients)

        costs_by_weighting = sums.losses / n_rows
        held_out_costs = None
        if self._folds is not None and networks.held_out is not None:
            n_folds, each = len(self._folds.mean), np.arange(n_networks)
            costs = costs_by_weighting[networks.held_out, each]
            held_out_costs = costs_by_weighting[n_folds + networks.held_out, each]
        else:
            costs = costs_by_weighting[0]
        is_penalized = bool(networks.l2.any())
        if is_penalized:
            costs = costs + networks.l2 * sum(np.einsum("cij,cij->c", w, w, dtype=np.float64) for w in stack.weights)
        if not with_gradients:
            return Evaluation(costs, parameters[:0], held_out_costs)
        gradients = sums.gradients(self.architecture, n_networks, n_rows, self._dtype)
        of_stack = _Stack(self.architecture, gradients)
        if self._folds is not None and networks.held_out is not None:
            # dC/dw = (dC/dw' - mean dC/db) / scale, since w' = w / scale and b' = b - (mean / scale) @ w
            mean, scale = self._folds.mean[networks.held_out], self._folds.scale[networks.held_out]
            of_stack.weights[0][...] -= (mean[:, :, np.newaxis] * of_stack.bias[0][:, np.newaxis, :]).astype(
                self._dtype
            )
            of_stack.weights[0][...] /= scale[:, :, np.newaxis].astype(self._dtype)
        if is_penalized:
            twice = (2 * networks.l2).astype(self._dtype)[:, np.newaxis, np.newaxis]
            for sums_of_layer, weights in zip(of_stack.weights, stack.weights, strict=True):
                sums_of_layer[...] += twice * weights
        return Evaluation(costs, gradients, held_out_costs)

    def _in_raw_units(self, stack: "_Stack", folds: Folds, networks: Networks) -> "_Stack":
        """Fold each network's standardization into its first layer: w / scale, and b - (mean / scale) @ w."""
        assert networks.held_out is not None, "with folds, each network holds one out"
        mean, scale = folds.mean[networks.held_out], folds.scale[networks.held_out]
        raw = _Stack(self.architecture, stack.parameters.copy())
        raw.weights[0][...] = stack.weights[0] / scale[:, :, np.newaxis]
        raw.bias[0][...] = stack.bias[0] - np.einsum("cd,cdk->ck", mean / scale, stack.weights[0])
        return raw

    def _trained_on(self, networks: Networks) -> Floats | None:
        """Give the matrix (2 n_folds, n_networks) that picks each network's column of the row weights.

        A product with it is faster than picking by index, and as exact: all but one of its terms are 0.
        """
        if self._folds is None or networks.held_out is None:
            return None
        return np.eye(2 * len(self._folds.mean), dtype=self._dtype)[:, networks.held_out]

    def _block_rows(self, n_networks: int) -> int:
        widths = self.architecture.widths
        bytes_per_row = self._dtype.itemsize * (widths[0] + 3 * n_networks * sum(widths[1:]))
        return int(min(max(BLOCK_BYTES // bytes_per_row, MIN_BLOCK_ROWS), MAX_BLOCK_ROWS))

    def _sum(
        self,
        stack: "_Stack",
        trained_on: Floats | None,
        blocks: list[slice],
        rows: Rows | None,
        *,
        with_gradients: bool,
    ) -> "_Sums":
        """Add up the blocks, each thread a part of them in order, and then the parts in order."""
        n_parts = min(self._n_threads, len(blocks))
        bounds = [len(blocks) * part // n_parts for part in range(n_parts + 1)]
        parts = [blocks[low:high] for low, high in pairwise(bounds)]
        blocks_per_window = max(WINDOW_BYTES // (blocks[0].stop * self.dataset.features.strides[0] or 1), 1)

        def sum_part(part: list[slice]) -> _Sums:
            sums = _Sums()
            with np.errstate(all="ignore"):  # a thread begins with warnings on
                for first in range(0, len(part), blocks_per_window):
                    window = part[first : first + blocks_per_window]
                    for block in window:
                        self._add_block(sums, stack, trained_on, block if rows is None else rows[block], with_gradients)
                    if rows is None:
                        self._give_back.rows(slice(window[0].start, window[-1].stop))
            return sums

        if self._threads is None or n_parts == 1:
            return sum_part(blocks)
        others = [self._threads.submit(sum_part, part) for part in parts[1:]]
        total = sum_part(parts[0])
        for other in others:
            total.add(other.result())
        return total

    def _add_block(
        self, sums: "_Sums", stack: "_Stack", trained_on: Floats | None, rows: slice | Rows, with_gradients: bool
    ) -> None:
        """Propagate some rows forward, and the derivatives of their losses back, and add to the sums.

        Backpropagation by the chain rule: for each layer, from the last to the first, with x its inputs and
        delta = dC/dz, which for the last layer is dC/dy_hat * dy_hat/dz,

            dC/dw = x' @ delta                         since dz/dw = x
            dC/db = sum of delta over the instances    the bias is a weight whose input is always 1
            delta of the layer before = (delta @ w') * dy_hat/dz of that layer
        """
        features = np.asarray(self.dataset.features[rows])
        targets = self.dataset.targets[rows][:, np.newaxis, :]
        n_networks, n_layers = len(stack.parameters), len(stack.weights)

        # The first layer of all networks is one matrix; later ones are a stack, for which the networks come first.
        flat = features @ stack.first_weights
        flat += stack.first_bias
        z = flat.reshape(len(features), n_networks, -1)
        hidden: list[Floats] = []
        for k in range(1, n_layers):
            before = self._activations[k - 1].apply(z)
            before = before.transpose(1, 0, 2) if k == 1 else before
            hidden.append(before)
            z = before @ stack.weights[k]
            z += stack.bias[k][:, np.newaxis, :]
        if hidden:
            z = z.transpose(1, 0, 2)
        losses, delta = self._loss.evaluate(self._activations[-1], z, targets)

        row_weights = None if self._row_weights is None else self._row_weights[rows]
        ones = self._ones[:, : len(features)]
        sums.add_losses((ones if row_weights is None else row_weights.T) @ losses)
        if not with_gradients:
            return
        if row_weights is not None:
            of_network = row_weights if trained_on is None else row_weights @ trained_on
            delta *= of_network[:, :, np.newaxis]
        if hidden:
            delta = delta.transpose(1, 0, 2)
        for k in range(n_layers - 1, 0, -1):
            sums.add_layer(k, hidden[k - 1].transpose(0, 2, 1) @ delta, (ones @ delta)[:, 0])
            delta = delta @ stack.weights[k].transpose(0, 2, 1)
            delta = self._activations[k - 1].pull_back(hidden[k - 1], delta)
        if hidden:
            delta = delta.transpose(1, 0, 2)
        flat_delta = delta.reshape(len(features), -1)
        sums.add_layer(0, features.T @ flat_delta, ones[0] @ flat_delta)


class _Stack:
    """Parameters (n_networks, n_parameters) seen as layers: weights[k] (n_networks, n_inputs, n_outputs), bias[k]."""

    def __init__(self, architecture: Architecture, parameters: Floats) -> None:
        self.parameters = parameters
        self.weights: list[Floats] = []
        self.bias: list[Floats] = []
        start = 0
        for n_inputs, n_outputs in pairwise(architecture.widths):
            middle = start + n_inputs * n_outputs
            self.weights.append(parameters[:, start:middle].reshape(len(parameters), n_inputs, n_outputs))
            start = middle + n_outputs
            self.bias.append(parameters[:, middle:start])

    @cached_property
    def first_weights(self) -> Floats:
        """The first layers side by side, (n_features, n_networks * n_outputs)."""
        n_inputs = self.weights[0].shape[1]
        return self.weights[0].transpose(1, 0, 2).reshape(n_inputs, -1)

    @cached_property
    def first_bias(self) -> Floats:
        """Their biases, (n_networks * n_outputs,)."""
        return self.bias[0].reshape(-1)


class _Sums:
    """Sums over rows, in float64."""

    def __init__(self) -> None:
        self.losses: NDArray[np.float64] = np.zeros(())
        """(n_weightings, n_networks)"""
        self._layers: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def add_losses(self, losses: Floats) -> None:
        self.losses = losses.astype(np.float64) if self.losses.ndim == 0 else np.add(self.losses, losses)

    def add_layer(self, k: int, weights: Floats, bias: Floats) -> None:
        if k in self._layers:
            weights_sum, bias_sum = self._layers[k]
            weights_sum += weights
            bias_sum += bias
        else:
            self._layers[k] = weights.astype(np.float64), bias.astype(np.float64)

    def add(self, other: "_Sums") -> None:
        self.add_losses(other.losses)
        for k, (weights, bias) in other._layers.items():
            self.add_layer(k, weights, bias)

    def gradients(self, architecture: Architecture, n_networks: int, n_rows: int, dtype: np.dtype[Any]) -> Floats:
        """Give the means (n_networks, n_parameters), in the order of the parameters."""
        parts: list[Floats] = []
        for k, (n_inputs, _) in enumerate(pairwise(architecture.widths)):
            weights, bias = self._layers[k]
            if k == 0:
                weights = weights.reshape(n_inputs, n_networks, -1).transpose(1, 0, 2)
            parts += [weights.reshape(n_networks, -1), bias.reshape(n_networks, -1)]
        means: Floats = (np.concatenate(parts, axis=1) / n_rows).astype(dtype, copy=False)
        return means


def _fold_weights(folds: Folds, weights: Floats | None) -> Floats:
    """Weigh the instances once for training without each fold and once for judging by it, (n_instances, 2 n_folds).

    Each column has mean 1, so that a mean over all rows is the weighted one over the rows that count.
    """
    n_folds = len(folds.mean)
    is_held_out = folds.fold_of[:, np.newaxis] == np.arange(n_folds)
    columns = np.concatenate([~is_held_out, is_held_out], axis=1).astype(np.float64)
    if weights is not None:
        columns *= weights[:, np.newaxis]
    columns /= columns.mean(axis=0)
    return columns
