"""Train one network."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from perceptron import (
    Dataset,
    EpochResult,
    Network,
    Standardization,
    TrainingConfig,
    TrainingState,
    evaluate,
    fit,
    forward,
    result_of,
    split,
    unfold,
    with_learning_rate,
)
from storage.jobs.spec import TrainingSpec
from worker.best import Best
from worker.watch import Watch, epochs_between_looks


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training came to."""

    network: Network
    standardization: Standardization
    config: TrainingConfig
    """As it was used: with the learning rate that `auto` stood for, and the settings that won a sweep."""
    outcome: Mapping[str, Any]
    """What the job's result and the version's description have in common."""


def train_one(
    spec: TrainingSpec,
    config: TrainingConfig,
    dataset: Dataset,
    watch: Watch,
    n_threads: int,
    *,
    start: Network | None = None,
    resume_from: TrainingState | None = None,
    holds_out: bool = True,
    **progress: Any,
) -> Trained:
    """Train one network; with a validation, on the rows that are not held out.

    Raises:
        TimeUpError: the time limit passed before there was any network.
    """
    rows, held_out = dataset, None
    patience = None
    if spec.validation is not None and holds_out:
        rows, held_out = split(dataset, spec.task, spec.validation.fraction, config.seed)
        patience = spec.validation.early_stopping_patience
    standardization = _standardization(rows, config)
    rows = rows.with_features(standardization.apply(rows.features)) if config.standardize else rows
    if held_out is not None and config.standardize:
        held_out = held_out.with_features(standardization.apply(held_out.features))
    config = with_learning_rate(rows, spec.network, config)

    results = fit(
        rows,
        spec.network,
        config,
        validation=held_out,
        early_stopping_patience=patience,
        start=None if start is None else unfold(start, standardization),
        resume_from=resume_from,
        n_threads=n_threads,
        every=epochs_between_looks(spec),
    )
    # Should the time be up before the first epoch of this attempt: what an earlier one came to.
    result = None if resume_from is None else result_of(resume_from, rows, spec.network)
    for result in watch.epochs(results, has_any=resume_from is not None):
        is_time_up = watch.is_time_up(
            result.epoch,
            result.cost,
            result.validation_cost,
            is_last=result.stop_reason is not None,
            total_epochs=result.epoch,
            state=partial(getattr, result, "state"),
            # The first epochs of a refit are no better than the candidate that it refits.
            best=partial(_best, result, standardization) if holds_out else lambda: None,
            **progress,
        )
        if is_time_up:
            break
    assert result is not None, "else there was a TimeUpError"
    kept = result.best
    metrics = metrics_of(spec, rows, forward(kept.network, rows.features))
    if held_out is not None:
        of_held_out = metrics_of(spec, held_out, forward(kept.network, held_out.features))
        metrics = {"evaluated_on": "validation", **of_held_out, "training": metrics}
    else:
        metrics = {"evaluated_on": "training", **metrics}
    outcome = {
        "stop_reason": result.stop_reason or "time_limit",
        "epochs": result.epoch,
        "best_epoch": kept.epoch,
        "cost": kept.cost,
        "validation_cost": kept.validation_cost,
        "metrics": metrics,
    }
    return Trained(kept.network, standardization, config, outcome)


def _best(result: EpochResult, standardization: Standardization) -> Best:
    kept = result.best
    return Best(kept.network, standardization, kept.epoch, kept.cost, kept.validation_cost)


def _standardization(dataset: Dataset, config: TrainingConfig) -> Standardization:
    if config.standardize:
        return Standardization.of(dataset.features)
    return Standardization.identity(dataset.n_features)


def metrics_of(spec: TrainingSpec, dataset: Dataset, outputs: NDArray[Any]) -> dict[str, Any]:
    """Say how good outputs (n_instances, n_outputs) are for these instances."""
    figures = evaluate(spec.task, outputs, dataset.targets, dataset.instance_weights)
    return {"n_instances": dataset.n_instances, **figures}
