"""Networks of many candidates and folds trained together: each epoch is one product for all that still run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from perceptron.architecture import Architecture
from perceptron.arrays import Floats, Rows
from perceptron.candidates import Candidate, CandidateStop, SweepProgress, TrainedNetwork
from perceptron.config import NetworkConfig, TrainingConfig, default_initialization
from perceptron.curvature import curvature, rate_for
from perceptron.dataset import Dataset
from perceptron.epochs import epoch_rng, full_batch
from perceptron.fold_units import FoldUnits
from perceptron.initialization import initialize
from perceptron.objective import Networks, Objective


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


def train_together(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    candidates: Sequence[Candidate],
    units: FoldUnits,
    patience: int | None,
    n_threads: int,
    every: int,
) -> Iterator[SweepProgress]:
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    objective = Objective(architecture, dataset, loss=config.loss, folds=units.folds, n_threads=n_threads)
    n_each = len(units.held_out)
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
    units: FoldUnits,
) -> NDArray[np.float64]:
    """Give that of each network, by candidate, then by fold."""
    curvatures = [math.nan] * len(units.held_out)
    if any(one.learning_rate == "auto" for one in candidates):
        curvatures = [
            curvature(units.training_set(fold, dataset), network_config, config.loss) for fold in units.held_out
        ]
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


def _progress(race: _Race, epoch: int, architecture: Architecture, units: FoldUnits) -> SweepProgress:
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


def _trained(race: _Race, architecture: Architecture, units: FoldUnits) -> Iterator[TrainedNetwork]:
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
