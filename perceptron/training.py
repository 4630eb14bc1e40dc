"""The training loop: a generator that hands back control after each epoch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture, NetworkConfig, flatten
from perceptron.arrays import Floats
from perceptron.config import TrainingConfig, check_size, check_trainable
from perceptron.cost import Evaluation, Networks
from perceptron.course import Course
from perceptron.data.dataset import Dataset
from perceptron.divergence import Advice
from perceptron.errors import DimensionError, InvalidConfigError, InvalidDatasetError
from perceptron.initialization import default_initialization, initialize
from perceptron.network import Network
from perceptron.objective import Objective
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.curvature import with_learning_rate
from perceptron.optimizers.optimizer import FastLoop, Iterate, Problem, Training, epoch_rng
from perceptron.stopping import Kept, StopReason, StopRule, is_finite


@dataclass(frozen=True, eq=False)
class EpochResult:
    """The state of training after an epoch. Only the last one of a training has a stop reason."""

    epoch: int
    """1, 2, ..."""
    network: Network
    """after this epoch; its arrays cannot be written to"""
    cost: float
    """of the training set at this network, with the l2 penalty: what is minimised"""
    validation_cost: float | None = None
    """of the validation set at this network, without the penalty"""
    stop_reason: StopReason | None = None
    """never "diverged", which is an error"""
    earlier_best: "EpochResult | None" = None
    """with early stopping, the epoch of the lowest validation cost when it is not this one"""
    state: "TrainingState | None" = None
    """`fit` can resume from it after this epoch; None for an earlier best"""

    @property
    def best(self) -> "EpochResult":
        """The epoch to keep: with early stopping that of the lowest validation cost so far, else this one."""
        return self.earlier_best or self


class TrainingState(NamedTuple):
    """Everything that the rest of a training depends on, besides its arguments: named tuples of arrays and numbers.

    It holds no random generator: the one of an epoch follows from the seed and the epoch alone.
    """

    epoch: int
    iterate: Iterate
    """of the one network, with its validation cost as held-out cost"""
    recent_costs: tuple[float, ...]
    """before this epoch, newest last, as many as the convergence test looks at; the first is that of the start"""
    course: Course
    best: Kept | None = None
    """with early stopping, the epoch of the lowest validation cost so far"""


def fit(
    dataset: Dataset,
    network_config: NetworkConfig,
    training_config: TrainingConfig,
    *,
    validation: Dataset | None = None,
    early_stopping_patience: int | None = None,
    start: Network | None = None,
    resume_from: TrainingState | None = None,
    auto_rate: float | None = None,
    n_threads: int = 1,
    every: int = 1,
) -> Iterator[EpochResult]:
    """Train a network and yield after each epoch; the arguments are checked at once, before the first.

    The features are taken as they are: standardizing is the caller's (see `Standardization`). The cost of an
    epoch is that at the weights after it. Training stops by the `StopRule`. The previous cost of the first epoch is
    that of the start. With mini-batches the cost is compared with the lowest of the last 5; perceptron_rule has
    converged instead after an epoch without a mistake. `best` of the last result is the epoch to keep. The same
    arguments give the same results, bit by bit, on the same NumPy, BLAS and kind of CPU.

    Args:
        dataset: the training set.
        network_config: the network to train.
        training_config: how to train it; an initialization of None is the default for the network.
        validation: instances to report the cost of, never trained on.
        early_stopping_patience: None to ignore the validation cost.
        start: the network to begin with, of the same shape, instead of an initialization.
        resume_from: the `state` of an epoch of a training with these same arguments; the epochs after it give the
            same results, bit by bit.
        auto_rate: what `with_learning_rate` gives for a learning rate "auto"; None: it is computed here.
        n_threads: how many threads share the rows of a large data set; their number changes no byte.
        every: yield only after so many epochs, and after the last. On a small data set an epoch takes less time
            than yielding it.

    Raises:
        InvalidConfigError: the configs do not go together, or `start` or `resume_from` is of another shape.
        InvalidDatasetError: a data set cannot be used in the dtype asked for, or for these outputs.
        DimensionError: the validation set has other features than the training set.
        DivergedError: (while iterating) the cost or a weight is no longer finite.

    References:
        S. Ravi, "Neural Networks: The Math", 2022.
    """
    check_trainable(network_config, training_config)
    if early_stopping_patience is not None and validation is None:
        raise InvalidConfigError(
            "early stopping needs a validation set, got none", field="validation/early_stopping_patience"
        )
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    check_size(training_config, architecture)
    if dataset.n_outputs != 1 and not ACTIVATIONS[network_config.activation].has_gradient:
        raise InvalidDatasetError(f"{network_config.activation} has one output, got targets with {dataset.n_outputs}")
    adapts = training_config.learning_rate == "auto" and bool(network_config.hidden_layers)
    if training_config.learning_rate == "auto" and auto_rate is not None:
        config = replace(training_config, learning_rate=auto_rate)
    else:
        config = with_learning_rate(dataset, network_config, training_config)
    objective = Objective(architecture, dataset.as_dtype(config.dtype), loss=config.loss, n_threads=n_threads)
    problem = Problem(
        objective,
        Networks.single(config.l2),
        np.array([config.known_learning_rate]),
        config.mini_batch_size(dataset.n_instances),
        config.seed,
        np.array([adapts]),
    )
    optimizer = OPTIMIZERS[config.optimizer]
    training = optimizer.training(problem)
    fast_loop: FastLoop | None = None
    if validation is not None:
        _check_same_shape(dataset, validation)
        training = _validated(training, Objective(architecture, validation.as_dtype(config.dtype), loss=config.loss))
    elif optimizer.fast_loop is not None:
        fast_loop = optimizer.fast_loop(problem)
    rule = StopRule.of(config, early_stopping_patience)
    advice = Advice(dataset, network_config, config)
    if resume_from is None:
        parameters = _first_parameters(architecture, network_config, config, start)[np.newaxis]
        begin = partial(_first_state, training, parameters, rule, advice)
    else:
        begin = partial(_checked, resume_from, architecture, config)
        begin()
    return _results(_Loop(architecture, training, fast_loop, rule, advice), begin, every)


def result_of(state: TrainingState, dataset: Dataset, network_config: NetworkConfig) -> EpochResult:
    """Give the result of the epoch that a state of a training on the data set belongs to."""
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    return _result(state, architecture, None)


@dataclass(frozen=True, eq=False)
class _Loop:
    """What does not change while a network is trained."""

    architecture: Architecture
    training: Training
    fast_loop: FastLoop | None
    rule: StopRule
    advice: Advice

    def next_state(self, state: TrainingState, n_epochs: int) -> tuple[TrainingState, StopReason | None]:
        """Train one epoch, or with the fast loop at most n_epochs.

        Raises:
            DivergedError: the cost or a weight is no longer finite.
        """
        if self.fast_loop is not None:
            n_done, iterate, course = self.fast_loop(state.iterate, state.course, n_epochs, self.rule.n_still_epochs)
            epoch, recent_costs = state.epoch + n_done, state.recent_costs
        else:
            epoch = state.epoch + 1
            iterate = self.training.epoch(state.iterate, epoch)
            recent_costs = (*state.recent_costs, float(state.iterate.costs[0]))[-self.training.n_costs_compared :]
            course = state.course.after(min(recent_costs), iterate.costs)
        best = state.best if self.rule.patience is None else _better(state.best, epoch, iterate)
        has_converged = self.training.has_converged
        (reason,) = self.rule.reasons(
            epoch,
            course,
            is_finite=is_finite(iterate).tolist(),
            best_epochs=(epoch,) if best is None else best.epochs.tolist(),
            kept_costs=(iterate if best is None else best).costs.tolist(),
            has_converged=None if has_converged is None else [has_converged(iterate)],
        )
        if reason == "diverged":
            cost = float(iterate.costs[0]) if is_finite(iterate)[0] else math.inf
            raise self.advice.error(epoch, cost)
        return TrainingState(epoch, iterate, recent_costs, course, best), reason


def _results(loop: _Loop, begin: Callable[[], TrainingState], every: int) -> Iterator[EpochResult]:
    state = begin()
    reason: StopReason | None = None
    while reason is None:
        # errstate is entered for the computation, never around a yield: there it would change the caller's warnings.
        with np.errstate(all="ignore"):
            last = min(state.epoch + every, loop.rule.max_epochs)
            while reason is None and state.epoch < last:
                state, reason = loop.next_state(state, last - state.epoch)
        yield _result(state, loop.architecture, reason)


def _validated(training: Training, validation: Objective) -> Training:
    """Add the cost of a validation set to every epoch."""
    unpenalized = Networks.single()

    def epoch(iterate: Iterate, k: int) -> Iterate:
        after = training.epoch(iterate, k)
        costs = validation.cost(after.parameters, unpenalized)
        return Iterate(after.parameters, Evaluation(after.costs, after.gradients, costs), after.optimizer_state)

    return training._replace(epoch=epoch)


def _first_state(training: Training, parameters: Floats, rule: StopRule, advice: Advice) -> TrainingState:
    with np.errstate(all="ignore"):
        first = training.start(parameters)
    if not np.isfinite(first.costs[0]):
        raise advice.error(0, float(first.costs[0]))
    return TrainingState(0, first, (), rule.begin(first.costs, np.array([advice.constant_cost])))


def _better(best: Kept | None, epoch: int, iterate: Iterate) -> Kept:
    """Give the epoch with the lower validation cost."""
    if best is None or _validation_cost(iterate) < _validation_cost(best):
        return Kept(np.array([epoch]), iterate.parameters, iterate.costs, iterate.held_out_costs)
    return best


def _validation_cost(of: Iterate | Kept) -> float:
    assert of.held_out_costs is not None, "early stopping has a validation set"
    return float(of.held_out_costs[0])


def _result(state: TrainingState, architecture: Architecture, stop_reason: StopReason | None) -> EpochResult:
    best, earlier_best = state.best, None
    if best is not None and best.epochs[0] != state.epoch:
        earlier_best = _epoch_result(int(best.epochs[0]), best, architecture)
    now = _epoch_result(state.epoch, state.iterate, architecture)
    return replace(now, stop_reason=stop_reason, earlier_best=earlier_best, state=state)


def _epoch_result(epoch: int, at: Iterate | Kept, architecture: Architecture) -> EpochResult:
    parameters = at.parameters[0]
    parameters.setflags(write=False)
    validation_cost = None if at.held_out_costs is None else float(at.held_out_costs[0])
    return EpochResult(epoch, architecture.network(parameters), float(at.costs[0]), validation_cost)


def _checked(state: TrainingState, architecture: Architecture, config: TrainingConfig) -> TrainingState:
    parameters = state.iterate.parameters
    if parameters.shape != (1, architecture.n_parameters) or parameters.dtype != config.dtype:
        raise InvalidConfigError(
            f"expected to resume from {architecture.n_parameters} parameters in {config.dtype}, "
            f"got {parameters.shape} in {parameters.dtype}",
            field="network",
        )
    if not state.epoch < config.max_epochs:
        raise InvalidConfigError(
            f"expected to resume from before epoch {config.max_epochs}, got {state.epoch}", field="training/max_epochs"
        )
    return state


def _first_parameters(
    architecture: Architecture, network_config: NetworkConfig, config: TrainingConfig, start: Network | None
) -> Floats:
    if start is None:
        return initial_parameters(architecture, network_config, config)
    if Architecture.of_network(start) != architecture:
        raise InvalidConfigError(
            f"expected to start from {architecture}, got {Architecture.of_network(start)}", field="network"
        )
    return flatten(start).astype(config.dtype)


def initial_parameters(architecture: Architecture, network_config: NetworkConfig, config: TrainingConfig) -> Floats:
    """Draw the parameters (n_parameters,) that a training with the config starts from."""
    initialization = config.initialization or default_initialization(network_config)
    return initialize(architecture, initialization, epoch_rng(config.seed, 0)).astype(config.dtype)


def _check_same_shape(dataset: Dataset, validation: Dataset) -> None:
    if validation.n_features != dataset.n_features:
        raise DimensionError(dataset.n_features, validation.n_features)
    if validation.n_outputs != dataset.n_outputs:
        raise InvalidDatasetError(
            f"expected validation targets with {dataset.n_outputs} values, got {validation.n_outputs}"
        )
