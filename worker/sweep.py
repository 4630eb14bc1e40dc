"""Train many candidates at once, on every fold, and give the best one."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perceptron import (
    Candidate,
    Dataset,
    OneByOneState,
    RaceState,
    SweepProgress,
    TrainedNetwork,
    TrainingState,
    assign_folds,
    fit_sweep,
    fold,
    forward,
    validation_rows,
)
from storage.jobs.checkpoints import Checkpoint
from storage.jobs.spec import TrainingSpec
from worker.best import Best
from worker.deadline import TimeUpError
from worker.single import Trained, metrics_of, train_one
from worker.watch import Watch, epochs_between_looks


def train_candidates(
    spec: TrainingSpec, dataset: Dataset, watch: Watch, n_threads: int, *, checkpoint: Checkpoint | None = None
) -> Trained:
    """Train all candidates of a sweep, each on every fold, and give the best one.

    Raises:
        TimeUpError: the time limit passed before there was any network.
    """
    own = Candidate(spec.training.learning_rate, spec.training.l2, spec.training.seed)
    candidates = spec.sweep.candidates if spec.sweep is not None else (own,)
    if checkpoint is not None and "outcome" in checkpoint.stage:
        return _refit(spec, candidates, dataset, watch, n_threads, checkpoint.stage, checkpoint.state)
    state = None if checkpoint is None else checkpoint.state
    fold_of = _fold_of(spec, dataset)
    trained, total_epochs = _run(spec, candidates, dataset, fold_of, watch, n_threads, state)

    leaderboard = _leaderboard(candidates, trained, dataset, fold_of)
    best = leaderboard[0]
    winners = [one for one in trained if one.candidate == best["candidate"]]
    outcome = {
        "stop_reason": best["stop_reason"],
        "epochs": best["epochs"],
        "best_epoch": best["best_epoch"],
        "cost": best["cost"],
        "validation_cost": best["validation_cost"],
        "metrics": _metrics_of_winner(winners, spec, dataset, fold_of),
        "leaderboard": [{"rank": rank + 1, **entry} for rank, entry in enumerate(leaderboard)],
    }
    if len(winners) == 1 and not (spec.sweep is not None and spec.sweep.refit):
        (winner,) = winners
        assert winner.network is not None, "the best candidate did not diverge"
        config = candidates[best["candidate"]].config(spec.training)
        return Trained(winner.network, winner.standardization, config, outcome)
    stage = {"outcome": outcome, "total_epochs": total_epochs}
    return _refit(spec, candidates, dataset, watch, n_threads, stage, None)


def _fold_of(spec: TrainingSpec, dataset: Dataset) -> NDArray[np.intp] | None:
    validation = spec.validation
    if validation is None:
        return None
    if validation.folds is not None:
        return assign_folds(dataset, spec.task, validation.folds, spec.training.seed)
    fold_of = np.full(dataset.n_instances, -1)
    fold_of[validation_rows(dataset, spec.task, validation.fraction, spec.training.seed)] = 0
    return fold_of


def _run(
    spec: TrainingSpec,
    candidates: tuple[Candidate, ...],
    dataset: Dataset,
    fold_of: NDArray[np.intp] | None,
    watch: Watch,
    n_threads: int,
    state: RaceState | OneByOneState | None,
) -> tuple[tuple[TrainedNetwork, ...], int]:
    """Give what became of every candidate on every fold, and how many epochs it took."""
    n_networks = len(candidates) * (1 if fold_of is None else int(fold_of.max()) + 1)
    results = fit_sweep(
        dataset,
        spec.network,
        spec.training,
        candidates,
        fold_of=fold_of,
        early_stopping_patience=spec.validation.early_stopping_patience if spec.validation else None,
        resume_from=state,
        n_threads=n_threads,
        every=epochs_between_looks(spec, n_networks),
    )
    trained: tuple[TrainedNetwork, ...] | None = None
    for progress in watch.epochs(results):
        is_time_up = watch.is_time_up(
            progress.epoch,
            progress.cost,
            progress.validation_cost,
            is_last=progress.is_last,
            total_epochs=progress.total_epochs,
            state=progress.state,
            best=partial(_best, progress),
            candidates=len(candidates),
            running=progress.n_running,
        )
        # Once the next epoch has begun, and perhaps was interrupted, nothing can be asked any more.
        trained = progress.trained() if progress.is_last or is_time_up or watch.is_slow else None
        if is_time_up:
            break
    if trained is None:
        raise TimeUpError
    return trained, progress.total_epochs


def _refit(
    spec: TrainingSpec,
    candidates: tuple[Candidate, ...],
    dataset: Dataset,
    watch: Watch,
    n_threads: int,
    stage: Mapping[str, Any],
    state: TrainingState | None,
) -> Trained:
    """Train the best candidate on all rows, as long as it learned before it got worse on what it did not see.

    Args:
        stage: the outcome of the sweep, as it is written in checkpoints.
    """
    outcome = stage["outcome"]
    best = candidates[outcome["leaderboard"][0]["candidate"]]
    config = replace(best.config(spec.training), max_epochs=outcome["best_epoch"])
    watch.begin_stage(stage, epochs_before=stage["total_epochs"])
    refitted = train_one(spec, config, dataset, watch, n_threads, resume_from=state, holds_out=False, phase="refit")
    return replace(refitted, outcome={**outcome, "cost": refitted.outcome["cost"], "is_refitted": True})


def _best(progress: SweepProgress) -> Best | None:
    """Give the network with the lowest cost on the rows that it did not train on, or else of all."""
    best, lowest = None, math.inf
    for one in progress.trained():
        measure = one.cost if one.validation_cost is None else one.validation_cost
        if one.network is not None and measure is not None and measure < lowest:
            best = Best(one.network, one.standardization, one.best_epoch, one.cost, one.validation_cost)
            lowest = measure
    return best


def _leaderboard(
    candidates: tuple[Candidate, ...],
    trained: tuple[TrainedNetwork, ...],
    dataset: Dataset,
    fold_of: NDArray[np.intp] | None,
) -> list[dict[str, Any]]:
    """Rank the candidates by the cost of the rows held out, else by their cost; diverged ones come last."""
    entries = []
    for k, candidate in enumerate(candidates):
        networks = [one for one in trained if one.candidate == k]
        # None: the time was up while it ran, or before it began.
        reasons = {one.stop_reason or "time_limit" for one in networks} or {"time_limit"}
        sizes = [1 if one.fold is None or fold_of is None else int((fold_of == one.fold).sum()) for one in networks]
        entries.append(
            {
                "candidate": k,
                "learning_rate": candidate.learning_rate,
                "l2": candidate.l2,
                "seed": candidate.seed,
                "validation_cost": _mean([one.validation_cost for one in networks], sizes),
                "cost": _mean([one.cost for one in networks], sizes),
                "epochs": max((one.epochs for one in networks), default=0),
                "best_epoch": max(1, round(sum(one.best_epoch for one in networks) / max(len(networks), 1))),
                "stop_reason": "diverged" if "diverged" in reasons else sorted(reasons)[-1],
            }
        )
    measure = "cost" if fold_of is None else "validation_cost"
    return sorted(entries, key=lambda entry: (entry[measure] is None, entry[measure] or 0.0))


def _mean(values: list[float | None], sizes: list[int]) -> float | None:
    """Average by the sizes of the folds; None when one of the values is, or there are none."""
    if not values or any(value is None for value in values):
        return None
    return float(np.average([float(value or 0.0) for value in values], weights=sizes))


def _metrics_of_winner(
    winners: list[TrainedNetwork], spec: TrainingSpec, dataset: Dataset, fold_of: NDArray[np.intp] | None
) -> dict[str, Any]:
    """Evaluate the networks of the winner, each on the rows that it did not train on."""
    outputs = np.empty((dataset.n_instances, spec.task.n_outputs))
    is_judged = np.ones(dataset.n_instances, dtype=bool) if fold_of is None else fold_of >= 0
    for one in winners:
        assert one.network is not None, "the best candidate did not diverge"
        rows = np.flatnonzero(is_judged) if fold_of is None or one.fold is None else np.flatnonzero(fold_of == one.fold)
        outputs[rows] = forward(fold(one.network, one.standardization), dataset.features[rows])
    judged = np.flatnonzero(is_judged)
    on = "training" if fold_of is None else "validation" if len(winners) == 1 else "folds"
    return {"evaluated_on": on, **metrics_of(spec, dataset.take(judged), outputs[judged])}
