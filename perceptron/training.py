"""The training loop: a generator that hands back control after each epoch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from perceptron.architecture import Architecture, flatten
from perceptron.arrays import Floats
from perceptron.config import NetworkConfig, TrainingConfig, check_trainable, default_initialization
from perceptron.dataset import Dataset
from perceptron.epochs import Iterate, Training, epoch_rng, training_of
from perceptron.errors import DimensionError, DivergedError, InvalidConfigError, InvalidDatasetError
from perceptron.initialization import initialize
from perceptron.network import Network
from perceptron.objective import Objective

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

    @property
    def best(self) -> "EpochResult":
        """The epoch to keep: with early stopping that of the lowest validation cost so far, else this one."""
        return self.earlier_best or self


class TrainingState(NamedTuple):
    """All that the rest of a training depends on, beside its arguments.

    There is no state of a random generator: the one of an epoch comes from the seed and the epoch alone.
    """

    epoch: int
    iterate: Iterate
    recent_costs: tuple[float, ...]
    """before this epoch, newest last: as many as the convergence test looks at, that of the start included"""
    best: EpochResult | None = None
    """with early stopping, the epoch of the lowest validation cost so far"""


def fit(
    dataset: Dataset,
    network_config: NetworkConfig,
    training_config: TrainingConfig,
    *,
    validation: Dataset | None = None,
    early_stopping_patience: int | None = None,
    start: Network | None = None,
) -> Iterator[EpochResult]:
    """Train a network and yield after each epoch; the arguments are checked at once, before the first.

    The features are taken as they are: standardizing is the caller's (see `Standardization`). The cost of an
    epoch is that at the weights after it. Training stops with the first of

        converged        |previous cost - cost| < tolerance, never when tolerance is 0; the previous cost of
                         the first epoch is that of the start. With mini-batches the best of the last 5 costs
                         stands for the previous one. For perceptron_rule instead: an epoch without a mistake.
        early_stopping   `early_stopping_patience` epochs in a row without a validation cost below the lowest
        max_epochs       the last epoch asked for

    and `best` of the last result is the epoch to keep. The same arguments give the same results, bit by bit.

    Args:
        dataset: the training set.
        network_config: the network to train.
        training_config: how to train it; an initialization of None is the default for the network.
        validation: instances to report the cost of, never trained on.
        early_stopping_patience: None to go on whatever the validation cost.
        start: a network of the same shape to go on from, instead of an initialization.

    Raises:
        InvalidConfigError: the configs do not go together, or `start` is of another shape.
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
    if network_config.activation == "step" and dataset.n_outputs != 1:
        raise InvalidDatasetError(f"step has one output, got targets with {dataset.n_outputs}")
    training = training_of(architecture, _as_dtype(dataset, training_config.dtype), training_config)
    validation_objective: Objective | None = None
    if validation is not None:
        _check_same_shape(dataset, validation)
        converted = _as_dtype(validation, training_config.dtype)
        validation_objective = Objective(architecture, converted, loss=training_config.loss)
    parameters = _first_parameters(architecture, network_config, training_config, start)
    return _results(
        architecture,
        training,
        training_config,
        parameters,
        validation_cost_of=validation_objective.cost if validation_objective else None,
        patience=early_stopping_patience,
    )


def _results(
    architecture: Architecture,
    training: Training,
    config: TrainingConfig,
    parameters: Floats,
    *,
    validation_cost_of: Callable[[Floats], float] | None,
    patience: int | None,
) -> Iterator[EpochResult]:
    # errstate is entered per computation, never around a yield: there it would change the caller's warnings.
    with np.errstate(all="ignore"):
        first = training.start(parameters)
    if not math.isfinite(first.cost):
        raise DivergedError(0, config.learning_rate)
    state = TrainingState(0, first, recent_costs=())
    while True:
        with np.errstate(all="ignore"):
            state = _next_state(state, training)
            parameters, cost = state.iterate.parameters, state.iterate.cost
            validation_cost = validation_cost_of(parameters) if validation_cost_of else None
        is_finite = math.isfinite(cost) and (validation_cost is None or math.isfinite(validation_cost))
        if not is_finite or not np.isfinite(parameters).all():
            raise DivergedError(state.epoch, config.learning_rate)
        parameters.setflags(write=False)
        result = EpochResult(state.epoch, architecture.network(parameters), cost, validation_cost)
        if patience is not None:
            state = state._replace(best=_better(state.best, result))
        stop_reason = _stop_reason(state, config, patience)
        earlier_best = None if state.best is result else state.best
        yield EpochResult(result.epoch, result.network, cost, validation_cost, stop_reason, earlier_best)
        if stop_reason is not None:
            return


def _next_state(state: TrainingState, training: Training) -> TrainingState:
    epoch = state.epoch + 1
    iterate = training.epoch(state.iterate, epoch)
    recent_costs = (*state.recent_costs, state.iterate.cost)[-training.n_costs_compared :]
    return TrainingState(epoch, iterate, recent_costs, state.best)


def _stop_reason(state: TrainingState, config: TrainingConfig, patience: int | None) -> StopReason | None:
    if state.iterate.n_mistakes is not None:
        has_converged = state.iterate.n_mistakes == 0
    else:
        has_converged = abs(min(state.recent_costs) - state.iterate.cost) < config.tolerance
    if has_converged:
        return "converged"
    if patience is not None and state.best is not None and state.epoch - state.best.epoch >= patience:
        return "early_stopping"
    return "max_epochs" if state.epoch >= config.max_epochs else None


def _better(best: EpochResult | None, result: EpochResult) -> EpochResult:
    assert result.validation_cost is not None, "early stopping has a validation set"
    if best is None or best.validation_cost is None or result.validation_cost < best.validation_cost:
        return result
    return best


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


def _as_dtype(dataset: Dataset, dtype: str) -> Dataset:
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
