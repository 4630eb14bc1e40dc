"""When training stops: one rule, for a network alone and for many that are trained together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats, Rows
from perceptron.config import TrainingConfig
from perceptron.course import N_HIGH_EPOCHS, Course
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.optimizer import Iterate

StopReason: TypeAlias = Literal["diverged", "converged", "early_stopping", "max_epochs"]


RELATIVE_TOLERANCE = 1e-6
"""Without a tolerance of its own, a cost stands still when it changes by no more than this share of C_null."""
N_STILL_EPOCHS = 5
"""Without a tolerance of its own, a training has converged when its cost stands still for so many epochs in a row."""
ROUNDING = 1e-5
"""The last cost may be so much above the highest harmless one, as a share of it: in float32 it is no more exact."""


@dataclass(frozen=True)
class StopRule:
    """Training stops with the first of

    diverged         a cost or a weight is no longer finite, or 3 costs in a row are above 1000 max(C_start, C_null)
    converged        |previous cost - cost| < tolerance, so never when tolerance is 0; without a tolerance
                     |previous cost - cost| <= 1e-6 C_null, `n_still_epochs` epochs in a row; 1e-12 C_start where
                     C_null is 0, as all targets are equal
    early_stopping   `patience` epochs in a row without a validation cost below the lowest
    max_epochs       the last epoch asked for

    with C_start the cost before the first epoch, and C_null that of the best constant output (`constant_cost`). A
    training that stops and whose network to keep costs more than max(C_start, C_null) has diverged as well.
    """

    tolerance: float | None
    max_epochs: int
    patience: int | None
    """None: no early stopping"""
    n_still_epochs: int = N_STILL_EPOCHS

    @classmethod
    def of(cls, config: TrainingConfig, patience: int | None) -> "StopRule":
        """Give the rule for a config."""
        is_newton = OPTIMIZERS[config.optimizer].uses_hessian  # near the optimum each step doubles the right digits
        n_still_epochs = N_STILL_EPOCHS if config.tolerance is None and not is_newton else 1
        return cls(config.tolerance, config.max_epochs, patience, n_still_epochs)

    def begin(self, start_costs: NDArray[np.float64], constant_costs: NDArray[np.float64]) -> Course:
        """Give the course of networks with these costs before the first epoch, and these C_null, (n_networks,)."""
        if self.tolerance is None:
            has_spread = np.isfinite(constant_costs) & (constant_costs > 0)  # else nothing but the start is a measure
            of_start = RELATIVE_TOLERANCE * start_costs
            still_change = RELATIVE_TOLERANCE * np.where(has_spread, constant_costs, of_start)
        else:  # the largest number below the tolerance
            still_change = np.full(len(start_costs), np.nextafter(self.tolerance, -1.0))
        nothing = np.zeros(len(start_costs), dtype=np.intp)
        return Course(still_change, np.maximum(start_costs, constant_costs), nothing, nothing)

    def reasons(
        self,
        epoch: int,
        course: Course,
        *,
        is_finite: Sequence[bool],
        best_epochs: Sequence[int],
        kept_costs: Sequence[float],
        has_converged: Sequence[bool] | None = None,
    ) -> list[StopReason | None]:
        """Give the reason to stop after an epoch for each network, or None to train on.

        Args:
            best_epochs: with patience, the epoch of each network's lowest validation cost.
            kept_costs: the cost of the epoch to keep.
            has_converged: instead of the test by the costs.
        """
        last: StopReason | None = "max_epochs" if epoch >= self.max_epochs else None
        out_of_patience = -1 if self.patience is None else epoch - self.patience  # the best epoch that is too long ago
        if has_converged is None:
            has_converged = (course.n_still >= self.n_still_epochs).tolist()
        is_high = ((course.n_high >= N_HIGH_EPOCHS) | ~np.array(is_finite)).tolist()
        reasons: list[StopReason | None] = []
        for high, converged, best_epoch, cost, highest in zip(
            is_high, has_converged, best_epochs, kept_costs, course.highest.tolist(), strict=True
        ):
            reason = last
            if converged:
                reason = "converged"
            elif best_epoch <= out_of_patience:
                reason = "early_stopping"
            if high or (reason is not None and not cost <= highest * (1 + ROUNDING)):
                reason = "diverged"
            reasons.append(reason)
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
