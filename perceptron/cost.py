"""The cost kernel: sums over some rows of a data set, and the cost and gradient that the sums of all rows give.

Sums over disjoint rows combine by addition, so the rows may be shared among blocks, threads or machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture
from perceptron.arrays import Floats, Rows
from perceptron.losses import LOSSES
from perceptron.products import multiply, multiply_transposed

MAX_BLOCK_ROWS = 32768


class Evaluation(NamedTuple):
    """Costs and gradients at some parameters, one for each network."""

    costs: NDArray[np.float64]
    """(n_networks,)"""
    gradients: Floats
    """(n_networks, n_parameters); (0, n_parameters) where only costs were asked for"""
    held_out_costs: NDArray[np.float64] | None = None
    """(n_networks,): of the validation set, or of the fold that each network does not train on, without the penalty"""

    def take(self, which: Rows) -> "Evaluation":
        """Give the evaluation of some of the networks."""
        held_out_costs = None if self.held_out_costs is None else self.held_out_costs[which]
        return Evaluation(self.costs[which], self.gradients[which], held_out_costs)

    def put(self, which: Rows, evaluation: "Evaluation") -> "Evaluation":
        """Replace the evaluation of some of the networks."""
        costs, gradients = self.costs.copy(), self.gradients.copy()
        costs[which], gradients[which] = evaluation.costs, evaluation.gradients
        held_out_costs = None if self.held_out_costs is None else self.held_out_costs.copy()
        if held_out_costs is not None and evaluation.held_out_costs is not None:
            held_out_costs[which] = evaluation.held_out_costs
        return Evaluation(costs, gradients, held_out_costs)

    @classmethod
    def joined(cls, parts: "Sequence[Evaluation]") -> "Evaluation":
        """Give the evaluation of the networks of all parts, in this order."""
        held_out_costs = [part.held_out_costs for part in parts if part.held_out_costs is not None]
        return cls(
            np.concatenate([part.costs for part in parts]),
            np.concatenate([part.gradients for part in parts]),
            np.concatenate(held_out_costs) if held_out_costs else None,
        )


@dataclass(frozen=True)
class Networks:
    """What distinguishes networks that are evaluated together, besides their parameters."""

    l2: NDArray[np.float64]
    """(n_networks,): the penalty of each"""
    held_out: Rows | None = None
    """(n_networks,): the fold that each does not train on"""

    @cached_property
    def is_penalized(self) -> bool:
        """Whether one of them has a penalty."""
        return bool(self.l2.any())

    @classmethod
    def single(cls, l2: float = 0.0) -> "Networks":
        """One network that trains on everything."""
        return cls(np.array([l2]))

    def take(self, which: Rows) -> "Networks":
        """Give some of them."""
        return Networks(self.l2[which], None if self.held_out is None else self.held_out[which])


class FoldScales(NamedTuple):
    """The standardization that goes with each fold of a cross-validation.

    A network that holds out a fold sees the features as ((x - mean) / scale) of the other folds' instances. Its
    parameters are those for standardized features; the kernel folds the standardization into them, so that one
    product serves all networks.
    """

    mean: NDArray[np.float64]
    """(n_folds, n_features)"""
    scale: NDArray[np.float64]
    """(n_folds, n_features)"""


_NOTHING = np.zeros(())


class CostSums:
    """Sums over some rows, in float64, for networks that are evaluated together."""

    def __init__(self) -> None:
        self.n_rows = 0
        self.losses: NDArray[np.float64] = _NOTHING
        """(1, n_networks); with folds (2, n_networks), the second weighted for judging by the fold held out"""
        self.layers: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
        """for each layer the derivatives by its weights and by its bias; empty where only costs were asked for"""

    def add(self, other: "CostSums") -> None:
        """Add the sums over other rows."""
        self.add_losses(other.n_rows, other.losses)
        for k, (weights, bias) in other.layers.items():
            self.add_layer(k, weights, bias)

    def add_losses(self, n_rows: int, losses: Floats) -> None:
        """Add the losses of some rows."""
        self.n_rows += n_rows
        self.losses = losses.astype(np.float64) if self.losses.ndim == 0 else np.add(self.losses, losses)

    def add_layer(self, k: int, weights: Floats, bias: Floats) -> None:
        """Add the derivatives of some rows by the parameters of a layer."""
        if k in self.layers:
            weights_sum, bias_sum = self.layers[k]
            weights_sum += weights
            bias_sum += bias
        else:
            self.layers[k] = weights.astype(np.float64), bias.astype(np.float64)


class TreeOfSums:
    """Adds up the sums over parts of a data set along a binary tree that the numbers of the parts alone fix.

    So the bytes of the total depend neither on who computed which part nor on when. The parts come in the order of
    their numbers, and only one sum for each level of the tree is kept.
    """

    def __init__(self) -> None:
        self._of_levels: list[CostSums | None] = []

    def add(self, part: CostSums) -> None:
        """Add the next part, which belongs to the tree then."""
        for level, other in enumerate(self._of_levels):
            if other is None:
                self._of_levels[level] = part
                return
            other.add(part)
            self._of_levels[level], part = None, other
        self._of_levels.append(part)

    def total(self) -> CostSums:
        """Give the sums over all parts, at least one."""
        total: CostSums | None = None
        for part in self._of_levels:
            if part is not None:
                if total is not None:
                    part.add(total)
                total = part
        assert total is not None, "there is a part"
        return total


def combine(parts: Sequence[CostSums]) -> CostSums:
    """Add up the sums over all parts of a data set, in this order. The parts stay as they are."""
    tree = TreeOfSums()
    for part in parts:
        copy = CostSums()
        copy.add(part)
        tree.add(copy)
    return tree.total()


class CostKernel:
    """The cost C of one network, or of many of one architecture, without its data set.

    With the weights w_i of the instances (1 each by default), y of k outputs and W all weights but no bias:

        loss_i = sum_k (y_k - y_hat_k)^2     for mean_squared_error; the cross-entropy likewise sums over k
        C      = sum_i w_i loss_i / sum_i w_i  +  l2 * sum W^2

    so that for mean_squared_error and equal weights dC/dy_hat = 2/n (y_hat - y) for every output. It is computed in
    the dtype of the data set; the sums over blocks are kept in float64. Many networks are columns of one matrix in
    the first layer, which reads the features once for all of them, and a stack of matrices in the others.
    """

    def __init__(
        self, architecture: Architecture, *, loss: str, dtype: np.dtype[np.floating], folds: FoldScales | None = None
    ) -> None:
        self._architecture = architecture
        self._activations = [ACTIVATIONS[name] for name in architecture.activations]
        self._loss = LOSSES[loss]
        self._dtype = dtype
        self._folds = folds
        # A product with ones sums columns several times faster than sum(axis=0).
        self._ones = np.ones((1, MAX_BLOCK_ROWS), dtype)

    def at(self, parameters: Floats, networks: Networks) -> "Point":
        """Prepare to evaluate networks at parameters (n_networks, n_parameters)."""
        stack = _Stack(self._architecture, parameters)
        if self._folds is None or networks.held_out is None:
            return Point(networks, stack, stack, None)
        # Fold each network's standardization into its first layer: w / scale, and b - (mean / scale) @ w.
        n_folds, held_out = len(self._folds.mean), networks.held_out
        mean, scale = self._folds.mean[held_out], self._folds.scale[held_out]
        raw = _Stack(self._architecture, parameters.copy())
        raw.weights[0][...] = stack.weights[0] / scale[:, :, np.newaxis]
        raw.bias[0][...] = stack.bias[0] - np.einsum("cd,cdk->ck", mean / scale, stack.weights[0])
        return Point(networks, stack, raw, _PointOfFolds(n_folds, held_out, mean, scale))

    def add_block(
        self,
        sums: CostSums,
        point: "Point",
        features: Floats,
        targets: Floats,
        row_weights: Floats | None,
        *,
        with_gradients: bool,
    ) -> None:
        """Propagate at most MAX_BLOCK_ROWS rows forward, and the derivatives of their losses back, and add to the sums.

        Backpropagation by the chain rule: for each layer, from the last to the first, with x its inputs and
        delta = dC/dz, which for the last layer is dC/dy_hat * dy_hat/dz,

            dC/dw = x' @ delta                         since dz/dw = x
            dC/db = sum of delta over the instances    the bias is a weight whose input is always 1
            delta of the layer before = (delta @ w') * dy_hat/dz of that layer

        Args:
            features: (n_rows, n_features).
            targets: (n_rows, n_outputs).
            row_weights: (n_rows, n_weightings); None: each row counts once.
        """
        stack = point.in_raw_units
        n_networks, n_layers = len(stack.parameters), len(stack.weights)

        # The first layer of all networks is one matrix; later ones are a stack, for which the networks come first.
        flat = multiply(features, stack.first_weights)
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
        losses, delta = self._loss.evaluate(self._activations[-1], z, targets[:, np.newaxis, :])

        ones = self._ones[:, : len(features)]
        of_network: Floats | None = row_weights
        if row_weights is not None and point.folds is not None:
            held_out = point.folds.held_out
            of_network = row_weights[:, held_out]
            of_judges = row_weights[:, point.folds.n_folds + held_out]
            sums.add_losses(len(features), np.concatenate([ones @ (of_network * losses), ones @ (of_judges * losses)]))
        else:
            sums.add_losses(len(features), (ones if row_weights is None else row_weights.T) @ losses)
        if not with_gradients:
            return
        if of_network is not None:
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
        sums.add_layer(0, multiply_transposed(features, flat_delta), ones[0] @ flat_delta)

    def finish(self, point: "Point", sums: CostSums) -> Evaluation:
        """Give C, and its gradient if the sums have one, from the sums over all rows at this point."""
        stack, networks, folds, n_networks = point.stack, point.networks, point.folds, len(point.stack.parameters)
        mean_losses = sums.losses / sums.n_rows
        costs, held_out_costs = mean_losses[0], None if folds is None else mean_losses[1]
        if networks.is_penalized:
            costs = costs + networks.l2 * sum(np.einsum("cij,cij->c", w, w, dtype=np.float64) for w in stack.weights)
        if not sums.layers:
            return Evaluation(costs, stack.parameters[:0], held_out_costs)
        gradients = self._mean_gradients(sums, n_networks)
        if folds is None and not networks.is_penalized:
            return Evaluation(costs, gradients, held_out_costs)
        of_stack = _Stack(self._architecture, gradients)
        if folds is not None:
            # dC/dw = (dC/dw' - mean dC/db) / scale, since w' = w / scale and b' = b - (mean / scale) @ w
            shift = folds.mean[:, :, np.newaxis] * of_stack.bias[0][:, np.newaxis, :]
            of_stack.weights[0][...] -= shift.astype(self._dtype)
            of_stack.weights[0][...] /= folds.scale[:, :, np.newaxis].astype(self._dtype)
        if networks.is_penalized:
            twice = (2 * networks.l2).astype(self._dtype)[:, np.newaxis, np.newaxis]
            for sums_of_layer, weights in zip(of_stack.weights, stack.weights, strict=True):
                sums_of_layer[...] += twice * weights
        return Evaluation(costs, gradients, held_out_costs)

    def _mean_gradients(self, sums: CostSums, n_networks: int) -> Floats:
        """Give (n_networks, n_parameters), in the order of the parameters."""
        parts: list[Floats] = []
        for k, (n_inputs, _) in enumerate(pairwise(self._architecture.widths)):
            weights, bias = sums.layers[k]
            if k == 0:
                weights = weights.reshape(n_inputs, n_networks, -1).transpose(1, 0, 2)
            parts += [weights.reshape(n_networks, -1), bias.reshape(n_networks, -1)]
        means: Floats = (np.concatenate(parts, axis=1) / sums.n_rows).astype(self._dtype, copy=False)
        return means


class _PointOfFolds(NamedTuple):
    """What evaluating with folds needs to know of each network."""

    n_folds: int
    held_out: Rows
    """(n_networks,)"""
    mean: NDArray[np.float64]
    """(n_networks, n_features)"""
    scale: NDArray[np.float64]
    """(n_networks, n_features)"""


class Point(NamedTuple):
    """Networks and the parameters to evaluate them at; see `CostKernel.at`."""

    networks: Networks
    stack: "_Stack"
    in_raw_units: "_Stack"
    """the same networks for features that are not standardized"""
    folds: _PointOfFolds | None


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
