"""Standardization of the targets of identity outputs, and its undoing in the last layer of a network."""

from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats
from perceptron.errors import InvalidDatasetError
from perceptron.network import Layer, Network
from perceptron.preprocessing.standardization import Standardization
from perceptron.rowwise import Rowwise

_MAX_SCALE = 1e150
"""Far enough from the root of the largest float that sums of squares over all rows are finite, too."""


@dataclass(frozen=True, eq=False)
class TargetScaling:
    """Shifts and scales each output: (y - mean) / scale; both (n_outputs,). Without it, training depends on the unit.

    An l2 penalty then weighs the same for targets in millimetres and in kilometres, and so do tolerances and rates.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, targets: Floats, weights: Floats | None, *, is_used: bool) -> "TargetScaling":
        """Give the one that takes targets (n_instances, n_outputs) to mean 0, deviation 1, or else the identity.

        Args:
            weights: how many times each instance counts, (n_instances,); None: once.

        Raises:
            InvalidDatasetError: the targets are so far apart that no 64-bit float holds their squared error.
        """
        if not is_used:
            return cls(np.zeros(targets.shape[1]), np.ones(targets.shape[1]))
        standardization = Standardization.of(targets, weights)
        if not standardization.scale.max() < _MAX_SCALE:
            raise InvalidDatasetError(
                f"the targets have a standard deviation of {standardization.scale.max():.3g}, whose square no 64-bit "
                "float holds: divide them by a constant"
            )
        return cls(standardization.mean, standardization.scale)

    def apply(self, targets: Floats) -> Floats:
        """Scale targets (n_instances, n_outputs)."""
        if self.is_identity:
            return targets
        if isinstance(targets, Rowwise):
            return cast(Floats, targets.mapped(self.apply))
        return (targets - self.mean) / self.scale

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return not self.mean.any() and bool((self.scale == 1).all())

    @property
    def cost_unit(self) -> float:
        """What a cost of the scaled targets is multiplied by to be one of the raw targets: scale^2.

        With outputs of different scales there is no such number: it is 1, and costs are those of the scaled targets.
        """
        return float(self.scale[0]) ** 2 if (self.scale == self.scale[0]).all() else 1.0

    def fold(self, network: Network) -> Network:
        """Give the network whose outputs are raw targets: w <- scale * w, b <- scale * b + mean in its last layer."""
        if self.is_identity:
            return network
        *before, last = network.layers
        return Network((*before, _layer(last, last.weights * self.scale, last.bias * self.scale + self.mean)))

    def unfold(self, network: Network) -> Network:
        """Give the network whose outputs are scaled targets: it undoes `fold`."""
        if self.is_identity:
            return network
        *before, last = network.layers
        return Network((*before, _layer(last, last.weights / self.scale, (last.bias - self.mean) / self.scale)))


def _layer(like: Layer, weights: Floats, bias: Floats) -> Layer:
    return Layer(weights, bias, like.activation)
