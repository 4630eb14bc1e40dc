"""Networks of many candidates and folds trained together: each epoch is one product for all that still run."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from perceptron.architecture import Architecture, NetworkConfig
from perceptron.arrays import Floats, Rows
from perceptron.config import TrainingConfig
from perceptron.data.dataset import Dataset
from perceptron.errors import InvalidConfigError
from perceptron.initialization import default_initialization, initialize
from perceptron.objective import Networks, Objective
from perceptron.optimizers import OPTIMIZERS
from perceptron.optimizers.curvature import curvature, rate_for
from perceptron.optimizers.optimizer import Iterate, Problem, epoch_rng
from perceptron.sweeps.candidates import Candidate, CandidateStop, SweepProgress, TrainedNetwork
from perceptron.sweeps.fold_units import FoldUnits


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
    running: Rows


class RaceState(NamedTuple):
    """All that the rest of a race depends on, beside its arguments. Arrays are by network; see `_Race`."""

    epoch: int
    iterate: Iterate
    """of those that still run"""
    running: Rows
    parameters: Floats
    costs: NDArray[np.float64]
    held_out_costs: NDArray[np.float64] | None
    epochs: Rows
    best_epochs: Rows
    stop_reasons: tuple[CandidateStop | None, ...]


def train_together(
    dataset: Dataset,
    network_config: NetworkConfig,
    config: TrainingConfig,
    candidates: Sequence[Candidate],
    units: FoldUnits,
    patience: int | None,
    n_threads: int,
    every: int,
    resume_from: RaceState | None,
) -> Iterator[SweepProgress]:
    """Train all networks at once; the arguments are those of `fit_sweep`."""
    architecture = Architecture.of(network_config, n_inputs=dataset.n_features, n_outputs=dataset.n_outputs)
    objective = Objective(architecture, dataset, loss=config.loss, folds=units.folds, n_threads=n_threads)
    optimizer = OPTIMIZERS[config.optimizer]
    n_each = len(units.held_out)
    candidate = np.repeat(np.arange(len(candidates)), n_each)
    fold = np.tile(np.arange(n_each), len(candidates))
    l2 = np.array([one.l2 for one in candidates])[candidate]
    learning_rates = _learning_rates(dataset, network_config, config, candidates, units)
    networks = Networks(l2, None if units.fold_of is None else fold)
    if resume_from is None:
        training = optimizer.training(Problem(objective, networks, learning_rates))
        parameters = _first_parameters(architecture, network_config, config, candidates)[candidate]
        with np.errstate(all="ignore"):
            resume_from = _first_state(training.start(parameters), has_folds=units.fold_of is not None)
    _check_shapes(resume_from, len(candidate), architecture)
    iterate, running = resume_from.iterate, resume_from.running
    race = _Race(
        candidate,
        fold,
        resume_from.parameters.copy(),
        resume_from.costs.copy(),
        None if resume_from.held_out_costs is None else resume_from.held_out_costs.copy(),
        resume_from.epochs.copy(),
        resume_from.best_epochs.copy(),
        list(resume_from.stop_reasons),
        learning_rates,
        running,
    )
    networks = networks.take(running)
    training = optimizer.training(Problem(objective, networks, learning_rates[running]))
    for epoch in range(resume_from.epoch + 1, config.max_epochs + 1):
        previous = iterate.costs
        with np.errstate(all="ignore"):
            iterate = training.epoch(iterate, epoch)
            stops = _stops(
                race,
                previous,
                iterate.costs,
                iterate.evaluation.held_out_costs,
                iterate.parameters,
                epoch,
                config,
                patience,
            )
            going_on = np.array([stop is None for stop in stops])
            if not going_on.all():
                for which in np.flatnonzero(~going_on):
                    race.stop_reasons[race.running[which]] = stops[which]
                race.running = race.running[going_on]
                iterate, networks = iterate.take(np.flatnonzero(going_on)), networks.take(np.flatnonzero(going_on))
                training = optimizer.training(Problem(objective, networks, learning_rates[race.running]))
        if not race.running.size:
            break
        if epoch % every == 0:
            yield _progress(race, epoch, iterate, architecture, units)
    yield _progress(race, epoch, iterate, architecture, units)


def _first_parameters(
    architecture: Architecture, network_config: NetworkConfig, config: TrainingConfig, candidates: Sequence[Candidate]
) -> Floats:
    """Give those of each candidate, (n_candidates, n_parameters)."""
    initialization = config.initialization or default_initialization(network_config)
    first = [initialize(architecture, initialization, epoch_rng(one.seed, 0)) for one in candidates]
    return np.array(first).astype(config.dtype)


def _first_state(iterate: Iterate, *, has_folds: bool) -> RaceState:
    n = len(iterate.costs)
    return RaceState(
        epoch=0,
        iterate=iterate,
        running=np.arange(n),
        parameters=iterate.parameters,
        costs=np.full(n, np.inf),
        held_out_costs=np.full(n, np.inf) if has_folds else None,
        epochs=np.zeros(n, dtype=np.intp),
        best_epochs=np.zeros(n, dtype=np.intp),
        stop_reasons=(None,) * n,
    )


def _check_shapes(state: RaceState, n_networks: int, architecture: Architecture) -> None:
    expected, running = (n_networks, architecture.n_parameters), (len(state.running), architecture.n_parameters)
    if state.parameters.shape != expected or state.iterate.parameters.shape != running:
        raise InvalidConfigError(
            f"expected to resume from parameters {expected}, got {state.parameters.shape}", field="network"
        )


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


def _progress(race: _Race, epoch: int, iterate: Iterate, architecture: Architecture, units: FoldUnits) -> SweepProgress:
    costs = race.costs[np.isfinite(race.costs)]
    held_out = None if race.held_out_costs is None else race.held_out_costs[np.isfinite(race.held_out_costs)]
    return SweepProgress(
        epoch,
        n_running=len(race.running),
        cost=float(costs.min()) if costs.size else None,
        validation_cost=float(held_out.min()) if held_out is not None and held_out.size else None,
        is_last=not race.running.size,
        total_epochs=epoch,
        trained=lambda: tuple(_trained(race, architecture, units)),
        state=lambda: RaceState(
            epoch,
            iterate,
            race.running,
            race.parameters.copy(),
            race.costs.copy(),
            None if race.held_out_costs is None else race.held_out_costs.copy(),
            race.epochs.copy(),
            race.best_epochs.copy(),
            tuple(race.stop_reasons),
        ),
    )


def _trained(race: _Race, architecture: Architecture, units: FoldUnits) -> Iterator[TrainedNetwork]:
    for k, stop_reason in enumerate(race.stop_reasons):
        fold = None if units.fold_of is None else int(race.fold[k])
        is_usable = stop_reason != "diverged"
        yield TrainedNetwork(
            candidate=int(race.candidate[k]),
            fold=fold,
            network=architecture.network(race.parameters[k].copy()) if is_usable else None,
            standardization=units.from_raw(fold),
            cost=float(race.costs[k]) if is_usable else None,
            validation_cost=None if not is_usable or race.held_out_costs is None else float(race.held_out_costs[k]),
            epochs=int(race.epochs[k]),
            best_epoch=int(race.best_epochs[k]),
            stop_reason=stop_reason,
            learning_rate=float(race.learning_rates[k]),
        )
