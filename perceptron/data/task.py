"""The task of a network, which follows from the targets and the requested activation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.activations import ACTIVATIONS
from perceptron.arrays import Floats, Rows
from perceptron.errors import InvalidConfigError, InvalidDatasetError, TargetsOutOfRangeError, check_one_of
from perceptron.losses import check_loss

TaskKind: TypeAlias = Literal["binary_classification", "classification", "regression"]
Targets: TypeAlias = Sequence[float] | Sequence[str] | Sequence[Sequence[float]]

_DEFAULTS: dict[TaskKind, tuple[str, str]] = {
    "binary_classification": ("sigmoid", "mean_squared_error"),
    "classification": ("softmax", "cross_entropy"),
    "regression": ("identity", "mean_squared_error"),
}
"""The activation and the loss of each task."""

_LISTS = (list, tuple, np.ndarray)

MAX_CLASSES = 4096
"""As wide as a hidden layer may be; more distinct targets are rather names of instances than classes."""

MAX_CLASS_NUMBER = 2**53
"""Beyond, floats do not distinguish all whole numbers, and two classes could become one."""


@dataclass(frozen=True)
class Task:
    """What the outputs of a network stand for."""

    kind: TaskKind
    classes: tuple[str, ...] | tuple[int, ...] | None
    """sorted; in a binary classification the second one has target 1; None for regression"""
    activation: str
    """of the outputs"""
    loss: str
    n_outputs: int
    is_list: bool = False
    """whether targets and predictions are lists of numbers"""

    def class_indices(self, outputs: Floats) -> Rows:
        """Give the index into `classes` for each row of outputs, or of targets, (n_instances, n_outputs).

        A single output stands for the second class when it is >= 0.5. Of several outputs the largest decides, the
        first on a tie.
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
    """Decide the task, and encode the targets as numbers (n_instances, n_outputs).

        targets                                activation (the default first)   task, default loss
        0/1 only, or two class names           sigmoid, step                    binary, mean_squared_error
        two whole numbers                      step                             binary, mean_squared_error
        the same, task "classification"        softmax, sigmoid, step           as the activation needs it
        three or more class names              softmax                          classification, cross_entropy
        whole numbers, task "classification"   softmax                          classification, cross_entropy
        numbers within the range               identity, sigmoid, tanh, relu    regression, mean_squared_error
        lists of k such numbers                the same                         regression with k outputs

    Classes are sorted; each class of a classification is one output, 1 for instances of the class and 0 for the
    others. With softmax, two class names and whole numbers without a task are classes, too; so are lists in which one
    number is 1 and the others are 0. A list of one-element lists is a column: the same as the list of the elements.

    Args:
        targets: numbers, names of classes, or lists of equally many numbers.
        task: "classification" makes whole numbers classes; "regression" makes even 0/1 plain numbers.
        activation: of the outputs; None for the default.
        loss: mean_squared_error or cross_entropy; None for the default.

    Raises:
        InvalidDatasetError: no targets, a mixture of types, a number that is not finite, only one class, or
            the number of a class beyond 2**53.
        TargetsOutOfRangeError: the activation cannot give one of the targets.
        InvalidConfigError: the task, the activation or the loss does not go with the targets.
    """
    if activation is not None:
        check_one_of("network/activation", activation, ACTIVATIONS)
    if len(targets) == 0:
        raise InvalidDatasetError("expected at least one target, got none")
    targets = as_column(targets)
    if isinstance(targets[0], str):
        resolved, values = _of_class_names(targets, task, activation)
    else:
        resolved, values = _of_numbers(_numbers(targets), task, activation)
    if loss is not None:
        check_loss(loss, resolved.activation)
        resolved = replace(resolved, loss=loss)
    return resolved, values


def resolve_column(
    values: NDArray[np.float64],
    levels: Sequence[str] | None = None,
    *,
    task: Literal["classification", "regression"] | None = None,
    activation: str | None = None,
    loss: str | None = None,
) -> tuple[Task, NDArray[np.float64]]:
    """Decide the task of a column of a table as `resolve_task` does, in the time of a few passes over its numbers.

    Args:
        values: (n_instances,): the numbers, or the codes of the levels; none is missing.
        levels: the sorted names of the classes, each of which occurs; None: the column holds numbers.

    Raises:
        InvalidDatasetError, TargetsOutOfRangeError, InvalidConfigError: as `resolve_task`.
    """
    options: dict[str, Any] = {"task": task, "activation": activation, "loss": loss}
    if levels is not None:
        resolved, _ = resolve_task(list(levels), **options)
        return resolved, encode_classes(resolved, values.astype(np.intp))
    distinct, first = np.unique(values, return_index=True)
    if len(distinct) > MAX_CLASSES and task != "classification":
        # So many that they are no classes: the range decides, and whether there are fractions.
        some = [0, len(distinct) - 1, int((distinct % 1 != 0).argmax())]
        distinct, first = distinct[some], first[some]
    try:
        resolved, _ = resolve_task(distinct.tolist(), **options)
    except TargetsOutOfRangeError as error:
        raise error.at(int(first[error.index])) from None
    return resolved, encode_column(resolved, values)


def encode_column(task: Task, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the targets (n_instances, n_outputs) of a task for the numbers (n_instances,) that it was decided from."""
    if task.classes is None:
        return values[:, np.newaxis]
    return encode_classes(task, np.searchsorted(np.array(task.classes, dtype=np.float64), values))


def encode_classes(task: Task, indices: Rows) -> NDArray[np.float64]:
    """Give the targets (n_instances, n_outputs) of instances whose classes have these indices, (n_instances,)."""
    if task.kind == "binary_classification":
        return indices[:, np.newaxis].astype(np.float64)
    return _one_hot(indices, len(task.classes or ()))


def as_column(targets: Targets) -> Targets:
    """Return the elements of one-element lists, which is how a column of a table is often written; others as given."""
    if len(targets) and all(isinstance(each, _LISTS) and len(each) == 1 for each in targets):
        column: Any = [each[0] for each in targets]  # type: ignore[index]  # they are lists
        if not any(isinstance(each, _LISTS) for each in column):
            return column  # type: ignore[no-any-return]  # checked later
    return targets


def _of_class_names(targets: Any, task: str | None, activation: str | None) -> tuple[Task, NDArray[np.float64]]:
    for index, target in enumerate(targets):
        if not isinstance(target, str):
            raise InvalidDatasetError(f"target 0 is a class name, but target {index} is {target!r}")
    if task == "regression":
        raise InvalidConfigError(f"regression needs numbers, got the class name {targets[0]!r}", field="task")
    classes = sorted({str(target) for target in targets})
    _check_classes(classes)
    index_of = {name: index for index, name in enumerate(classes)}
    indices = np.fromiter((index_of[target] for target in targets), dtype=np.intp, count=len(targets))
    is_binary = len(classes) == 2 and _is_binary(activation)
    resolved = (_binary if is_binary else _one_output_per_class)(tuple(classes), activation)
    return resolved, encode_classes(resolved, indices)


def _of_numbers(
    values: NDArray[np.float64], task: str | None, activation: str | None
) -> tuple[Task, NDArray[np.float64]]:
    is_list = values.ndim == 2
    if task == "classification":
        return _of_whole_numbers(values, activation)
    if task is None and not is_list:
        is_zero_one = bool(np.isin(values, (0.0, 1.0)).all())
        is_of_classes = activation in _names_of("distribution") or (
            activation in _names_of("class") and _are_two_whole_numbers(values)
        )
        if is_of_classes or (is_zero_one and _is_binary(activation)):
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
    classes = tuple(int(value) for value in distinct)
    _check_classes(classes)
    is_binary = len(classes) == 2 and _is_binary(activation) and (classes == (0, 1) or activation is not None)
    resolved = (_binary if is_binary else _one_output_per_class)(classes, activation)
    return resolved, encode_classes(resolved, indices)


def _are_two_whole_numbers(values: NDArray[np.float64]) -> bool:
    return len(np.unique(values)) <= 2 and bool((values % 1 == 0).all())


def _is_binary(activation: str | None) -> bool:
    """Tell whether one output of the activation stands for two classes."""
    return activation is None or activation in _names_of("probability", "class")


def _names_of(*outputs: str) -> list[str]:
    """Give the activations with these kinds of outputs."""
    return [name for name, activation in ACTIVATIONS.items() if activation.output in outputs]


def _binary(classes: tuple[str, ...] | tuple[int, ...], activation: str | None) -> Task:
    return _task("binary_classification", classes, activation, n_outputs=1)


def _one_output_per_class(classes: tuple[str, ...] | tuple[int, ...], activation: str | None) -> Task:
    suitable = _names_of("distribution")
    if activation is not None and activation not in suitable:
        if len(classes) == 2:
            suitable = [*_names_of("probability", "class"), *suitable]
        *most, last = suitable
        expected = f"{', '.join(most)} or {last}" if most else last
        raise InvalidConfigError(
            f"{len(classes)} classes need {expected}, got {activation}", field="network/activation"
        )
    return _task("classification", classes, activation, n_outputs=len(classes))


def _regression(
    values: NDArray[np.float64], activation: str | None, *, is_list: bool
) -> tuple[Task, NDArray[np.float64]]:
    task = _task("regression", None, activation, n_outputs=values.shape[1], is_list=is_list)
    output = ACTIVATIONS[task.activation].output
    if output == "distribution" and not is_list:
        raise InvalidConfigError(
            f"{task.activation} is for classification: expected another activation for regression",
            field="network/activation",
        )
    _check_range(values, task.activation)
    if output == "class":
        raise InvalidConfigError(
            f"{task.activation} is for binary classification: expected another activation for regression, "
            f"got {task.activation}",
            field="network/activation",
        )
    return task, values


def _task(
    kind: TaskKind,
    classes: tuple[str, ...] | tuple[int, ...] | None,
    activation: str | None,
    *,
    n_outputs: int,
    is_list: bool = False,
) -> Task:
    default_activation, default_loss = _DEFAULTS[kind]
    return Task(kind, classes, activation or default_activation, default_loss, n_outputs, is_list)


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
    record = ACTIVATIONS[activation]
    low, high = record.low, record.high
    outside = (values < low) | (values > high)
    allowed = f"numbers of at least {low:g}" if high == float("inf") else f"numbers from {low:g} to {high:g}"
    if record.output == "class":
        outside = ~np.isin(values, (low, high))
        allowed = f"{low:g} or {high:g}"
    elif record.output == "distribution":
        is_one_hot = np.isin(values, (low, high)).all(axis=1) & (values.sum(axis=1) == 1)
        outside = np.broadcast_to(~is_one_hot[:, np.newaxis], values.shape)
        allowed = "one 1 and otherwise 0 in each target"
    elif record.output == "probability" and values.shape[1] == 1 and _are_two_whole_numbers(values):
        allowed += ' (with "task": "classification" any two whole numbers are classes)'
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


def _check_classes(classes: Sequence[str] | Sequence[int]) -> None:
    if len(classes) == 1:
        hint = "" if isinstance(classes[0], str) else ' (with "task": "regression" it is a number to predict)'
        raise InvalidDatasetError(f"expected targets of at least two classes, got only {classes[0]!r}{hint}")
    if len(classes) > MAX_CLASSES:
        raise InvalidDatasetError(f"expected at most {MAX_CLASSES:,} classes, got {len(classes):,}")


def _one_hot(indices: Rows, n_classes: int) -> NDArray[np.float64]:
    values = np.zeros((len(indices), n_classes))
    values[np.arange(len(indices)), indices] = 1.0
    return values
