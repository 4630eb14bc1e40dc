"""Standardization of features, and its undoing in the weights of a network."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, row_blocks
from perceptron.network import Layer, Network
from perceptron.rowwise import Rowwise

SMALLEST_SCALE = 1e-150
"""A feature with a smaller scale counts as constant: weights divided by it could overflow."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and squared deviations of the columns of some rows; those of parts combine to those of the whole.

    They are in units of the largest number of each column: the square of 1e300 would overflow, and that of 1e-300
    vanish. All arrays are (n_features,).
    """

    weight: float
    """of all rows together: their number, where none has a weight of its own"""
    unit: NDArray[np.float64]
    """above 0"""
    mean: NDArray[np.float64]
    squared_deviations: NDArray[np.float64]
    """sum w (x - mean)^2"""

    @classmethod
    def of(cls, features: Floats, weights: Floats | None = None) -> "Moments":
        """Give the moments of features (n_rows, n_features), of any size up to the largest finite numbers.

        Args:
            weights: how many times each row counts, (n_rows,); None: once.
        """
        if weights is not None:
            return cls._weighted(features, weights.astype(np.float64))
        n_rows, n_features = features.shape
        unit = np.maximum(-features.min(axis=0), features.max(axis=0)).astype(np.float64)
        unit[unit == 0] = 1.0
        sums, squared_deviations = np.zeros(n_features), np.zeros(n_features)
        for rows in row_blocks(n_rows):
            sums += (features[rows] / unit).sum(axis=0)
        mean = sums / n_rows
        for rows in row_blocks(n_rows):
            deviations = features[rows] / unit - mean
            squared_deviations += np.einsum("ij,ij->j", deviations, deviations)
        return cls(n_rows, unit, mean, squared_deviations)

    @classmethod
    def _weighted(cls, features: Floats, weights: NDArray[np.float64]) -> "Moments":
        # A row of weight 0 does not even set the unit.
        unit = np.zeros(features.shape[1])
        counted = weights > 0
        for rows in row_blocks(len(features)):
            unit = np.maximum(unit, np.abs(features[rows][counted[rows]]).max(axis=0, initial=0.0))
        unit[unit == 0] = 1.0
        total = float(weights.sum())
        # Deviations from any row's numbers have the mean of the rows, less those numbers: exactly 0 for equal rows.
        first = features[int(counted.argmax())] / unit
        sums, squared_deviations = np.zeros_like(unit), np.zeros_like(unit)
        for rows in row_blocks(len(features)):
            kept = counted[rows]
            sums += weights[rows][kept] @ (features[rows][kept] / unit - first)
        mean = first + sums / total
        for rows in row_blocks(len(features)):
            kept = counted[rows]
            deviations = features[rows][kept] / unit - mean
            squared_deviations += weights[rows][kept] @ deviations**2
        return cls(total, unit, mean, squared_deviations)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """The standard deviation of the population, sqrt(sum w (x - mean)^2 / sum w)."""
        deviation: NDArray[np.float64] = np.sqrt(self.squared_deviations / self.weight) * self.unit
        return deviation

    @property
    def is_constant(self) -> NDArray[np.bool_]:
        """Whether each column is constant but for rounding, as 0.3 and 0.1 + 0.2 are.

        Neighbouring floats are up to eps |mean| apart: with a smaller deviation the numbers stand for one.
        """
        resolution = np.finfo(np.float64).eps * np.abs(self.mean * self.unit)
        constant: NDArray[np.bool_] = self.deviation <= np.maximum(resolution, SMALLEST_SCALE)
        return constant

    def combine(self, other: "Moments") -> "Moments":
        """Give the moments of both parts of the rows.

        References:
            T. Chan, G. Golub, R. LeVeque, "Algorithms for computing the sample variance", 1983.
        """
        unit = np.maximum(self.unit, other.unit)
        left, right = self.unit / unit, other.unit / unit
        weight = self.weight + other.weight
        difference = other.mean * right - self.mean * left
        return Moments(
            weight,
            unit,
            self.mean * left + difference * (other.weight / weight),
            self.squared_deviations * left**2
            + other.squared_deviations * right**2
            + difference**2 * (self.weight * other.weight / weight),
        )


@dataclass(frozen=True, eq=False)
class Standardization:
    """Shifts and scales each feature: (x - mean) / scale; both (n_features,) in float64, scale above 0."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    is_constant: NDArray[np.bool_] | None = None
    """(n_features,): features that become 0 whatever their numbers; None: there are none. It is not stored: networks
    are published without weights for them"""

    @classmethod
    def of(cls, features: Floats, weights: Floats | None = None) -> "Standardization":
        """Give the one that takes each column of features (n_instances, n_features) to mean 0, deviation 1.

        The scale is the population's standard deviation, or 1 for a feature that is constant but for rounding.
        Features may be of any size up to the largest finite numbers.

        Args:
            weights: how many times each instance counts, (n_instances,); None: once.
        """
        # In units of the largest weight: the sum of denormal ones is inexact, and that of huge ones may overflow.
        return cls.by(Moments.of(features, None if weights is None else weights / weights.max()))

    @classmethod
    def by(cls, moments: Moments) -> "Standardization":
        """Give the one for features with these moments."""
        # Equal numbers are all 1 or all -1 in these units: their mean is exact, and their deviation exactly 0.
        is_constant = moments.is_constant
        scale = np.where(is_constant, 1.0, moments.deviation)
        return cls(moments.mean * moments.unit, scale, is_constant if is_constant.any() else None)

    @classmethod
    def identity(cls, n_features: int) -> "Standardization":
        """Give the one that leaves features as they are."""
        return cls(np.zeros(n_features), np.ones(n_features))

    def apply(self, features: Floats) -> NDArray[np.float64]:
        """Standardize features (n_instances, n_features)."""
        if isinstance(features, Rowwise):
            return cast(NDArray[np.float64], features.mapped(self.apply))
        standardized: NDArray[np.float64] = features - self.mean
        standardized /= self.scale
        if self.is_constant is not None:
            standardized[:, self.is_constant] = 0
        return standardized


MAX_FOLDED_RATIO = 1e4
"""A mean that is so many times its scale is not folded into the bias: x @ w and the bias would cancel, and take four of
the sixteen digits of z with them."""


def fold(network: Network, standardization: Standardization) -> Network:
    """Give the network, in float64, that gives for raw features what `network` gives for standardized ones.

    In its first layer, since ((x - mean) / scale) @ w + b = x @ (w / scale) + (b - (mean / scale) @ w):

        w <- w / scale
        b <- b - (mean / scale) @ w

    Where a mean is far above its scale, the bias stays, and the mean becomes the network's centre: for microseconds
    since 1970, a mean of 1e15, the two terms would cancel to nothing but rounding.
    """
    first, *rest = _in_float64(network)
    mean, scale = standardization.mean, standardization.scale
    weights, bias, centre = first.weights / scale[:, np.newaxis], first.bias, None
    if ((np.abs(mean) / MAX_FOLDED_RATIO > scale) & first.weights.any(axis=1)).any():
        centre = mean
    else:
        bias = bias - (mean / scale) @ first.weights
    return Network((Layer(weights, bias, first.activation), *rest), centre)


def without_centre(network: Network) -> Network:
    """Give the network with its centre folded into the first bias: to read its parameters, not to compute with."""
    return unfold(network, Standardization.identity(network.n_inputs))


def unfold(network: Network, standardization: Standardization) -> Network:
    """Give the network, in float64, that gives for standardized features what `network` gives for raw ones.

    It undoes `fold`, so that training can start from a network for raw features: in the first layer

        b <- b + (mean - centre) @ w
        w <- scale * w
    """
    first, *rest = _in_float64(network)
    weights = first.weights * standardization.scale[:, np.newaxis]
    mean = standardization.mean if network.centre is None else standardization.mean - network.centre
    bias = first.bias + mean @ first.weights
    return Network((Layer(weights, bias, first.activation), *rest))


def without_constants(network: Network, standardization: Standardization) -> Network:
    """Give the network without weights for features that were constant: it learned nothing about other numbers."""
    if standardization.is_constant is None:
        return network
    first, *rest = network.layers
    weights = np.where(standardization.is_constant[:, np.newaxis], 0, first.weights).astype(first.weights.dtype)
    return Network((Layer(weights, first.bias, first.activation), *rest))


def _in_float64(network: Network) -> Iterator[Layer]:
    for layer in network.layers:
        yield Layer(layer.weights.astype(np.float64), layer.bias.astype(np.float64), layer.activation)
