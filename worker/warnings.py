"""What the owner of a job should know about a network that was trained without an error."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from perceptron import OPTIMIZERS, Dataset, Standardization, Task, TrainingConfig
from storage.jobs.reports import Result, TrainingWarning

MAX_SUBTRACTED_PENALTY = 1e3
"""As a multiple of the cost of the best constant output."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A training that ended, and what its figures are compared with."""

    task: Task
    config: TrainingConfig
    result: Result
    evaluated: Dataset
    """The rows of the metrics."""
    n_trained: int
    n_weights: int
    penalty: float
    """What the l2 penalty adds to `result.cost`; the cost of a constant has none."""
    constant_cost: float
    """C_null of the rows trained on: the cost of the best constant output."""
    constant_validation_cost: float | None
    """The same of the rows held out."""


def warnings_of(judged: Judged) -> tuple[TrainingWarning, ...]:
    """Return the warnings, the most important first."""
    return tuple(_warnings(judged))


def _warnings(judged: Judged) -> Iterator[TrainingWarning]:
    result, config, metrics = judged.result, judged.config, judged.result.metrics
    for cost, constant, rows in (
        (_cost_to_compare(judged), judged.constant_cost, "the rows trained on"),
        (result.validation_cost, judged.constant_validation_cost, "the rows held out"),
    ):
        if cost is not None and constant is not None and constant > 0 and cost >= constant * (1 - 1e-9):
            yield TrainingWarning(
                "not_better_than_constant",
                f"on {rows} the network is no better than giving every instance the same output: its mean "
                f"loss is {cost:.4g}, that of the best constant is {constant:.4g}",
            )
            break
    if result.stop_reason in ("max_epochs", "time_limit"):
        limit = "max_epochs" if result.stop_reason == "max_epochs" else "time_limit_s"
        yield TrainingWarning(
            "not_converged", f"the cost still changed after {result.epochs} epochs, when {limit} was reached: raise it"
        )
    yield from _about_classes(judged)
    if config.l2 == 0 and OPTIMIZERS[config.optimizer].follows_gradient and judged.task.classes is not None:
        training = metrics.get("training", metrics)
        if isinstance(training, dict) and training.get("accuracy") == 1.0:
            yield TrainingWarning(
                "separable_without_l2",
                "the network separates the classes of the rows trained on without a mistake, so with l2 0 its weights "
                "grow without end, and its outputs are too sure: set l2 above 0",
            )
    if judged.n_trained < judged.n_weights:
        yield TrainingWarning(
            "fewer_rows_than_weights",
            f"{judged.n_trained} rows cannot determine {judged.n_weights} weights: give more rows, use fewer neurons, "
            "or set a larger l2",
        )
    if judged.task.classes is None and Standardization.of(judged.evaluated.targets).is_constant is not None:
        yield TrainingWarning(
            "metric_undefined",
            "r2 compares with the variance of the targets, and those evaluated are all equal, but for rounding",
        )


def _cost_to_compare(judged: Judged) -> float:
    """Return the cost of the rows trained on without the penalty, which a constant does not pay."""
    cost, penalty = judged.result.cost, judged.penalty
    # A larger penalty leaves too few digits, in float32 above all, and such a network is far from any optimum.
    return cost - penalty if penalty <= MAX_SUBTRACTED_PENALTY * judged.constant_cost else cost


def _about_classes(judged: Judged) -> Iterator[TrainingWarning]:
    matrix, classes = judged.result.metrics.get("confusion_matrix"), judged.task.classes
    if matrix is None or classes is None:
        return
    cells = np.array(matrix, dtype=float)
    never = [
        repr(name) for name, there, taken in zip(classes, cells.sum(1), cells.sum(0), strict=True) if there > taken == 0
    ]
    if never:
        yield TrainingWarning(
            "class_never_predicted", f"no instance is predicted to be of class {', '.join(never[:10])}"
        )
    missing = [repr(name) for name, there in zip(classes, cells.sum(1), strict=True) if there == 0]
    if missing:
        yield TrainingWarning(
            "metric_undefined",
            f"there is no roc_auc: the rows evaluated hold no instance of class {', '.join(missing[:10])}",
        )
