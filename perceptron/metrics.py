"""Metrics: how good outputs are."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats, Rows
from perceptron.data.task import Task

EXACT_ROWS = 1_000_000
"""Up to so many instances `evaluate` may hold at once; of more, `MetricSums` gives the same but for roc_auc."""

MAX_CONFUSION_CLASSES = 256
"""A larger confusion matrix would be many times the size of the rest of a model's description."""


def evaluate(task: Task, outputs: Floats, targets: Floats, instance_weights: Floats | None = None) -> dict[str, Any]:
    """Compare outputs with targets, (n_instances, n_outputs) each, counting instances by their weights.

    Classification, with the numbers of true positives (tp), false positives (fp) and false negatives (fn) of a class:

        accuracy           share of the instances with the right class
        precision          tp / (tp + fp)
        recall             tp / (tp + fn)
        f1                 2 tp / (2 tp + fp + fn)
        roc_auc            chance that an instance of the class has a larger output than one of another class,
                           half of it on a tie
        log_loss           mean of -log of the output of the right class, kept from 0 and 1 by the precision
        confusion_matrix   rows by true class, columns by predicted one, in the order of `task.classes`: counts, or
                           sums of weights

    With two classes these are the metrics of the second one; with more, plain means over the classes. A ratio with
    denominator 0 is 0. There is no roc_auc when a class is missing in the targets, no log_loss when outputs are no
    probabilities, and no confusion_matrix of more than 256 classes.

    Regression, the plain mean over the outputs when there are several:

        rmse   sqrt(mean (y - y_hat)^2)
        mae    mean |y - y_hat|
        r2     1 - mean (y - y_hat)^2 / mean (y - mean y)^2; for equal targets 1 if the outputs are right, else 0

    Every metric is finite, and equal to scikit-learn's.
    """
    n_instances = len(targets)
    weights = np.full(n_instances, 1.0) if instance_weights is None else instance_weights.astype(np.float64)
    # The sum of denormal weights is inexact, and that of huge ones may overflow. Powers of 2 keep every digit.
    weights = np.ldexp(weights, -np.frexp(weights.max())[1])
    if task.classes is not None:
        return _classification(task, len(task.classes), outputs, targets, weights, instance_weights)
    shares = weights / weights.sum()
    per_output = [
        _regression(outputs[:, k].astype(np.float64), targets[:, k].astype(np.float64), shares)
        for k in range(targets.shape[1])
    ]
    # A metric beyond the largest finite number is replaced by that number.
    largest = np.finfo(np.float64).max
    with np.errstate(over="ignore"):
        rmse, mae, r2 = np.clip(np.mean(np.array(per_output), axis=0), -largest, largest)
    return {"rmse": float(rmse), "mae": float(mae), "r2": float(r2)}


def _classification(
    task: Task,
    n_classes: int,
    outputs: Floats,
    targets: Floats,
    weights: NDArray[np.float64],
    instance_weights: Floats | None,
) -> dict[str, Any]:
    right, predicted = task.class_indices(targets), task.class_indices(outputs)
    # Ratios of counts, not sums of shares: seven of seven is 1, and seven times 1/7 is not.
    found = weight_by_class(right, weights * (right == predicted), n_classes)
    there = weight_by_class(right, weights, n_classes)
    taken = weight_by_class(predicted, weights, n_classes)
    shares = weights / weights.sum()
    figures: dict[str, Any] = ratios_of_counts(found, there, taken)
    if (there > 0).all():
        columns = range(n_classes)[classes_looked_for(n_classes)]
        areas = [_roc_area(outputs[:, min(k, outputs.shape[1] - 1)], right == k, weights) for k in columns]
        figures["roc_auc"] = float(np.mean(areas))
    if ACTIVATIONS[task.activation].gives_probabilities:
        figures["log_loss"] = log_loss(outputs, right, shares)
    if n_classes <= MAX_CONFUSION_CLASSES:
        cells = np.bincount(right * n_classes + predicted, instance_weights, n_classes**2)
        figures["confusion_matrix"] = cells.reshape(n_classes, n_classes).tolist()
    return figures


def ratios_of_counts(
    found: NDArray[np.float64], there: NDArray[np.float64], taken: NDArray[np.float64]
) -> dict[str, float]:
    """Return accuracy, precision, recall and f1 of the weights of each class, found rightly, in the targets, predicted.

    Of two classes, the second one is looked for; of more, the mean is taken over all.
    """
    looked_for = classes_looked_for(len(there))
    return {
        "accuracy": min(float(found.sum() / there.sum()), 1.0),
        "precision": _mean_ratio(found[looked_for], taken[looked_for]),
        "recall": _mean_ratio(found[looked_for], there[looked_for]),
        "f1": _mean_ratio(2 * found[looked_for], (there + taken)[looked_for]),
    }


def classes_looked_for(n_classes: int) -> slice:
    """Return the classes that a metric of binary decisions is about."""
    return slice(1, 2) if n_classes == 2 else slice(None)


def weight_by_class(indices: Rows, shares: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    return np.bincount(indices, shares, n_classes).astype(np.float64)


def _mean_ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> float:
    ratios = np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0)
    # The same shares summed in another order may round to a slightly larger number.
    return float(np.minimum(ratios, 1.0).mean())


def _roc_area(scores: Floats, is_class: NDArray[np.bool_], weights: NDArray[np.float64]) -> float:
    """Give the share of pairs, one of the class and one not, whose scores are in order; half a pair on a tie."""
    order = np.argsort(-scores, kind="stable")
    starts = np.append(0, np.flatnonzero(np.diff(scores[order])) + 1)  # of instances with equal scores
    ends = np.append(starts[1:], len(scores)) - 1
    others = np.add.reduceat(np.where(is_class, 0.0, weights)[order], starts)
    above_or_equal = np.cumsum(np.where(is_class, weights, 0.0)[order])[ends]
    above = np.append(0.0, above_or_equal[:-1])
    # One ratio of sums in the same order: classes without an overlap give 1 whatever the weights.
    return float(((above + above_or_equal) * others).sum() / (2 * above_or_equal[-1] * others).sum())


def log_loss(outputs: Floats, right: Rows, shares: NDArray[np.float64]) -> float:
    if outputs.shape[1] == 1:
        of_right = np.where(right == 1, outputs[:, 0], 1 - outputs[:, 0])
    else:
        of_right = outputs[np.arange(len(right)), right]
    smallest = np.finfo(outputs.dtype).eps
    return float(-shares @ np.log(np.clip(of_right, smallest, 1 - smallest).astype(np.float64)))


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
    # Compare the targets as well: the mean of equal numbers may be rounded, which leaves a tiny variance.
    if variance == 0 or (counted == counted[0]).all():
        return rmse, mae, float(mean_square == 0)
    return rmse, mae, 1 - mean_square / variance
