"""How good outputs are, in figures that people ask for."""

import math

import numpy as np
from numpy.typing import NDArray

from perceptron.arrays import Floats
from perceptron.task import Task


def evaluate(task: Task, outputs: Floats, targets: Floats, instance_weights: Floats | None = None) -> dict[str, float]:
    """Compare outputs with targets, (n_instances, n_outputs) each, counting instances by their weights.

        classification   accuracy = share of the instances whose class is the right one
        regression       rmse = sqrt(mean (y - y_hat)^2), mae = mean |y - y_hat|,
                         r2 = 1 - mean (y - y_hat)^2 / mean (y - mean y)^2

    With several outputs each figure of a regression is the plain mean of those of the outputs. The r2 of
    targets that are all the same is 1 when the outputs are right and else 0, as scikit-learn has it. Every
    figure is finite.
    """
    n_instances = len(targets)
    weights = np.full(n_instances, 1.0) if instance_weights is None else instance_weights.astype(np.float64)
    shares = weights / weights.sum()
    if task.classes is not None:
        is_right = task.class_indices(outputs) == task.class_indices(targets)
        return {"accuracy": min(float(is_right @ shares), 1.0)}
    per_output = [
        _regression(outputs[:, k].astype(np.float64), targets[:, k].astype(np.float64), shares)
        for k in range(targets.shape[1])
    ]
    # A ratio or a size beyond the largest finite number is given as that.
    largest = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        rmse, mae, r2 = np.clip(np.mean(np.array(per_output), axis=0), -largest, largest)
    return {"rmse": float(rmse), "mae": float(mae), "r2": float(r2)}


def _regression(
    outputs: NDArray[np.float64], targets: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[float, float, float]:
    # In units of the largest number, whose square would overflow from 1e155 on.
    unit = float(max(np.abs(outputs).max(), np.abs(targets).max())) or 1.0
    outputs, targets = outputs / unit, targets / unit
    errors = targets - outputs
    mean_square = float(shares @ errors**2)
    rmse, mae = unit * math.sqrt(mean_square), unit * float(shares @ np.abs(errors))
    counted = targets[shares > 0]
    variance = float(shares @ (targets - shares @ targets) ** 2)
    # By comparing the targets: the mean of equal numbers may round to another, and leave a tiny variance.
    if variance == 0 or (counted == counted[0]).all():
        return rmse, mae, float(mean_square == 0)
    return rmse, mae, 1 - mean_square / variance
