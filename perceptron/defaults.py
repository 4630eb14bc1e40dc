"""The settings of a training that names none: chosen from the task, the network and the size of the data.

The table was chosen by a study on 45 data sets against scikit-learn's LogisticRegression, LinearRegression and MLP
estimators; `docs/defaults.md` compares them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture
from perceptron.config import LearningRate, ValidationConfig
from perceptron.data.dataset import Dataset
from perceptron.data.task import Task
from perceptron.losses import LOSSES

MAX_NEWTON_PARAMETERS = 100
MIN_HOLD_OUT_ROWS = 50
MAX_FULL_BATCH_VALUES = 1e8
"""Rows times parameters: beyond, mini-batches reach a better network in less time (`docs/defaults.md`)."""
MANY_ROWS = 50_000
"""With as many, larger mini-batches reach a better network, in less time."""
FEWEST_ROWS_OF_L2 = 100
"""With fewer rows the penalty does not grow any more, unless there are more features than rows: OR and AND on four rows
stay right, and 500 features of 45 rows are not learned by heart."""
MAX_FAST_WIDTH = 64


@dataclass(frozen=True)
class _Case:
    n_rows: float
    architecture: Architecture
    is_convex: bool
    """Newton's method has the exact Hessian"""

    @property
    def n_parameters(self) -> int:
        return self.architecture.n_parameters

    @property
    def has_hidden_layers(self) -> bool:
        return len(self.architecture.widths) > 2

    @property
    def adam_rate(self) -> float:
        return 0.01 if max(self.architecture.widths[1:]) <= MAX_FAST_WIDTH else 0.003


@dataclass(frozen=True)
class _Choice:
    holds: Callable[[_Case], bool]
    optimizer: str
    reason: str
    batch_size: int | None = None
    validation: ValidationConfig | None = None


_CHOICES = (
    _Choice(
        lambda case: not case.has_hidden_layers and case.is_convex and case.n_parameters <= MAX_NEWTON_PARAMETERS,
        "newton",
        "There are no hidden layers and at most 100 parameters: a few steps find the optimum.",
    ),
    _Choice(
        lambda case: not case.has_hidden_layers,
        "lbfgs",
        "There are no hidden layers: it finds the optimum without a learning rate.",
    ),
    _Choice(
        lambda case: case.n_rows < MIN_HOLD_OUT_ROWS,
        "lbfgs",
        "The data set is small: all rows train, and no learning rate is needed.",
    ),
    _Choice(
        lambda case: case.n_rows * case.n_parameters <= MAX_FULL_BATCH_VALUES,
        "lbfgs",
        "There are hidden layers: no learning rate is needed, and rows held out end the training.",
        validation=ValidationConfig(0.2, early_stopping_patience=50),
    ),
    _Choice(
        lambda case: case.n_rows < MANY_ROWS,
        "adam",
        "The network is large for its data: mini-batches take fewer passes over the data.",
        batch_size=256,
        validation=ValidationConfig(0.1, early_stopping_patience=10),
    ),
    _Choice(
        lambda case: True,
        "adam",
        "The data set and the network are large: mini-batches take fewer passes over the data.",
        batch_size=1024,
        validation=ValidationConfig(0.1, early_stopping_patience=10),
    ),
)
"""The first that holds counts."""


@dataclass(frozen=True)
class Named:
    """What a request names of what could be chosen; None: nothing."""

    optimizer: str | None = None
    learning_rate: LearningRate | None = None
    batch_size: int | None = None
    loss: str | None = None
    l2: float | None = None
    scale_targets: bool | None = None
    validation: ValidationConfig | None = None
    sweeps_learning_rate: bool = False

    @property
    def leaves_the_optimizer_open(self) -> bool:
        """Whether the optimizer is chosen from the data."""
        names = self.optimizer, self.learning_rate, self.batch_size
        return names == (None, None, None) and not self.sweeps_learning_rate


@dataclass(frozen=True)
class Defaults:
    """What was chosen, and why."""

    loss: str
    validation: ValidationConfig | None
    training: Mapping[str, Any]
    """fields of `TrainingConfig`"""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """a sentence for each field that was chosen, by its path: "training/l2" """


def choose_defaults(task: Task, architecture: Architecture, dataset: Dataset, named: Named) -> Defaults:
    """Choose what a request does not name. What it names stays."""
    activation = ACTIVATIONS[task.activation]
    reasons: dict[str, str] = {}
    validation, loss = named.validation, named.loss or task.loss
    training: dict[str, Any] = {
        "optimizer": named.optimizer,
        "learning_rate": named.learning_rate,
        "batch_size": named.batch_size,
        "l2": named.l2,
    }
    is_open = named.leaves_the_optimizer_open and activation.has_gradient
    if is_open:
        if named.loss is None and task.classes is not None:
            loss = "cross_entropy"
            reasons["training/loss"] = "The targets are classes: cross_entropy makes outputs probabilities."
        case = _Case(_n_counted(dataset), architecture, _is_convex(loss, task.activation))
        choice = next(choice for choice in _CHOICES if choice.holds(case))
        training["optimizer"], training["batch_size"] = choice.optimizer, choice.batch_size
        reasons["training/optimizer"] = choice.reason
        if choice.optimizer == "adam":
            training["learning_rate"] = case.adam_rate
            reasons["training/learning_rate"] = "Wide layers take smaller steps: 0.01 up to 64 neurons, 0.003 above."
        if choice.validation is not None and validation is None:
            validation = choice.validation
            reasons["validation"] = (
                f"{validation.fraction:.0%} of the rows are held out, and the epoch that is best on them is kept: "
                "hidden layers could learn the others by heart."
            )
        elif choice.validation is not None and validation is not None and validation.early_stopping_patience is None:
            patience = choice.validation.early_stopping_patience
            validation = replace(validation, early_stopping_patience=patience)
            reasons["validation/early_stopping_patience"] = "Hidden layers could learn the training rows by heart."
        if named.l2 is None:
            n_trained = case.n_rows
            if validation is not None and validation.folds is None:
                n_trained = max(n_trained - round(case.n_rows * validation.fraction), 1.0)
            is_wide = architecture.widths[0] > n_trained
            training["l2"] = 1 / (2 * (n_trained if is_wide else max(n_trained, FEWEST_ROWS_OF_L2)))
            reasons["training/l2"] = (
                f"1 / (2 n) with n = {n_trained:g} rows to train on: there are more features than rows."
                if is_wide
                else f"1 / (2 max(n, 100)) with n = {n_trained:g} rows to train on: enough to keep the weights finite."
            )
    elif named.optimizer == "adam" and named.learning_rate is None and not named.sweeps_learning_rate:
        training["learning_rate"] = _Case(0, architecture, False).adam_rate
        reasons["training/learning_rate"] = "Wide layers take smaller steps: 0.01 up to 64 neurons, 0.003 above."
    elif named.optimizer is None and activation.has_gradient:
        reasons["training/optimizer"] = "A learning_rate or batch_size is given: plain gradient descent."
    elif named.optimizer is None:
        reasons["training/optimizer"] = f"{task.activation} has no gradient: only this rule trains it."
    training["scale_targets"] = named.scale_targets
    if named.scale_targets is None:
        follows_textbook = not is_open and named.optimizer in (None, "gradient_descent")
        training["scale_targets"] = task.activation == "identity" and not follows_textbook
        if training["scale_targets"]:
            reasons["training/scale_targets"] = "The targets are plain numbers: their unit decides nothing."
    return Defaults(loss, validation, {name: value for name, value in training.items() if value is not None}, reasons)


def _n_counted(dataset: Dataset) -> float:
    """Give how many rows there are, each as often as its weight says where all weights are whole numbers."""
    weights = dataset.instance_weights
    if weights is None or not (weights == np.trunc(weights)).all():
        return float(dataset.n_instances)
    return float(weights.sum())


def _is_convex(loss: str, activation: str) -> bool:
    of_loss = LOSSES[loss].gauss_newton
    return of_loss == "J" or (of_loss is not None and activation == "identity")
