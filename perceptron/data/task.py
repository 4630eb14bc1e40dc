"""What is to be learned, as it follows from the targets and the activation asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats, Rows
from perceptron.errors import InvalidConfigError, InvalidDatasetError, TargetsOutOfRangeError
from perceptron.losses import LOSSES

TaskKind: TypeAlias = Literal["binary_classification", "classification", "regression"]
Targets: TypeAlias = Sequence[float] | Sequence[str] | Sequence[Sequence[float]]

_LISTS = (list, tuple, np.ndarray)

MAX_CLASSES = 4096
"""As wide as a hidden layer may be; more are rather names or numbers of the instances than of classes."""

MAX_CLASS_NUMBER = 2**53
"""Up to here every whole number is a float of its own; beyond, two classes could become one."""


@dataclass(frozen=True)
class Task:
    """What a network's outputs stand for."""

    kind: TaskKind
    classes: tuple[str, ...] | tuple[int, ...] | None
    """sorted; of a binary classification the second one has target 1; None for regression"""
    activation: str
    """of the outputs"""
    loss: str
    n_outputs: int
    is_list: bool = False
    """whether a target is a list of numbers, and so a prediction too"""

    def class_indices(self, outputs: Floats) -> Rows:
        """Give the index into `classes` for each row of outputs, or of targets, (n_instances, n_outputs).

        One output stands for the second class when it is >= 0.5; of several the largest decides, the first on
        a tie.
        """
        if self.kind == "binary_classification":
            return (outputs[:, 0] >= 0.5).astype(np.intp)
        indices: Rows = outputs.argmax(axis=1)
        return indices


def resolve_task(
    targets: Targets,
    *,
    task: Literal["classification", "regression"] | None = None,
    activation: str | None = None,
    loss: str | None = None,
) -> tuple[Task, NDArray[np.float64]]:
    """Decide what is to be learned, and write the targets as numbers (n_instances, n_outputs).

        targets                                activation (the default first)   task, default loss
        0/1 only, or two class names           sigmoid, step                    binary, mean_squared_error
        three or more class names              softmax                          classification, cross_entropy
        whole numbers asked to be classes      softmax                          classification, cross_entropy
        numbers within the range               identity, sigmoid, tanh, relu    regression, mean_squared_error
        lists of k such numbers                the same                         regression with k outputs

    Classes are sorted; those of a classification become one output each, 1 for the instance's own and 0 for
    the others. Two class names, or 0/1 asked to be classes, may have softmax as well. Lists may, if one
    number of each is 1 and the others 0.

    Args:
        targets: numbers, names of classes, or lists of equally many numbers.
        task: "classification" makes whole numbers classes, "regression" takes even 0/1 as plain numbers.
        activation: of the outputs; None for the default.
        loss: mean_squared_error or cross_entropy; None for the default.

    Raises:
        InvalidDatasetError: no targets, a mixture of types, a number that is not finite, only one class, or
            the number of a class beyond 2**53.
        TargetsOutOfRangeError: a target that the activation never gives.
        InvalidConfigError: the task, the activation or the loss does not go with the targets.
    """
    if activation is not None and activation not in ACTIVATIONS:
        raise InvalidConfigError(
            f"expected one of {', '.join(ACTIVATIONS)}, got {activation!r}", field="network/activation"
        )
    if len(targets) == 0:
        raise InvalidDatasetError("expected at least one target, got none")
    if isinstance(targets[0], str):
        resolved, values = _of_class_names(targets, task, activation)
    else:
        resolved, values = _of_numbers(_numbers(targets), task, activation)
    return _with_loss(resolved, loss), values


def _of_class_names(targets: Any, task: str | None, activation: str | None) -> tuple[Task, NDArray[np.float64]]:
    for index, target in enumerate(targets):
        if not isinstance(target, str):
            raise InvalidDatasetError(f"target 0 is a class name, but target {index} is {target!r}")
    if task == "regression":
        raise InvalidConfigError(f"regression needs numbers, got the class name {targets[0]!r}", field="task")
    classes = sorted({str(target) for target in targets})
    if len(classes) == 1:
        raise InvalidDatasetError(f"expected at least two classes, got only {classes[0]!r}")
    _check_n_classes(len(classes))
    index_of = {name: index for index, name in enumerate(classes)}
    indices = np.fromiter((index_of[target] for target in targets), dtype=np.intp, count=len(targets))
    if len(classes) == 2 and activation in (None, "sigmoid", "step"):
        return _binary(tuple(classes), activation), indices[:, np.newaxis].astype(np.float64)
    return _one_output_per_class(tuple(classes), activation), _one_hot(indices, len(classes))


def _of_numbers(
    values: NDArray[np.float64], task: str | None, activation: str | None
) -> tuple[Task, NDArray[np.float64]]:
    is_list = values.ndim == 2
    is_zero_one = not is_list and bool(np.isin(values, (0.0, 1.0)).all())
    if is_zero_one and task != "regression" and activation in (None, "sigmoid", "step"):
        return _binary((0, 1), activation), values[:, np.newaxis]
    if task == "classification":
        return _of_whole_numbers(values, activation)
    return _regression(values if is_list else values[:, np.newaxis], activation, is_list=is_list)


def _of_whole_numbers(values: NDArray[np.float64], activation: str | None) -> tuple[Task, NDArray[np.float64]]:
    if values.ndim == 2:
        raise InvalidConfigError("classification needs class names or whole numbers, got lists", field="task")
    fractions = np.flatnonzero(values != np.trunc(values))
    if fractions.size:
        index = int(fractions[0])
        raise InvalidDatasetError(
            f"classification needs class names or whole numbers, but target {index} is {float(values[index])!r}"
        )
    too_large = np.flatnonzero(np.abs(values) > MAX_CLASS_NUMBER)
    if too_large.size:
        index = int(too_large[0])
        raise InvalidDatasetError(
            f"the numbers of classes must be -2**53 to 2**53, but target {index} is {float(values[index])!r}"
        )
    distinct, indices = np.unique(values, return_inverse=True)
    if len(distinct) == 1:
        raise InvalidDatasetError(f"expected at least two classes, got only {int(distinct[0])}")
    _check_n_classes(len(distinct))
    classes = tuple(int(value) for value in distinct)
    return _one_output_per_class(classes, activation), _one_hot(indices, len(classes))


def _binary(classes: tuple[str, ...] | tuple[int, ...], activation: str | None) -> Task:
    return Task("binary_classification", classes, activation or "sigmoid", "mean_squared_error", n_outputs=1)


def _one_output_per_class(classes: tuple[str, ...] | tuple[int, ...], activation: str | None) -> Task:
    if activation not in (None, "softmax"):
        is_binary_too = len(classes) == 2 and (isinstance(classes[0], str) or classes == (0, 1))
        expected = "sigmoid, step or softmax" if is_binary_too else "softmax"
        raise InvalidConfigError(
            f"{len(classes)} classes need {expected}, got {activation}", field="network/activation"
        )
    return Task("classification", classes, "softmax", "cross_entropy", n_outputs=len(classes))


def _regression(
    values: NDArray[np.float64], activation: str | None, *, is_list: bool
) -> tuple[Task, NDArray[np.float64]]:
    activation = activation or "identity"
    if activation == "softmax" and not is_list:
        raise InvalidConfigError(
            'softmax needs class names, or whole numbers with "task": "classification", got numbers',
            field="network/activation",
        )
    _check_range(values, activation)
    if activation == "step":
        raise InvalidConfigError(
            "step is for binary classification: expected another activation for regression, got step",
            field="network/activation",
        )
    task = Task("regression", None, activation, "mean_squared_error", n_outputs=values.shape[1], is_list=is_list)
    return task, values


def _with_loss(task: Task, loss: str | None) -> Task:
    if loss is None:
        return task
    if loss not in LOSSES:
        raise InvalidConfigError(f"expected one of {', '.join(LOSSES)}, got {loss!r}", field="training/loss")
    if task.activation not in LOSSES[loss].activations:
        allowed = " or ".join(sorted(LOSSES[loss].activations))
        raise InvalidConfigError(f"{loss} needs {allowed} outputs, got {task.activation}", field="training/loss")
    return Task(task.kind, task.classes, task.activation, loss, task.n_outputs, task.is_list)


def _numbers(targets: Any) -> NDArray[np.float64]:
    is_list = isinstance(targets[0], _LISTS)
    width = len(targets[0]) if is_list else 0
    for index, target in enumerate(targets):
        if isinstance(target, str) or isinstance(target, _LISTS) != is_list:
            expected = "a list of numbers" if is_list else "a number"
            raise InvalidDatasetError(f"target 0 is {expected}, but target {index} is {target!r}")
        if is_list and (len(target) != width or width == 0):
            raise InvalidDatasetError(f"expected {max(width, 1)} numbers in target {index}, got {len(target)}")
    try:
        values = np.array(targets, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidDatasetError(f"expected numbers as targets: {error}") from error
    if values.ndim != 1 + is_list:
        raise InvalidDatasetError(f"expected numbers or lists of numbers as targets, got {values.ndim} dimensions")
    if not np.isfinite(values).all():
        index = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InvalidDatasetError(f"expected finite targets, but target {index} is {targets[index]!r}")
    return values


def _check_range(values: NDArray[np.float64], activation: str) -> None:
    low, high = ACTIVATIONS[activation].low, ACTIVATIONS[activation].high
    outside = (values < low) | (values > high)
    allowed = f"numbers of at least {low:g}" if high == float("inf") else f"numbers from {low:g} to {high:g}"
    if activation == "step":
        outside = ~np.isin(values, (low, high))
        allowed = "0 or 1"
    elif activation == "softmax":
        is_one_hot = np.isin(values, (low, high)).all(axis=1) & (values.sum(axis=1) == 1)
        outside = np.broadcast_to(~is_one_hot[:, np.newaxis], values.shape)
        allowed = "one 1 and otherwise 0 in each target"
    if outside.any():
        index, output = (int(i) for i in np.argwhere(outside)[0])
        raise TargetsOutOfRangeError(
            activation=activation,
            low=low,
            high=high,
            index=index,
            value=float(values[index, output]),
            allowed=allowed,
        )


def _check_n_classes(n_classes: int) -> None:
    if n_classes > MAX_CLASSES:
        raise InvalidDatasetError(f"expected at most {MAX_CLASSES:,} classes, got {n_classes:,}")


def _one_hot(indices: Rows, n_classes: int) -> NDArray[np.float64]:
    values = np.zeros((len(indices), n_classes))
    values[np.arange(len(indices)), indices] = 1.0
    return values
