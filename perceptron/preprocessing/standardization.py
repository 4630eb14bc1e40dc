"""Standardization of features, and its undoing in the weights of a network."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, row_blocks
from perceptron.network import Layer, Network

SMALLEST_SCALE = 1e-150
"""A feature with a smaller scale counts as constant: weights divided by it could overflow."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean and squared deviations of the columns of some rows; those of parts combine to those of the whole.

    They are in units of the largest number of each column: the square of 1e300 would overflow, and that of 1e-300
    vanish. All arrays are (n_features,).
    """

    n_rows: int
    unit: NDArray[np.float64]
    """above 0"""
    mean: NDArray[np.float64]
    squared_deviations: NDArray[np.float64]
    """sum (x - mean)^2"""

    @classmethod
    def of(cls, features: Floats) -> "Moments":
        """Give the moments of features (n_rows, n_features), of any size up to the largest finite numbers."""
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

    def combine(self, other: "Moments") -> "Moments":
        """Give the moments of both parts of the rows.

        References:
            T. Chan, G. Golub, R. LeVeque, "Algorithms for computing the sample variance", 1983.
        """
        unit = np.maximum(self.unit, other.unit)
        left, right = self.unit / unit, other.unit / unit
        n_rows = self.n_rows + other.n_rows
        difference = other.mean * right - self.mean * left
        return Moments(
            n_rows,
            unit,
            self.mean * left + difference * (other.n_rows / n_rows),
            self.squared_deviations * left**2
            + other.squared_deviations * right**2
            + difference**2 * (self.n_rows * other.n_rows / n_rows),
        )


@dataclass(frozen=True, eq=False)
class Standardization:
    """Shifts and scales each feature: (x - mean) / scale; both (n_features,) in float64, scale above 0."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, features: Floats) -> "Standardization":
        """Give the one that takes each column of features (n_instances, n_features) to mean 0, deviation 1.

        The scale is the population's standard deviation, sqrt(sum (x - mean)^2 / n), or 1 for a constant
        feature, which is only shifted to 0. Features may be of any size up to the largest finite numbers.
        """
        return cls.by(Moments.of(features))

    @classmethod
    def by(cls, moments: Moments) -> "Standardization":
        """Give the one for features with these moments."""
        scale = np.sqrt(moments.squared_deviations / moments.n_rows) * moments.unit
        # Equal numbers are all 1 or all -1 in these units: their mean is exact, and their deviation exactly 0.
        return cls(moments.mean * moments.unit, np.where(scale < SMALLEST_SCALE, 1.0, scale))

    @classmethod
    def identity(cls, n_features: int) -> "Standardization":
        """Give the one that leaves features as they are."""
        return cls(np.zeros(n_features), np.ones(n_features))

    def apply(self, features: Floats) -> NDArray[np.float64]:
        """Standardize features (n_instances, n_features)."""
        standardized: NDArray[np.float64] = features - self.mean
        standardized /= self.scale
        return standardized


def fold(network: Network, standardization: Standardization) -> Network:
    """Give the network, in float64, that gives for raw features what `network` gives for standardized ones.

    In its first layer, since ((x - mean) / scale) @ w + b = x @ (w / scale) + (b - (mean / scale) @ w):

        w <- w / scale
        b <- b - (mean / scale) @ w
    """
    first, *rest = _in_float64(network)
    weights = first.weights / standardization.scale[:, np.newaxis]
    bias = first.bias - (standardization.mean / standardization.scale) @ first.weights
    return Network((Layer(weights, bias, first.activation), *rest))


def unfold(network: Network, standardization: Standardization) -> Network:
    """Give the network, in float64, that gives for standardized features what `network` gives for raw ones.

    It undoes `fold`, so that training can start from a network for raw features: in the first layer

        b <- b + mean @ w
        w <- scale * w
    """
    first, *rest = _in_float64(network)
    weights = first.weights * standardization.scale[:, np.newaxis]
    bias = first.bias + standardization.mean @ first.weights
    return Network((Layer(weights, bias, first.activation), *rest))


def _in_float64(network: Network) -> Iterator[Layer]:
    for layer in network.layers:
        yield Layer(layer.weights.astype(np.float64), layer.bias.astype(np.float64), layer.activation)
