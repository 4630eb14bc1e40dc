"""The training loop: a generator that hands back control after each epoch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from perceptron.activations import ACTIVATIONS
from perceptron.architecture import Architecture, NetworkConfig, flatten
from perceptron.arrays import Floats
from perceptron.config import TrainingConfig, check_size, check_trainable
from perceptron.data.dataset import Dataset
from perceptron.errors import DimensionError, DivergedError, InvalidConfigError, InvalidDatasetError
from perceptron.initialization import default_initialization, initialize
from perceptron.network import Network
from perceptron.objective import Networks, Objective
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.curvature import with_learning_rate
from perceptron.optimizers.optimizer import FastLoop, Iterate, Problem, Training, epoch_rng

StopReason: TypeAlias = Literal["converged", "max_epochs", "early_stopping"]


@dataclass(frozen=True, eq=False)
class EpochResult:
    """Where training stands after an epoch. Only the last one of a training has a stop reason."""

    epoch: int
    """1, 2, ..."""
    network: Network
    """as this epoch left it; its arrays cannot be written to"""
    cost: float
    """of the training set at this network, with the l2 penalty: what is minimised"""
    validation_cost: float | None = None
    """of the validation set at this network, without the penalty"""
    stop_reason: StopReason | None = None
    earlier_best: "EpochResult | None" = None
    """with early stopping, the epoch of the lowest validation cost when it is not this one"""
    state: "TrainingState | None" = None
    """what `fit` goes on from after this epoch; None for an earlier best"""

    @property
    def best(self) -> "EpochResult":
        """The epoch to keep: with early stopping that of the lowest validation cost so far, else this one."""
        return self.earlier_best or self


class KeptEpoch(NamedTuple):
    """An epoch to come back to."""

    epoch: int
    parameters: Floats
    """(n_parameters,)"""
    cost: float
    validation_cost: float


class TrainingState(NamedTuple):
    """All that the rest of a training depends on, beside its arguments: named tuples of arrays and numbers.

    There is no state of a random generator: the one of an epoch comes from the seed and the epoch alone.
    """

    epoch: int
    iterate: Iterate
    recent_costs: tuple[float, ...]
    """before this epoch, newest last, as many as the convergence test looks at; the first is that of the start"""
    best: KeptEpoch | None = None
    """with early stopping, the epoch of the lowest validation cost so far"""
    validation_cost: float | None = None
    """at this epoch"""


def fit(
    dataset: Dataset,
    network_config: NetworkConfig,
    training_config: TrainingConfig,
    *,
    validation: Dataset | None = None,
    early_stopping_patience: int | None = None,
    start: Network | None = None,
    resume_from: TrainingState | None = None,
    n_threads: int = 1,
    every: int = 1,
) -> Iterator[EpochResult]:
    """Train a network and yield after each epoch; the arguments are checked at once, before the first.

    The features are taken as they are: standardizing is the caller's (see `Standardization`). The cost of an
    epoch is that at the weights after it. Training stops with the first of

        converged        |previous cost - cost| < tolerance, never when tolerance is 0; the previous cost of
                         the first epoch is that of the start. With mini-batches the best of the last 5 costs
                         stands for the previous one. For perceptron_rule instead: an epoch without a mistake.
        early_stopping   `early_stopping_patience` epochs in a row without a validation cost below the lowest
        max_epochs       the last epoch asked for

    and `best` of the last result is the epoch to keep. The same arguments give the same results, bit by bit, on the
    same NumPy, BLAS and kind of CPU.

    Args:
        dataset: the training set.
        network_config: the network to train.
        training_config: how to train it; an initialization of None is the default for the network. What "auto"
            stands for tells `with_learning_rate`.
        validation: instances to report the cost of, never trained on.
        early_stopping_patience: None to go on whatever the validation cost.
        start: a network of the same shape to go on from, instead of an initialization.
        resume_from: the `state` of an epoch of a training with these same arguments, which is gone on with: the
            results after that epoch are the same, bit by bit.
        n_threads: how many threads share the rows of a large data set; another number changes only rounding.
        every: yield only after so many epochs, and after the last. On a small data set an epoch takes less time
            than it takes to hand it over.

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
    training_config = with_learning_rate(dataset, network_config, training_config)
    converted = as_dtype(dataset, training_config.dtype)
    validation_cost_of: Callable[[Floats], float] | None = None
    if validation is not None:
        _check_same_shape(dataset, validation)
        validation_cost_of = _cost_of(architecture, as_dtype(validation, training_config.dtype), training_config)
    optimizer = OPTIMIZERS[training_config.optimizer]
    problem = Problem(
        Objective(architecture, converted, loss=training_config.loss, n_threads=n_threads),
        Networks.single(training_config.l2),
        np.array([training_config.known_learning_rate]),
        training_config.mini_batch_size(dataset.n_instances),
        training_config.seed,
    )
    training = optimizer.training(problem)
    if resume_from is None:
        parameters = _first_parameters(architecture, network_config, training_config, start)[np.newaxis]
        begin = partial(_first_state, training, parameters, training_config)
    else:
        begin = partial(_checked, resume_from, architecture, training_config)
        begin()
    return _results(
        architecture,
        training,
        training_config,
        begin,
        validation_cost_of=validation_cost_of,
        patience=early_stopping_patience,
        fast_loop=optimizer.fast_loop(problem) if optimizer.fast_loop and validation is None else None,
        every=every,
    )


def _cost_of(architecture: Architecture, dataset: Dataset, config: TrainingConfig) -> Callable[[Floats], float]:
    objective = Objective(architecture, dataset, loss=config.loss)
    unpenalized = Networks.single()
    return lambda parameters: float(objective.cost(parameters, unpenalized)[0])


def result_of(state: TrainingState, dataset: Dataset, network_config: NetworkConfig) -> EpochResult:
    """Give the epoch that a state of a training on the data set belongs to."""
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    return _result(state, architecture, None)


def _results(
    architecture: Architecture,
    training: Training,
    config: TrainingConfig,
    begin: Callable[[], TrainingState],
    *,
    validation_cost_of: Callable[[Floats], float] | None,
    patience: int | None,
    fast_loop: FastLoop | None,
    every: int,
) -> Iterator[EpochResult]:
    state = begin()
    stop_reason: StopReason | None = None
    while stop_reason is None:
        with np.errstate(all="ignore"):
            last = min(state.epoch + every, config.max_epochs)
            while stop_reason is None and state.epoch < last:
                if fast_loop is not None:
                    n_done, iterate, previous = fast_loop.run(state.iterate, last - state.epoch, config.tolerance)
                    state = TrainingState(state.epoch + n_done, iterate, (previous,))
                else:
                    state = _next_state(state, training, validation_cost_of)
                _check_finite(state, config)
                if patience is not None:
                    state = state._replace(best=_better(state))
                stop_reason = _stop_reason(state, training, config, patience)
        yield _result(state, architecture, stop_reason)


def _first_state(training: Training, parameters: Floats, config: TrainingConfig) -> TrainingState:
    # errstate is entered per computation, never around a yield: there it would change the caller's warnings.
    with np.errstate(all="ignore"):
        first = training.start(parameters)
    if not math.isfinite(first.costs[0]):
        raise DivergedError(0, config.known_learning_rate)
    return TrainingState(0, first, recent_costs=())


def _next_state(
    state: TrainingState, training: Training, validation_cost_of: Callable[[Floats], float] | None
) -> TrainingState:
    epoch = state.epoch + 1
    iterate = training.epoch(state.iterate, epoch)
    recent_costs = (*state.recent_costs, float(state.iterate.costs[0]))[-training.n_costs_compared :]
    validation_cost = validation_cost_of(iterate.parameters) if validation_cost_of else None
    return TrainingState(epoch, iterate, recent_costs, state.best, validation_cost)


def _check_finite(state: TrainingState, config: TrainingConfig) -> None:
    costs_are_finite = math.isfinite(state.iterate.costs[0]) and math.isfinite(state.validation_cost or 0.0)
    if not costs_are_finite or not np.isfinite(state.iterate.parameters).all():
        raise DivergedError(state.epoch, config.known_learning_rate)


def _result(state: TrainingState, architecture: Architecture, stop_reason: StopReason | None) -> EpochResult:
    parameters = state.iterate.parameters[0]
    parameters.setflags(write=False)
    best = state.best
    return EpochResult(
        state.epoch,
        architecture.network(parameters),
        float(state.iterate.costs[0]),
        state.validation_cost,
        stop_reason,
        earlier_best=None
        if best is None or best.epoch == state.epoch
        else EpochResult(best.epoch, architecture.network(best.parameters), best.cost, best.validation_cost),
        state=state,
    )


def _stop_reason(
    state: TrainingState, training: Training, config: TrainingConfig, patience: int | None
) -> StopReason | None:
    if training.has_converged is not None:
        has_converged = training.has_converged(state.iterate)
    else:
        has_converged = abs(min(state.recent_costs) - float(state.iterate.costs[0])) < config.tolerance
    if has_converged:
        return "converged"
    if patience is not None and state.best is not None and state.epoch - state.best.epoch >= patience:
        return "early_stopping"
    return "max_epochs" if state.epoch >= config.max_epochs else None


def _better(state: TrainingState) -> KeptEpoch:
    assert state.validation_cost is not None, "early stopping has a validation set"
    if state.best is None or state.validation_cost < state.best.validation_cost:
        parameters = state.iterate.parameters[0]
        return KeptEpoch(state.epoch, parameters, float(state.iterate.costs[0]), state.validation_cost)
    return state.best


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
        initialization = config.initialization or default_initialization(network_config)
        parameters = initialize(architecture, initialization, epoch_rng(config.seed, 0))
    elif Architecture.of_network(start) == architecture:
        parameters = flatten(start)
    else:
        raise InvalidConfigError(
            f"expected to start from {architecture}, got {Architecture.of_network(start)}", field="network"
        )
    return parameters.astype(config.dtype)


def as_dtype(dataset: Dataset, dtype: str) -> Dataset:
    """Convert features and targets.

    Raises:
        InvalidDatasetError: a number is too large for the dtype.
    """
    with np.errstate(over="ignore"):
        features = dataset.features.astype(dtype, copy=False)
        targets = dataset.targets.astype(dtype, copy=False)
    try:
        return Dataset(features, targets, dataset.instance_weights)
    except InvalidDatasetError as error:
        raise InvalidDatasetError(f"a number is too large for {dtype}: {error}") from error


def _check_same_shape(dataset: Dataset, validation: Dataset) -> None:
    if validation.n_features != dataset.n_features:
        raise DimensionError(dataset.n_features, validation.n_features)
    if validation.n_outputs != dataset.n_outputs:
        raise InvalidDatasetError(
            f"expected validation targets with {dataset.n_outputs} values, got {validation.n_outputs}"
        )
