"""Train many candidates at once, on every fold, and give the best one."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from perceptron import (
    Candidate,
    Dataset,
    DivergedError,
    OneByOneState,
    RaceState,
    SweepProgress,
    TargetScaling,
    TrainedNetwork,
    TrainingConfig,
    TrainingState,
    fit_sweep,
    fold,
    forward,
    held_out_parts,
)
from storage.codec import decode_model, encode_model
from storage.jobs.checkpoints import Checkpoint, RefitStage
from storage.jobs.reports import EndReason, Figures, LeaderboardEntry, Metrics, Result
from storage.jobs.spec import TrainingSpec
from worker.deadline import TimeUpError
from worker.single import Inputs, Trained, constant_cost_of, metrics_of_outputs, n_weights, penalty_of, refit
from worker.warnings import Judged, warnings_of
from worker.watch import BestNetwork, Position, Watch, epochs_between_looks


@dataclass(frozen=True, eq=False)
class _Sweep:
    """What a sweep trains, and the fold of each instance.

    `fold_of` is None when no rows are held out; else (n_instances,), with -1 for the rows that every network trains on.
    """

    inputs: Inputs
    candidates: tuple[Candidate, ...]
    fold_of: NDArray[np.intp] | None


def train_candidates(inputs: Inputs, watch: Watch, *, checkpoint: Checkpoint | None = None) -> Trained:
    """Train all candidates of a sweep, each on every fold, and give the best one.

    With folds, or if the job asks for a refit, the best one is trained once more on all rows. If the time limit passes
    before that ends, the result is a network that was measured already: the winner's, or with folds that of its first
    fold, with its own figures.

    Raises:
        TimeUpError: the time limit passed before there was any network.
        DivergedError: every candidate has diverged, on one fold at least.
    """
    spec = inputs.spec
    own = Candidate(spec.training.learning_rate, spec.training.l2, spec.training.seed)
    sweep = _Sweep(inputs, spec.sweep.candidates if spec.sweep is not None else (own,), _fold_of(spec, inputs.dataset))
    if checkpoint is not None and checkpoint.refit is not None:
        return _refit(sweep, watch, checkpoint.refit, checkpoint.state)
    networks, total_epochs = _run(sweep, watch, None if checkpoint is None else checkpoint.state)

    with watch.deadline.paused():  # evaluation must not be ended by the time limit
        by_candidate = _by_candidate(networks)
        leaderboard = _leaderboard(sweep, by_candidate)
        best = leaderboard[0]
        winners = by_candidate[best.candidate]
        if best.stop_reason == "diverged" or best.cost is None:
            raise DivergedError(best.epochs, min(one.learning_rate for one in winners))
        winner, config = winners[0], sweep.candidates[best.candidate].config(spec.training)
        assert winner.network is not None and winner.cost is not None, "the best candidate did not diverge"
        metrics, evaluated = _metrics_of(sweep, winners)
        result = Result(
            stop_reason=best.stop_reason,
            epochs=best.epochs,
            best_epoch=best.best_epoch,
            cost=best.cost,
            validation_cost=best.validation_cost,
            metrics=metrics,
            leaderboard=leaderboard,
        )
        is_refitted = len(winners) > 1 or (spec.sweep is not None and spec.sweep.refit)
        result = _warned(sweep, winners, result, config, evaluated, is_refitted=is_refitted)
        if not is_refitted:
            return Trained(winner.network, winner.standardization, config, result)
        metrics, evaluated = _metrics_of(sweep, [winner])
        fallback = replace(
            result,
            epochs=winner.epochs,
            best_epoch=winner.best_epoch,
            cost=winner.cost,
            validation_cost=winner.validation_cost,
            metrics=metrics,
        )
        fallback = _warned(sweep, [winner], fallback, config, evaluated, is_refitted=False)
        fallback = replace(fallback, stop_reason="time_limit")
        weights = encode_model(winner.network, winner.standardization)
    return _refit(sweep, watch, RefitStage(result, fallback, weights, total_epochs), None)


def _warned(
    sweep: _Sweep,
    networks: Sequence[TrainedNetwork],
    result: Result,
    config: TrainingConfig,
    evaluated: Dataset,
    *,
    is_refitted: bool,
) -> Result:
    """Return the result of networks of one candidate with its warnings."""
    spec, dataset, fold_of = sweep.inputs.spec, sweep.inputs.dataset, sweep.fold_of
    scaling = TargetScaling.of(dataset.targets, dataset.instance_weights, is_used=config.scale_targets)
    trained = [one.network for one in networks if one.network is not None]
    is_held_out = np.zeros(dataset.n_instances, dtype=bool) if fold_of is None else fold_of == networks[0].fold
    judged = Judged(
        spec.task,
        config,
        result,
        evaluated=evaluated,
        n_trained=dataset.n_instances if is_refitted else int(np.count_nonzero(~is_held_out)),
        n_weights=n_weights(trained[0]),
        penalty=float(np.mean([penalty_of(scaling.unfold(network), config, scaling) for network in trained])),
        constant_cost=constant_cost_of(spec, dataset, scaling),
        constant_validation_cost=None if fold_of is None else constant_cost_of(spec, evaluated, scaling),
    )
    return replace(result, warnings=warnings_of(judged))


def _fold_of(spec: TrainingSpec, dataset: Dataset) -> NDArray[np.intp] | None:
    if spec.validation is None:
        return None
    return held_out_parts(dataset, spec.task, spec.validation, spec.training.seed)


def _run(sweep: _Sweep, watch: Watch, state: RaceState | OneByOneState | None) -> tuple[Sequence[TrainedNetwork], int]:
    """Give what became of every candidate on every fold, and how many epochs it took."""
    spec = sweep.inputs.spec
    n_folds = 1 if sweep.fold_of is None else int(sweep.fold_of.max()) + 1
    results = fit_sweep(
        sweep.inputs.dataset,
        spec.network,
        spec.training,
        sweep.candidates,
        fold_of=sweep.fold_of,
        early_stopping_patience=spec.validation.early_stopping_patience if spec.validation else None,
        resume_from=state,
        n_threads=sweep.inputs.n_threads,
        every=epochs_between_looks(spec, len(sweep.candidates) * n_folds),
    )
    trained: Sequence[TrainedNetwork] | None = None
    for progress in watch.epochs(results):
        position = Position(
            epoch=progress.epoch,
            cost=progress.cost,
            validation_cost=progress.validation_cost,
            is_last=progress.is_last,
            total_epochs=progress.total_epochs,
            state=progress.state,
            best=partial(_best, progress),
            candidates=len(sweep.candidates),
            running=progress.n_running,
        )
        # Ask now: once the next epoch has begun, and was perhaps interrupted, the networks are unfinished.
        trained = progress.trained()
        if watch.after_epoch(position):
            break
    if trained is None:
        raise TimeUpError
    return trained, progress.total_epochs


def _refit(sweep: _Sweep, watch: Watch, stage: RefitStage, state: TrainingState | None) -> Trained:
    """Train the winner on all rows, for as many epochs as were best on the rows held out; or give the fallback."""
    assert stage.result.leaderboard is not None, "a sweep has one"
    spec = sweep.inputs.spec
    config = sweep.candidates[stage.result.leaderboard[0].candidate].config(spec.training)
    watch.begin_refit(stage)
    if not watch.deadline.has_passed:
        try:
            refitted = refit(
                sweep.inputs, watch, replace(config, max_epochs=stage.result.best_epoch), resume_from=state
            )
        except TimeUpError:
            pass
        else:
            if refitted.result.stop_reason != "time_limit":
                return replace(refitted, result=replace(stage.result, cost=refitted.result.cost, is_refitted=True))
    watch.tell("the time limit passed before the refit ended: publishing the network that was measured")
    activations = (spec.network.hidden_activation,) * len(spec.network.hidden_layers) + (spec.task.activation,)
    stored = decode_model(stage.fallback_weights, activations)
    return Trained(stored.network, stored.standardization, config, stage.fallback)


def _best(progress: SweepProgress) -> BestNetwork | None:
    """Give the network with the lowest cost on the rows held out, or else on the rows that it trained on."""
    best: TrainedNetwork | None = None
    lowest = math.inf
    for one in progress.trained():
        measure = one.cost if one.validation_cost is None else one.validation_cost
        if measure is not None and measure < lowest:
            best, lowest = one, measure
    if best is None or best.network is None:
        return None
    return BestNetwork(best.network, best.standardization, Figures(best.best_epoch, best.cost, best.validation_cost))


def _by_candidate(networks: Sequence[TrainedNetwork]) -> dict[int, list[TrainedNetwork]]:
    """Group the networks; candidates that have not begun have none."""
    groups = defaultdict(list)
    for one in networks:
        groups[one.candidate].append(one)
    return groups


def _leaderboard(sweep: _Sweep, networks: dict[int, list[TrainedNetwork]]) -> tuple[LeaderboardEntry, ...]:
    """Rank the candidates by the cost of the rows held out, else by their cost; diverged ones come last."""
    fold_of = sweep.fold_of
    # Only ratios count: without folds there is a single one.
    rows_in = [1] if fold_of is None else np.bincount(fold_of + 1, sweep.inputs.dataset.cost_weights)[1:].tolist()
    entries = []
    for k, candidate in enumerate(sweep.candidates):
        ones = networks.get(k, [])
        sizes = [rows_in[one.fold or 0] for one in ones]
        entries.append(
            LeaderboardEntry(
                rank=0,
                candidate=k,
                learning_rate=candidate.learning_rate,
                l2=candidate.l2,
                seed=candidate.seed,
                validation_cost=_mean([one.validation_cost for one in ones], sizes),
                cost=_mean([one.cost for one in ones], sizes),
                epochs=max((one.epochs for one in ones), default=0),
                best_epoch=max(1, round(sum(one.best_epoch for one in ones) / max(len(ones), 1))),
                stop_reason=_stop_reason(ones),
            )
        )
    measures = [entry.cost if fold_of is None else entry.validation_cost for entry in entries]
    order = sorted(range(len(entries)), key=lambda k: (measures[k] is None, measures[k] or 0.0))
    return tuple(replace(entries[k], rank=rank) for rank, k in enumerate(order, start=1))


def _stop_reason(networks: list[TrainedNetwork]) -> EndReason | Literal["diverged"]:
    """Give one reason for all folds of a candidate: diverged if one did, else the last by name."""
    # None: the time was up while it ran, or before it began.
    reasons = {one.stop_reason or "time_limit" for one in networks} or {"time_limit"}
    return "diverged" if "diverged" in reasons else max(reasons)


def _mean(values: list[float | None], sizes: list[int]) -> float | None:
    """Average by the sizes of the folds; None when one of the values is, or there are none."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    return float(np.average(known, weights=sizes))


def _metrics_of(sweep: _Sweep, networks: list[TrainedNetwork]) -> tuple[Metrics, Dataset]:
    """Evaluate networks of one candidate together, each on the rows of the fold that it did not train on.

    Returns:
        The metrics, and the rows that they were measured on.
    """
    dataset, fold_of = sweep.inputs.dataset, sweep.fold_of
    outputs = np.empty((dataset.n_instances, sweep.inputs.spec.task.n_outputs))
    is_judged = np.zeros(dataset.n_instances, dtype=bool)
    for one in networks:
        assert one.network is not None, "the best candidate did not diverge"
        rows = np.arange(dataset.n_instances) if fold_of is None else np.flatnonzero(fold_of == one.fold)
        outputs[rows] = forward(fold(one.network, one.standardization), dataset.features[rows])
        is_judged[rows] = True
    judged = np.flatnonzero(is_judged)
    evaluated = sweep.inputs.dataset.take(judged)
    on = "training" if fold_of is None else "validation" if len(networks) == 1 else "folds"
    return {"evaluated_on": on, **metrics_of_outputs(sweep.inputs.spec, evaluated, outputs[judged])}, evaluated
