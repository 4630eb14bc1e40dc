"""Many candidates trained in one job: together where they can share the products over the data, else one by one."""

from collections.abc import Iterator, Sequence

from perceptron.arrays import Rows
from perceptron.candidates import Candidate, CandidateStop, SweepProgress, TrainedNetwork
from perceptron.config import NetworkConfig, TrainingConfig, check_trainable
from perceptron.curvature import with_learning_rate
from perceptron.dataset import Dataset
from perceptron.errors import DivergedError
from perceptron.fold_units import FoldUnits
from perceptron.race import train_together
from perceptron.training import EpochResult, as_dtype, fit


def fit_sweep(
    dataset: Dataset,
    network_config: NetworkConfig,
    training_config: TrainingConfig,
    candidates: Sequence[Candidate],
    *,
    fold_of: Rows | None = None,
    early_stopping_patience: int | None = None,
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

    Raises:
        InvalidConfigError: the configs do not go together.
        InvalidDatasetError: the data set cannot be used in the dtype asked for.
        DivergedError: (while iterating) every candidate diverged.
    """
    for candidate in candidates:
        check_trainable(network_config, candidate.config(training_config))
    units = FoldUnits(dataset, fold_of, standardize=training_config.standardize)
    standardized = as_dtype(units.dataset, training_config.dtype)
    # Mini-batches of different seeds share no rows, and Rosenblatt's rule has no gradient to share.
    one_by_one = training_config.optimizer == "perceptron_rule" or (
        training_config.batch_size is not None and training_config.batch_size < dataset.n_instances
    )
    if one_by_one:
        networks = _one_by_one(
            standardized, network_config, training_config, candidates, units, early_stopping_patience
        )
    else:
        networks = train_together(
            standardized, network_config, training_config, candidates, units, early_stopping_patience, n_threads, every
        )
    return _unless_all_diverged(networks)


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
) -> Iterator[SweepProgress]:
    trained: list[TrainedNetwork] = []
    n_networks, n_epochs = len(candidates) * len(units.held_out), 0
    for k, candidate in enumerate(candidates):
        for fold in units.held_out:
            trained.append(_alone(dataset, network_config, candidate.config(config), units, k, fold, patience))
            n_epochs = max(n_epochs, trained[-1].epochs)
            yield SweepProgress(
                n_epochs,
                n_running=n_networks - len(trained),
                cost=min((one.cost for one in trained if one.cost is not None), default=None),
                validation_cost=min(
                    (one.validation_cost for one in trained if one.validation_cost is not None), default=None
                ),
                is_last=len(trained) == n_networks,
                trained=lambda: tuple(trained),
            )


def _alone(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    units: FoldUnits,
    candidate: int,
    fold: int | None,
    patience: int | None,
) -> TrainedNetwork:
    rows, held_out = units.training_set(fold, dataset), units.validation_set(fold, dataset)
    config = with_learning_rate(rows, network_config, config)
    kept: EpochResult | None = None
    stop_reason: CandidateStop | None = None
    epochs = best_epoch = 0
    try:
        for result in fit(rows, network_config, config, validation=held_out, early_stopping_patience=patience):
            kept, stop_reason = result.best, result.stop_reason
            epochs, best_epoch = result.epoch, result.best.epoch
    except DivergedError as error:
        kept, stop_reason, epochs = None, "diverged", error.epoch
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
