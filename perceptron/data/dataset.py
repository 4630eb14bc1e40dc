"""Data sets, which are valid once they exist."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from perceptron.arrays import Floats, Rows, row_blocks
from perceptron.data.mapped import Pages
from perceptron.errors import InvalidDatasetError
from perceptron.rowwise import Rowwise


@dataclass(frozen=True, eq=False)
class Dataset:
    """Instances as rows: their features, targets and weights.

    Numbers other than float32 and float64 become float64; arrays of floats are not copied. A `Rowwise` may stand for an
    array of features or of targets; taking rows of it makes them.

    Raises:
        InvalidDatasetError: a shape is wrong, a number is not finite, there is no instance or no feature,
            or weights are negative or sum to 0.
    """

    features: Floats
    """(n_instances, n_features), finite"""
    targets: Floats
    """(n_instances, n_outputs), finite"""
    instance_weights: Floats | None = None
    """(n_instances,), how many times each counts: at least 0 and not all 0; None: once"""
    class_weights: Floats | None = None
    """(n_instances,), the weight of each instance's class: in the cost alone, in no mean and no metric; None: 1"""

    def __post_init__(self) -> None:
        features = _floats("features", self.features, n_dimensions=2)
        targets = _floats("targets", self.targets, n_dimensions=2)
        if features.shape[0] != targets.shape[0]:
            raise InvalidDatasetError(f"{features.shape[0]} instances but {targets.shape[0]} targets")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "targets", targets)
        for name in ("instance_weights", "class_weights"):
            if getattr(self, name) is not None:
                weights = _floats(name, getattr(self, name), n_dimensions=1)
                _check_weights(name, weights, self.n_instances)
                object.__setattr__(self, name, weights)
        if self.instance_weights is not None and self.class_weights is not None:
            _check_weights("instance_weights * class_weights", self._cost_weights(), self.n_instances)

    @property
    def n_instances(self) -> int:
        """The number of rows."""
        return int(self.features.shape[0])

    @property
    def n_features(self) -> int:
        """The number of inputs of an instance."""
        return int(self.features.shape[1])

    @property
    def n_outputs(self) -> int:
        """The number of values to learn for an instance."""
        return int(self.targets.shape[1])

    def take(self, rows: Rows) -> "Dataset":
        """Give the data set of these rows, in this order."""
        of_instances, of_classes = self.instance_weights, self.class_weights
        return Dataset(
            self.features[rows],
            self.targets[rows],
            None if of_instances is None else of_instances[rows],
            None if of_classes is None else of_classes[rows],
        )

    def counted(self) -> "Dataset":
        """Give the data set without the instances of weight 0."""
        if self.instance_weights is None or self.instance_weights.all():
            return self
        return self.take(np.flatnonzero(self.instance_weights))

    def with_features(self, features: Floats) -> "Dataset":
        """Give the same instances with other features, standardized ones for example."""
        return replace(self, features=features)

    def with_targets(self, targets: Floats) -> "Dataset":
        """Give the same instances with other targets, standardized ones for example."""
        return replace(self, targets=targets)

    def as_dtype(self, dtype: str) -> "Dataset":
        """Convert features and targets.

        Raises:
            InvalidDatasetError: a number is too large for the dtype.
        """
        with np.errstate(over="ignore"):
            features = self.features.astype(dtype, copy=False)
            targets = self.targets.astype(dtype, copy=False)
        try:
            return replace(self, features=features, targets=targets)
        except InvalidDatasetError as error:
            raise InvalidDatasetError(f"a number is too large for {dtype}: {error}") from error

    @property
    def cost_weights(self) -> Floats | None:
        """(n_instances,): the weight of each instance in the cost; None: all count the same."""
        if self.class_weights is None:
            return self.instance_weights
        return self.class_weights if self.instance_weights is None else self._cost_weights()

    def _cost_weights(self) -> Floats:
        assert self.instance_weights is not None and self.class_weights is not None
        with np.errstate(over="ignore", under="ignore"):
            weights: Floats = self.instance_weights * self.class_weights
        return weights

    def weight_totals(self) -> "WeightTotals":
        """Sum the weights of the instances in the cost."""
        weights = self.cost_weights
        if weights is None:
            return WeightTotals(self.n_instances, 1.0, float(self.n_instances))
        # In units of the largest: the mean of denormal weights could round to 0.
        largest = float(weights.max())
        return WeightTotals(self.n_instances, largest, float((weights.astype(np.float64) / largest).sum()))

    def relative_weights(self, totals: "WeightTotals | None" = None) -> Floats | None:
        """Give cost_weights / mean(cost_weights): with them a plain mean is the weighted one.

        Args:
            totals: of the data set that this one is a part of; None: of this one.
        """
        weights = self.cost_weights
        if weights is None:
            return None
        totals = totals or self.weight_totals()
        relative: Floats = weights.astype(np.float64) / totals.largest / (totals.total / totals.n_instances)
        return relative


class WeightTotals(NamedTuple):
    """The sum of the weights of instances."""

    n_instances: int
    largest: float
    """the largest weight"""
    total: float
    """the sum of the weights, in units of the largest"""

    def combine(self, other: "WeightTotals") -> "WeightTotals":
        """Give the totals of both parts of a data set."""
        largest = max(self.largest, other.largest)
        total = self.total * (self.largest / largest) + other.total * (other.largest / largest)
        return WeightTotals(self.n_instances + other.n_instances, largest, total)


def _floats(name: str, values: ArrayLike | Rowwise, *, n_dimensions: int) -> Any:
    if isinstance(values, Rowwise):
        return values  # whoever wrote its source has checked it
    try:
        array = np.asarray(values)
        if array.dtype not in (np.float32, np.float64):
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDatasetError(f"{name} must be a {n_dimensions}-dimensional array of numbers: {error}") from error
    if array.ndim != n_dimensions or 0 in array.shape:
        raise InvalidDatasetError(
            f"{name} must have {n_dimensions} dimensions and at least one value, got shape {array.shape}"
        )
    if not _all_finite(array):
        where = tuple(int(index) for index in np.argwhere(~np.isfinite(array))[0])
        raise InvalidDatasetError(f"{name} must be finite, got {float(array[where])} at {list(where)}")
    return array


def _all_finite(array: Floats) -> bool:
    """Tell whether all numbers are finite, block by block and without an array of booleans: a map may be large."""
    pages = Pages(array)
    for rows in row_blocks(len(array)):
        block = array[rows]
        if not (np.isfinite(block.min()) and np.isfinite(block.max())):
            return False
        pages.release(rows)
    return True


def _check_weights(name: str, weights: Floats, n_instances: int) -> None:
    if len(weights) != n_instances:
        raise InvalidDatasetError(f"{n_instances} instances but {len(weights)} {name}")
    if weights.min() < 0:
        index = int(weights.argmin())
        raise InvalidDatasetError(f"{name} must be at least 0, but that of instance {index} is {float(weights[index])}")
    with np.errstate(over="ignore"):
        total = float(weights.sum(dtype=np.float64))
    if not 0 < total < float("inf"):
        raise InvalidDatasetError(f"{name} must have a positive, finite sum, got {total}")
