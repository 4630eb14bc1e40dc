"""Metrics of more instances than fit into memory: sums over blocks of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats
from perceptron.data.task import Task
from perceptron.metrics import MAX_CONFUSION_CLASSES, classes_looked_for, log_loss, ratios_of_counts, weight_by_class

AUC_BINS = 2**16
"""For the roc_auc of `MetricSums`, outputs of the same of so many equal parts of 0 to 1 count as a tie. So it is off by
at most half the share of pairs, one of the class and one not, that lie in the same part."""


class MetricSums:
    """The metrics of `evaluate` as sums over blocks of instances, in memory that does not grow with their number.

    Ratios of sums are those of `evaluate` to rounding; for roc_auc see `AUC_BINS`.

    Args:
        largest: an upper bound on the size of the targets, the unit of the sums of a regression.
    """

    def __init__(self, task: Task, largest: float) -> None:
        self._task = task
        self._unit = largest or 1.0
        n_classes = len(task.classes or ())
        self._looked_for = classes_looked_for(n_classes)
        self._found, self._there, self._taken = np.zeros((3, n_classes))
        self._cells = np.zeros(n_classes**2) if n_classes <= MAX_CONFUSION_CLASSES else None
        n_curves = len(range(n_classes)[self._looked_for])
        self._of_class, self._of_others = np.zeros((2, n_curves, AUC_BINS if n_classes else 0))
        self._log_losses = self._weight = 0.0
        n_outputs = task.n_outputs
        self._squares, self._errors, self._sums, self._deviations = np.zeros((4, n_outputs))

    def add(self, outputs: Floats, targets: Floats, instance_weights: Floats | None = None) -> None:
        """Add a block of instances, as `evaluate` takes all of them."""
        weights = np.ones(len(targets)) if instance_weights is None else instance_weights.astype(np.float64)
        if self._task.classes is None:
            self._add_regression(outputs / self._unit, targets / self._unit, weights)
        else:
            self._add_classification(outputs, targets, weights)
        self._weight += float(weights.sum())

    def _add_classification(self, outputs: Floats, targets: Floats, weights: NDArray[np.float64]) -> None:
        task, n_classes = self._task, len(self._found)
        right, predicted = task.class_indices(targets), task.class_indices(outputs)
        self._found += weight_by_class(right, weights * (right == predicted), n_classes)
        self._there += weight_by_class(right, weights, n_classes)
        self._taken += weight_by_class(predicted, weights, n_classes)
        if self._cells is not None:
            self._cells += np.bincount(right * n_classes + predicted, weights, n_classes**2)
        if ACTIVATIONS[task.activation].gives_probabilities:
            self._log_losses += log_loss(outputs, right, weights)
        for row, k in enumerate(range(n_classes)[self._looked_for]):
            scores = outputs[:, min(k, outputs.shape[1] - 1)]
            bins = np.clip(scores * AUC_BINS, 0, AUC_BINS - 1).astype(np.intp)
            is_class = right == k
            self._of_class[row] += np.bincount(bins[is_class], weights[is_class], AUC_BINS)
            self._of_others[row] += np.bincount(bins[~is_class], weights[~is_class], AUC_BINS)

    def _add_regression(self, outputs: Floats, targets: Floats, weights: NDArray[np.float64]) -> None:
        errors = (targets - outputs).astype(np.float64)
        self._squares += weights @ errors**2
        self._errors += weights @ np.abs(errors)
        weight = float(weights.sum())
        sums = weights @ targets.astype(np.float64)
        mean = sums / weight if weight else sums
        deviations = weights @ (targets - mean) ** 2
        if self._weight and weight:  # T. Chan, G. Golub, R. LeVeque, 1983
            deviations += (mean - self._sums / self._weight) ** 2 * (self._weight * weight / (self._weight + weight))
        self._deviations += deviations
        self._sums += sums

    def figures(self) -> dict[str, Any]:
        """Give the metrics of all instances added, at least one with a weight."""
        if self._task.classes is None:
            return self._regression_figures()
        there = self._there
        figures: dict[str, Any] = ratios_of_counts(self._found, there, self._taken)
        if (there > 0).all():
            figures["roc_auc"] = float(
                np.mean([_binned_area(*pair) for pair in zip(self._of_class, self._of_others, strict=True)])
            )
        if ACTIVATIONS[self._task.activation].gives_probabilities:
            figures["log_loss"] = self._log_losses / self._weight
        if self._cells is not None:
            figures["confusion_matrix"] = self._cells.reshape(len(there), len(there)).tolist()
        return figures

    def _regression_figures(self) -> dict[str, Any]:
        mean_square, variance = self._squares / self._weight, self._deviations / self._weight
        smallest = (np.finfo(np.float64).eps * np.abs(self._sums / self._weight)) ** 2
        is_constant = variance <= smallest
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = np.where(is_constant, mean_square == 0, 1 - mean_square / variance)
        rmse, mae = self._unit * np.sqrt(mean_square), self._unit * self._errors / self._weight
        return {"rmse": float(rmse.mean()), "mae": float(mae.mean()), "r2": float(r2.mean())}


def _binned_area(of_class: NDArray[np.float64], of_others: NDArray[np.float64]) -> float:
    """Give the share of pairs whose scores are in order, half a pair on a tie, from weights by ascending score."""
    below = np.cumsum(of_others) - of_others
    return float(of_class @ (below + of_others / 2) / (of_class.sum() * of_others.sum()))
