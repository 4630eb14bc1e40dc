"""When training stops: one rule, for a network alone and for many that are trained together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, Rows
from perceptron.optimizers.optimizer import Iterate

StopReason: TypeAlias = Literal["diverged", "converged", "early_stopping", "max_epochs"]


@dataclass(frozen=True)
class StopRule:
    """Training stops with the first of

    diverged         a cost or a weight is no longer finite
    converged        |previous cost - cost| < tolerance, so never when tolerance is 0
    early_stopping   `patience` epochs in a row without a validation cost below the lowest
    max_epochs       the last epoch asked for
    """

    tolerance: float
    max_epochs: int
    patience: int | None
    """None: no early stopping"""

    @overload
    def has_converged(self, previous: float, cost: float) -> bool: ...
    @overload
    def has_converged(self, previous: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.bool_]: ...
    def has_converged(self, previous: Any, cost: Any) -> Any:
        """Compare a cost with the one before it, or costs (n_networks,) with those before them."""
        return abs(previous - cost) < self.tolerance

    def reasons(
        self, epoch: int, *, is_finite: Sequence[bool], has_converged: Sequence[bool], best_epochs: Sequence[int]
    ) -> list[StopReason | None]:
        """Give the reason to stop after an epoch for each network, or None to train on.

        Args:
            best_epochs: with patience, the epoch of each network's lowest validation cost.
        """
        last: StopReason | None = "max_epochs" if epoch >= self.max_epochs else None
        out_of_patience = -1 if self.patience is None else epoch - self.patience  # the best epoch that is too long ago
        reasons: list[StopReason | None] = []
        for finite, converged, best_epoch in zip(is_finite, has_converged, best_epochs, strict=True):
            if not finite:
                reasons.append("diverged")
            elif converged:
                reasons.append("converged")
            else:
                reasons.append("early_stopping" if best_epoch <= out_of_patience else last)
        return reasons


def is_finite(iterate: Iterate) -> NDArray[np.bool_]:
    """Tell for each network whether its costs and parameters are finite, (n_networks,)."""
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(iterate.parameters), axis=1)
    finite &= np.isfinite(iterate.costs)
    if iterate.held_out_costs is not None:
        finite &= np.isfinite(iterate.held_out_costs)
    return finite


class Kept(NamedTuple):
    """For each network the epoch to keep: with early stopping the one of its lowest validation cost."""

    epochs: Rows
    """(n_networks,)"""
    parameters: Floats
    """(n_networks, n_parameters)"""
    costs: NDArray[np.float64]
    """(n_networks,)"""
    held_out_costs: NDArray[np.float64] | None
    """(n_networks,), with folds or a validation set"""

    def copy(self) -> "Kept":
        """Copy every array."""
        held_out_costs = None if self.held_out_costs is None else self.held_out_costs.copy()
        return Kept(self.epochs.copy(), self.parameters.copy(), self.costs.copy(), held_out_costs)
