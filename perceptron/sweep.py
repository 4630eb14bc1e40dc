"""Many candidates trained at once: the settings differ, the features are read once for all of them."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from perceptron.architecture import Architecture
from perceptron.arrays import Floats, Rows
from perceptron.config import LearningRate, NetworkConfig, TrainingConfig, check_trainable, default_initialization
from perceptron.curvature import curvature, rate_for, with_learning_rate
from perceptron.dataset import Dataset
from perceptron.epochs import epoch_rng, full_batch
from perceptron.errors import DivergedError
from perceptron.initialization import initialize
from perceptron.network import Network
from perceptron.objective import Folds, Networks, Objective
from perceptron.standardization import Standardization
from perceptron.training import StopReason, as_dtype, fit

CandidateStop: TypeAlias = StopReason | Literal["diverged"]


@dataclass(frozen=True)
class Candidate:
    """What one candidate of a sweep has of its own; everything else is common to all."""

    learning_rate: LearningRate
    l2: float
    seed: int

    def config(self, common: TrainingConfig) -> TrainingConfig:
        """Give the config that trains this candidate alone."""
        return replace(common, learning_rate=self.learning_rate, l2=self.l2, seed=self.seed)


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """What became of one candidate, on one fold."""

    candidate: int
    fold: int | None
    """the fold that it did not train on"""
    network: Network | None
    """for features standardized by `standardization`, of the epoch to keep; None when it diverged"""
    standardization: Standardization
    cost: float | None
    """of what it trained on, with the penalty; None when it diverged"""
    validation_cost: float | None
    """of the fold held out, without the penalty; None without folds or when it diverged"""
    epochs: int
    best_epoch: int
    stop_reason: CandidateStop | None
    """None when it still ran"""
    learning_rate: float
    """with "auto" what it came to on this fold"""


@dataclass(frozen=True)
class SweepProgress:
    """Where a sweep stands after an epoch."""

    epoch: int
    n_running: int
    """networks that still train: candidates times folds"""
    cost: float | None
    """the lowest one; None while all have diverged"""
    validation_cost: float | None
    """the lowest one of a fold"""
    is_last: bool
    trained: Callable[[], tuple[TrainedNetwork, ...]]
    """gives the networks as they are now, by candidate, then by fold; to be asked before the sweep goes on"""


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
    n_folds = 0 if fold_of is None else int(fold_of.max()) + 1
    units = _Units(dataset, fold_of, n_folds, standardize=training_config.standardize)
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
        networks = _together(
            standardized, network_config, training_config, candidates, units, early_stopping_patience, n_threads, every
        )
    return _unless_all_diverged(networks)


def _unless_all_diverged(progress: Iterator[SweepProgress]) -> Iterator[SweepProgress]:
    for result in progress:
        if result.is_last and all(network.stop_reason == "diverged" for network in result.trained()):
            raise DivergedError(result.epoch, min(network.learning_rate for network in result.trained()))
        yield result


class _Units:
    """The features in common units, and what standardizes them further for each fold."""

    def __init__(self, dataset: Dataset, fold_of: Rows | None, n_folds: int, *, standardize: bool) -> None:
        self.fold_of = fold_of
        self.n_folds = n_folds
        n_features = dataset.n_features
        self._common = Standardization.of(dataset.features) if standardize else Standardization.identity(n_features)
        self.dataset = dataset.with_features(self._common.apply(dataset.features)) if standardize else dataset
        # In common units the mean and scale of a fold are near 0 and 1, and folding them into weights loses nothing.
        self._of_fold = [
            Standardization.of(self.dataset.features[self.training_rows(fold)])
            if standardize
            else Standardization.identity(n_features)
            for fold in range(n_folds)
        ]

    @property
    def folds(self) -> Folds | None:
        if self.fold_of is None:
            return None
        return Folds(
            self.fold_of,
            np.array([standardization.mean for standardization in self._of_fold]),
            np.array([standardization.scale for standardization in self._of_fold]),
        )

    def training_rows(self, fold: int) -> Rows:
        assert self.fold_of is not None, "only with folds are there rows held out"
        return np.flatnonzero(self.fold_of != fold)

    def without(self, fold: int | None, dataset: Dataset) -> Dataset:
        """Give the instances that train when the fold is held out, in its units, of a data set in common units."""
        if fold is None:
            return dataset
        rows = dataset.take(self.training_rows(fold))
        return rows.with_features(self.of_fold(fold).apply(rows.features))

    def of_fold(self, fold: int | None) -> Standardization:
        """Give the standardization from common units to those of a fold's networks."""
        return Standardization.identity(self.dataset.n_features) if fold is None else self._of_fold[fold]

    def from_raw(self, fold: int | None) -> Standardization:
        """Give the standardization from raw units to those of a fold's networks."""
        further = self.of_fold(fold)
        return Standardization(
            self._common.mean + self._common.scale * further.mean, self._common.scale * further.scale
        )


@dataclass
class _Race:
    """All networks of a sweep, and which of them still run. Arrays are by network."""

    candidate: Rows
    fold: Rows
    parameters: Floats
    costs: NDArray[np.float64]
    held_out_costs: NDArray[np.float64] | None
    epochs: Rows
    best_epochs: Rows
    stop_reasons: list[CandidateStop | None]
    learning_rates: NDArray[np.float64]
    running: Rows = field(init=False)

    def __post_init__(self) -> None:
        self.running = np.arange(len(self.candidate))


def _together(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    candidates: Sequence[Candidate],
    units: _Units,
    patience: int | None,
    n_threads: int,
    every: int,
) -> Iterator[SweepProgress]:
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    objective = Objective(architecture, dataset, loss=config.loss, folds=units.folds, n_threads=n_threads)
    n_each = max(units.n_folds, 1)
    candidate = np.repeat(np.arange(len(candidates)), n_each)
    fold = np.tile(np.arange(n_each), len(candidates))
    l2 = np.array([one.l2 for one in candidates])[candidate]
    learning_rates = _learning_rates(dataset, network_config, config, candidates, units)
    initialization = config.initialization or default_initialization(network_config)
    parameters = np.array([initialize(architecture, initialization, epoch_rng(one.seed, 0)) for one in candidates])
    parameters = parameters[candidate].astype(config.dtype)

    networks = Networks(l2, None if units.fold_of is None else fold)
    with np.errstate(all="ignore"):
        training = full_batch(objective, networks, config.optimizer, learning_rates)
        iterate = training.start(parameters)
    n = len(candidate)
    race = _Race(
        candidate,
        fold,
        parameters.copy(),
        np.full(n, np.inf),
        None if units.fold_of is None else np.full(n, np.inf),
        np.zeros(n, dtype=np.intp),
        np.zeros(n, dtype=np.intp),
        [None] * n,
        learning_rates,
    )
    for epoch in range(1, config.max_epochs + 1):
        previous = iterate.costs
        with np.errstate(all="ignore"):
            iterate = training.epoch(iterate, epoch)
            stops = _stops(
                race, previous, iterate.costs, iterate.held_out_costs, iterate.parameters, epoch, config, patience
            )
            going_on = np.array([stop is None for stop in stops])
            if not going_on.all():
                for which in np.flatnonzero(~going_on):
                    race.stop_reasons[race.running[which]] = stops[which]
                race.running = race.running[going_on]
                iterate, networks = iterate.take(np.flatnonzero(going_on)), networks.take(np.flatnonzero(going_on))
                training = full_batch(objective, networks, config.optimizer, learning_rates[race.running])
        if not race.running.size:
            break
        if epoch % every == 0:
            yield _progress(race, epoch, architecture, units)
    yield _progress(race, epoch, architecture, units)


def _learning_rates(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    candidates: Sequence[Candidate],
    units: _Units,
) -> NDArray[np.float64]:
    """Give that of each network, by candidate, then by fold."""
    folds: list[int | None] = [None] if units.fold_of is None else list(range(units.n_folds))
    curvatures = [math.nan] * len(folds)
    if any(one.learning_rate == "auto" for one in candidates):
        curvatures = [curvature(units.without(fold, dataset), network_config, config.loss) for fold in folds]
    return np.array(
        [
            rate_for(of_fold, one.l2) if isinstance(one.learning_rate, str) else one.learning_rate
            for one in candidates
            for of_fold in curvatures
        ]
    )


def _stops(
    race: _Race,
    previous: NDArray[np.float64],
    costs: NDArray[np.float64],
    held_out_costs: NDArray[np.float64] | None,
    parameters: Floats,
    epoch: int,
    config: TrainingConfig,
    patience: int | None,
) -> list[CandidateStop | None]:
    """Note where each running network is, and say which of them stop here, and why."""
    running = race.running
    race.epochs[running] = epoch
    is_finite = np.isfinite(costs) & np.isfinite(parameters).all(axis=1)
    if held_out_costs is not None:
        is_finite &= np.isfinite(held_out_costs)
    is_kept = is_finite
    if patience is not None and race.held_out_costs is not None and held_out_costs is not None:
        is_kept = is_finite & (held_out_costs < race.held_out_costs[running])
    kept = running[is_kept]
    race.parameters[kept], race.costs[kept], race.best_epochs[kept] = parameters[is_kept], costs[is_kept], epoch
    if race.held_out_costs is not None and held_out_costs is not None:
        race.held_out_costs[kept] = held_out_costs[is_kept]

    has_converged = np.abs(previous - costs) < config.tolerance
    is_out_of_patience = np.zeros(len(running), dtype=bool)
    if patience is not None:
        is_out_of_patience = epoch - race.best_epochs[running] >= patience
    stops: list[CandidateStop | None] = []
    for finite, converged, impatient in zip(is_finite, has_converged, is_out_of_patience, strict=True):
        if not finite:
            stops.append("diverged")
        elif converged:
            stops.append("converged")
        elif impatient:
            stops.append("early_stopping")
        else:
            stops.append("max_epochs" if epoch == config.max_epochs else None)
    return stops


def _progress(race: _Race, epoch: int, architecture: Architecture, units: _Units) -> SweepProgress:
    costs = race.costs[np.isfinite(race.costs)]
    held_out = None if race.held_out_costs is None else race.held_out_costs[np.isfinite(race.held_out_costs)]
    return SweepProgress(
        epoch,
        n_running=len(race.running),
        cost=float(costs.min()) if costs.size else None,
        validation_cost=float(held_out.min()) if held_out is not None and held_out.size else None,
        is_last=not race.running.size,
        trained=lambda: tuple(_trained(race, architecture, units)),
    )


def _trained(race: _Race, architecture: Architecture, units: _Units) -> Iterator[TrainedNetwork]:
    for k, stop_reason in enumerate(race.stop_reasons):
        fold = None if units.fold_of is None else int(race.fold[k])
        is_usable = stop_reason != "diverged"
        yield TrainedNetwork(
            candidate=int(race.candidate[k]),
            fold=fold,
            network=architecture.network(race.parameters[k]) if is_usable else None,
            standardization=units.from_raw(fold),
            cost=float(race.costs[k]) if is_usable else None,
            validation_cost=None if not is_usable or race.held_out_costs is None else float(race.held_out_costs[k]),
            epochs=int(race.epochs[k]),
            best_epoch=int(race.best_epochs[k]),
            stop_reason=stop_reason,
            learning_rate=float(race.learning_rates[k]),
        )


def _one_by_one(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    candidates: Sequence[Candidate],
    units: _Units,
    patience: int | None,
) -> Iterator[SweepProgress]:
    trained: list[TrainedNetwork] = []
    folds: list[int | None] = [None] if units.fold_of is None else list(range(units.n_folds))
    n_epochs = 0
    for k, candidate in enumerate(candidates):
        for fold in folds:
            rows, held_out = units.without(fold, dataset), None
            if fold is not None and units.fold_of is not None:
                held_out = dataset.take(np.flatnonzero(units.fold_of == fold))
                held_out = held_out.with_features(units.of_fold(fold).apply(held_out.features))
            trained.append(_alone(rows, held_out, network_config, candidate.config(config), units, k, fold, patience))
            n_epochs = max(n_epochs, trained[-1].epochs)
            finite = [one for one in trained if one.stop_reason != "diverged"]
            yield SweepProgress(
                n_epochs,
                n_running=len(candidates) * len(folds) - len(trained),
                cost=min((one.cost for one in finite if one.cost is not None), default=None),
                validation_cost=min(
                    (one.validation_cost for one in finite if one.validation_cost is not None), default=None
                ),
                is_last=len(trained) == len(candidates) * len(folds),
                trained=lambda: tuple(trained),
            )


def _alone(
    rows: Dataset,
    held_out: Dataset | None,
    network_config: NetworkConfig,
    config: TrainingConfig,
    units: _Units,
    candidate: int,
    fold: int | None,
    patience: int | None,
) -> TrainedNetwork:
    standardization = units.from_raw(fold)
    config, epochs = with_learning_rate(rows, network_config, config), 0
    try:
        for result in fit(rows, network_config, config, validation=held_out, early_stopping_patience=patience):
            epochs = result.epoch
    except DivergedError as error:
        return TrainedNetwork(
            candidate,
            fold,
            None,
            standardization,
            None,
            None,
            error.epoch,
            epochs,
            "diverged",
            config.known_learning_rate,
        )
    kept = result.best
    assert result.stop_reason is not None, "the last result of a training says why it stopped"
    return TrainedNetwork(
        candidate,
        fold,
        kept.network,
        standardization,
        kept.cost,
        kept.validation_cost,
        result.epoch,
        kept.epoch,
        result.stop_reason,
        config.known_learning_rate,
    )
