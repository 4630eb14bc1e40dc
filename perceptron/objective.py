"""The cost of a data set, or of a part of one, as a function of the parameters: what the optimizers minimise."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perceptron.architecture import Architecture
from perceptron.arrays import Floats, Rows
from perceptron.cost import MAX_BLOCK_ROWS, CostKernel, CostSums, Evaluation, FoldScales, Networks, Point, TreeOfSums
from perceptron.data.dataset import Dataset, WeightTotals
from perceptron.data.mapped import WINDOW_BYTES, Pages

BLOCK_BYTES = 3_000_000
"""About what stays in a core's share of the cache while a block of rows goes forward and back. Smaller blocks are read
a little faster by one thread, but two threads then wait for Python's lock more often than they compute."""
MIN_BLOCK_ROWS = 8
FEW_NEURONS, BLOCKS_OF_FEW, PARTS_OF_MANY = 8, 4, 16
"""The sums of few neurons are small, so their parts have 4 blocks each, whatever the number of rows. With more neurons
there are at most about 16 parts, as the memory of the tree grows with their number."""
MIN_BLOCKS_PER_THREAD = 8
"""A block of so few neurons is computed so fast that two threads mostly wait for Python's lock: on 60,000 rows of 30
features they took 1.2 times as long as one. From 8 blocks for each thread on, they are not slower."""


@dataclass(frozen=True, eq=False)
class Folds:
    """A partition of the instances for cross-validation, with the standardization that goes with each fold."""

    fold_of: Rows
    """(n_instances,): 0, 1, ...; -1 for those in no fold"""
    scales: FoldScales

    def weights(self, instance_weights: Floats | None) -> NDArray[np.float64]:
        """Weigh the instances for training without each fold, and for judging by it, (n_instances, 2 n_folds)."""
        is_held_out = self.fold_of[:, np.newaxis] == np.arange(len(self.scales.mean))
        columns = np.concatenate([~is_held_out, is_held_out], axis=1).astype(np.float64)
        if instance_weights is not None:
            columns *= instance_weights[:, np.newaxis]
        return columns


@dataclass(frozen=True, eq=False)
class Whole:
    """What the objective over a part of a data set has to know of the whole, for the sums of all parts to add up."""

    weights: WeightTotals
    fold_weights: NDArray[np.float64] | None = None
    """(2 n_folds,): with folds, the sum of `fold_weight_sums` of the parts"""


def fold_weight_sums(dataset: Dataset, folds: Folds, weights: WeightTotals) -> NDArray[np.float64]:
    """Sum the weights of a part for training without each fold and for judging by it, (2 n_folds,)."""
    sums: NDArray[np.float64] = folds.weights(dataset.relative_weights(weights)).sum(axis=0)
    return sums


class Objective:
    """The cost of a data set as a function of the parameters of one network, or of many of one architecture.

    It is computed in blocks of rows that stay in cache on their way forward and back. The blocks form parts, whose sums
    are added along a binary tree: the same data and parameters give the same bytes, whatever the number of threads and
    whichever takes which part. See `CostKernel` for the equations.

    Args:
        whole: where `dataset` is a part of a data set, the totals of the whole. Then `partial_sums` of all parts can
            be combined; everything else here is only for the whole.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        *,
        loss: str,
        folds: Folds | None = None,
        n_threads: int = 1,
        whole: Whole | None = None,
    ) -> None:
        self.architecture = architecture
        self.dataset = dataset
        self.loss = loss
        dtype = dataset.targets.dtype
        self._itemsize = dtype.itemsize
        self.kernel = CostKernel(architecture, loss=loss, dtype=dtype, folds=None if folds is None else folds.scales)
        self._row_weights = _row_weights(dataset, folds, whole, dtype)
        self._n_threads = n_threads
        self._pages = Pages(dataset.features)
        self._threads = ThreadPoolExecutor(n_threads - 1) if n_threads > 1 else None

    def cost(self, parameters: Floats, networks: Networks) -> NDArray[np.float64]:
        """Give C of each network over the whole data set, (n_networks,), for parameters (n_networks, n_parameters)."""
        return self.evaluate(parameters, networks, with_gradients=False).costs

    def evaluate(
        self, parameters: Floats, networks: Networks, rows: Rows | None = None, *, with_gradients: bool = True
    ) -> Evaluation:
        """Give C and its gradient for parameters (n_networks, n_parameters).

        Args:
            rows: a mini-batch, only without folds; None: the whole data set. The weights of the instances stay
                relative to their mean over the whole data set: so this is an unbiased estimate of the whole, and a
                batch whose weights are all 0 is no division by 0.
            with_gradients: False computes only the costs.
        """
        n_together = _networks_together(self.architecture, self._itemsize)
        if len(parameters) > n_together:
            each = np.arange(len(parameters))
            return Evaluation.joined(
                [
                    self.evaluate(parameters[some], networks.take(some), rows, with_gradients=with_gradients)
                    for some in (each[first : first + n_together] for first in range(0, len(each), n_together))
                ]
            )
        point = self.kernel.at(parameters, networks)
        return self.kernel.finish(point, self.partial_sums(point, rows, with_gradients=with_gradients))

    def partial_sums(self, point: Point, rows: Rows | slice | None = None, *, with_gradients: bool = True) -> CostSums:
        """Sum over some rows, or all of them: over the blocks of each part in order, then along the tree of parts."""
        if rows is None:
            rows = slice(0, self.dataset.n_instances)
        start, stop = (rows.start, rows.stop) if isinstance(rows, slice) else (0, len(rows))
        n_rows = rows_together(self.architecture, len(point.stack.parameters), self._itemsize)
        blocks = [slice(first, min(first + n_rows, stop)) for first in range(start, stop, n_rows)]
        has_few = len(point.stack.parameters) * sum(self.architecture.widths[1:]) < FEW_NEURONS
        n_in_part = BLOCKS_OF_FEW if has_few else max(len(blocks) // PARTS_OF_MANY, 1)
        parts = [blocks[first : first + n_in_part] for first in range(0, len(blocks), n_in_part)]
        n_threads = min(self._n_threads, len(parts))
        if has_few:
            n_threads = min(n_threads, len(blocks) // MIN_BLOCKS_PER_THREAD)
        block_bytes = (blocks[0].stop - start) * self.dataset.features.strides[0]
        blocks_per_window = max(WINDOW_BYTES // (block_bytes or 1), 1)

        def sum_part(part: list[slice]) -> CostSums:
            sums = CostSums()
            with np.errstate(all="ignore"):  # a thread begins with warnings on
                for first in range(0, len(part), blocks_per_window):
                    window = part[first : first + blocks_per_window]
                    for block in window:
                        of_block = block if isinstance(rows, slice) else rows[block]
                        self._add_block(sums, point, of_block, with_gradients)
                    if isinstance(rows, slice):
                        self._pages.release(slice(window[0].start, window[-1].stop))
            return sums

        tree = TreeOfSums()
        if self._threads is None or n_threads <= 1:
            for part in parts:
                tree.add(sum_part(part))
            return tree.total()
        remaining = iter(range(len(parts)))  # shared: Python gives each number to one thread
        sums_of: dict[int, CostSums] = {}

        def sum_remaining() -> Iterator[None]:
            for number in remaining:
                sums_of[number] = sum_part(parts[number])
                yield

        others = [self._threads.submit(deque, sum_remaining(), 0) for _ in range(n_threads - 1)]
        n_added = 0
        for _ in sum_remaining():  # this thread alone adds to the tree
            while n_added in sums_of:
                tree.add(sums_of.pop(n_added))
                n_added += 1
        for other in others:
            other.result()
        for number in sorted(sums_of):
            tree.add(sums_of[number])
        return tree.total()

    def _add_block(self, sums: CostSums, point: Point, rows: slice | Rows, with_gradients: bool) -> None:
        self.kernel.add_block(
            sums,
            point,
            np.asarray(self.dataset.features[rows]),
            self.dataset.targets[rows],
            None if self._row_weights is None else self._row_weights[rows],
            with_gradients=with_gradients,
        )


def rows_together(architecture: Architecture, n_networks: int, itemsize: int) -> int:
    """Give how many rows so many networks are evaluated on at once."""
    bytes_per_row = itemsize * architecture.widths[0] + n_networks * _bytes_per_output_row(architecture, itemsize)
    return int(min(max(BLOCK_BYTES // bytes_per_row, MIN_BLOCK_ROWS), MAX_BLOCK_ROWS))


def _networks_together(architecture: Architecture, itemsize: int) -> int:
    """Give how many networks are evaluated together: of more, not even the smallest block would stay in cache."""
    return max(BLOCK_BYTES // (MIN_BLOCK_ROWS * _bytes_per_output_row(architecture, itemsize)), 1)


def _bytes_per_output_row(architecture: Architecture, itemsize: int) -> int:
    """Of one network: z, the outputs and the derivatives of all its neurons."""
    return itemsize * 3 * sum(architecture.widths[1:])


def _row_weights(
    dataset: Dataset, folds: Folds | None, whole: Whole | None, dtype: np.dtype[np.floating]
) -> Floats | None:
    """Give (n_instances, n_weightings), each column with mean 1: so a mean over all rows is a weighted one."""
    totals = dataset.weight_totals() if whole is None else whole.weights
    weights = dataset.relative_weights(totals)
    if folds is None:
        return None if weights is None else weights.astype(dtype)[:, np.newaxis]
    columns = folds.weights(weights)
    sums = columns.sum(axis=0) if whole is None or whole.fold_weights is None else whole.fold_weights
    columns /= sums / totals.n_instances
    return columns.astype(dtype)
