"""Many candidates trained in one job: together where they can share the products over the data, else one by one."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from perceptron.architecture import Architecture, NetworkConfig, flatten
from perceptron.arrays import Floats, Rows
from perceptron.config import TrainingConfig, check_size, check_trainable
from perceptron.data.dataset import Dataset
from perceptron.errors import DivergedError, InvalidConfigError
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.curvature import with_learning_rate
from perceptron.sweeps.candidates import Candidate, CandidateStop, SweepProgress, TrainedNetwork
from perceptron.sweeps.fold_units import FoldUnits
from perceptron.sweeps.race import RaceState, train_together
from perceptron.training import EpochResult, TrainingState, as_dtype, fit


class DoneNetwork(NamedTuple):
    """What became of one candidate, on one fold: a `TrainedNetwork` in arrays and numbers."""

    parameters: Floats | None
    """(n_parameters,); None when it diverged"""
    cost: float | None
    validation_cost: float | None
    epochs: int
    best_epoch: int
    stop_reason: CandidateStop | None
    learning_rate: float


class OneByOneState(NamedTuple):
    """All that the rest of a sweep depends on that trains its networks one by one, beside its arguments."""

    done: tuple[DoneNetwork, ...] = ()
    """by candidate, then by fold"""
    current: TrainingState | None = None
    """of the next one, when it has begun"""


def fit_sweep(
    dataset: Dataset,
    network_config: NetworkConfig,
    training_config: TrainingConfig,
    candidates: Sequence[Candidate],
    *,
    fold_of: Rows | None = None,
    early_stopping_patience: int | None = None,
    resume_from: RaceState | OneByOneState | None = None,
    n_threads: int = 1,
    every: int = 1,
) -> Iterator[SweepProgress]:
    """Train every candidate, on everything or without each fold in turn, and yield every so many epochs.

    Each ends up with the weights that `fit` would give it alone, to rounding; it stops by itself, as `fit` would, and
    then leaves the product. One that diverges is no error but says so; only when all do, the sweep fails.

    Args:
        dataset: all instances, as they came: standardizing is done here, since each fold has its own.
        training_config: what the candidates have in common.
        fold_of: (n_instances,), the fold of each instance, 0, 1, ...; those of -1 are in none and always train.
            None to train on all instances and hold out none.
        early_stopping_patience: epochs without a lower cost of the fold held out; needs folds.
        resume_from: the `state` of a sweep with these same arguments, which is gone on with: what it comes to is the
            same, bit by bit.

    Raises:
        InvalidConfigError: the configs do not go together, or `resume_from` does not go with them.
        InvalidDatasetError: the data set cannot be used in the dtype asked for.
        DivergedError: (while iterating) every candidate diverged.
    """
    for candidate in candidates:
        check_trainable(network_config, candidate.config(training_config))
    check_size(
        training_config, Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    )
    units = FoldUnits(dataset, fold_of, standardize=training_config.standardize)
    standardized = as_dtype(units.dataset, training_config.dtype)
    # Mini-batches of different seeds share no rows.
    has_mini_batches = training_config.mini_batch_size(dataset.n_instances) is not None
    one_by_one = has_mini_batches or not OPTIMIZERS[training_config.optimizer].races
    if one_by_one:
        if isinstance(resume_from, RaceState):
            raise _not_of_this_sweep()
        networks = _one_by_one(
            standardized,
            network_config,
            training_config,
            candidates,
            units,
            early_stopping_patience,
            n_threads,
            every,
            resume_from or OneByOneState(),
        )
    else:
        if isinstance(resume_from, OneByOneState):
            raise _not_of_this_sweep()
        networks = train_together(
            standardized,
            network_config,
            training_config,
            candidates,
            units,
            early_stopping_patience,
            n_threads,
            every,
            resume_from,
        )
    return _unless_all_diverged(networks)


def _not_of_this_sweep() -> InvalidConfigError:
    return InvalidConfigError("expected to resume from a state of this sweep, got one of another", field="training")


def _unless_all_diverged(progress: Iterator[SweepProgress]) -> Iterator[SweepProgress]:
    for result in progress:
        if result.is_last and all(network.stop_reason == "diverged" for network in result.trained()):
            raise DivergedError(result.epoch, min(network.learning_rate for network in result.trained()))
        yield result


def _one_by_one(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    candidates: Sequence[Candidate],
    units: FoldUnits,
    patience: int | None,
    n_threads: int,
    every: int,
    state: OneByOneState,
) -> Iterator[SweepProgress]:
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    order = [(k, fold) for k in range(len(candidates)) for fold in units.held_out]
    trained = [
        _restored(done, k, fold, architecture, units) for done, (k, fold) in zip(state.done, order, strict=False)
    ]
    begun = state.current
    for k, fold in order[len(trained) :]:
        config_of_one = candidates[k].config(config)
        for one, current in _alone(
            dataset, network_config, config_of_one, units, k, fold, patience, n_threads, every, begun
        ):
            yield _progress_of(trained, one, current, len(order))
        trained.append(one)
        begun = None


def _progress_of(
    trained: Sequence[TrainedNetwork], one: TrainedNetwork, current: TrainingState | None, n_networks: int
) -> SweepProgress:
    by_now = (*trained, one)
    done = by_now if one.stop_reason is not None else by_now[:-1]
    return SweepProgress(
        epoch=max(network.epochs for network in by_now),
        n_running=n_networks - len(done),
        cost=min((network.cost for network in by_now if network.cost is not None), default=None),
        validation_cost=min(
            (network.validation_cost for network in by_now if network.validation_cost is not None), default=None
        ),
        is_last=len(done) == n_networks,
        total_epochs=sum(network.epochs for network in by_now),
        trained=lambda: by_now,
        state=lambda: OneByOneState(
            tuple(_done(network) for network in done), current if one.stop_reason is None else None
        ),
    )


def _done(one: TrainedNetwork) -> DoneNetwork:
    return DoneNetwork(
        flatten(one.network) if one.network else None,
        one.cost,
        one.validation_cost,
        one.epochs,
        one.best_epoch,
        one.stop_reason,
        one.learning_rate,
    )


def _restored(
    done: DoneNetwork, candidate: int, fold: int | None, architecture: Architecture, units: FoldUnits
) -> TrainedNetwork:
    return TrainedNetwork(
        candidate,
        fold,
        network=None if done.parameters is None else architecture.network(done.parameters),
        standardization=units.from_raw(fold),
        cost=done.cost,
        validation_cost=done.validation_cost,
        epochs=done.epochs,
        best_epoch=done.best_epoch,
        stop_reason=done.stop_reason,
        learning_rate=done.learning_rate,
    )


def _alone(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    units: FoldUnits,
    candidate: int,
    fold: int | None,
    patience: int | None,
    n_threads: int,
    every: int,
    resume_from: TrainingState | None,
) -> Iterator[tuple[TrainedNetwork, TrainingState | None]]:
    """Train one network, and give what it is now and what to go on from."""
    rows, held_out = units.training_set(fold, dataset), units.validation_set(fold, dataset)
    config = with_learning_rate(rows, network_config, config)

    def network_of(
        kept: EpochResult | None, epochs: int, best_epoch: int, stop_reason: CandidateStop | None
    ) -> TrainedNetwork:
        return TrainedNetwork(
            candidate,
            fold,
            network=kept.network if kept else None,
            standardization=units.from_raw(fold),
            cost=kept.cost if kept else None,
            validation_cost=kept.validation_cost if kept else None,
            epochs=epochs,
            best_epoch=best_epoch,
            stop_reason=stop_reason,
            learning_rate=config.known_learning_rate,
        )

    best_epoch = 0
    try:
        for result in fit(
            rows,
            network_config,
            config,
            validation=held_out,
            early_stopping_patience=patience,
            resume_from=resume_from,
            n_threads=n_threads,
            every=every,
        ):
            best_epoch = result.best.epoch
            yield network_of(result.best, result.epoch, best_epoch, result.stop_reason), result.state
    except DivergedError as error:
        yield network_of(None, error.epoch, best_epoch, "diverged"), None
