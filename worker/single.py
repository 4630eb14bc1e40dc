"""Train one network."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

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
    without_constants,
)
from storage.jobs.reports import Figures, Result
from storage.jobs.spec import TrainingSpec
from worker.watch import BestNetwork, Position, Watch, epochs_between_looks


@dataclass(frozen=True, eq=False)
class Inputs:
    """What all trainings of a job have in common."""

    spec: TrainingSpec
    dataset: Dataset
    n_threads: int


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training came to."""

    network: Network
    standardization: Standardization
    config: TrainingConfig
    """As it was used: with the learning rate that `auto` stood for, and the settings that won a sweep."""
    result: Result


def train_one(
    inputs: Inputs,
    watch: Watch,
    *,
    start: Network | None = None,
    resume_from: TrainingState | None = None,
) -> Trained:
    """Train the network that the job describes; with a validation, on the rows that are not held out.

    Raises:
        TimeUpError: the time limit passed before there was any network.
    """
    spec = inputs.spec
    if spec.validation is None:
        return _train(inputs, watch, spec.training, None, start=start, resume_from=resume_from)
    rows, held_out = split(inputs.dataset, spec.task, spec.validation.fraction, spec.training.seed)
    return _train(replace(inputs, dataset=rows), watch, spec.training, held_out, start=start, resume_from=resume_from)


def refit(inputs: Inputs, watch: Watch, config: TrainingConfig, *, resume_from: TrainingState | None = None) -> Trained:
    """Train the winner of a sweep once more, on all rows.

    Raises:
        TimeUpError: the time limit passed before there was any network.
    """
    return _train(inputs, watch, config, None, resume_from=resume_from, is_refit=True)


def _train(
    inputs: Inputs,
    watch: Watch,
    config: TrainingConfig,
    held_out: Dataset | None,
    *,
    start: Network | None = None,
    resume_from: TrainingState | None = None,
    is_refit: bool = False,
) -> Trained:
    spec, rows = inputs.spec, inputs.dataset
    standardization = Standardization.identity(rows.n_features)
    if config.standardize:
        standardization = Standardization.of(rows.features, rows.instance_weights)
        rows = rows.with_features(standardization.apply(rows.features))
        if held_out is not None:
            held_out = held_out.with_features(standardization.apply(held_out.features))
    config = with_learning_rate(rows, spec.network, config)

    results = fit(
        rows,
        spec.network,
        config,
        validation=held_out,
        early_stopping_patience=None
        if held_out is None or spec.validation is None
        else spec.validation.early_stopping_patience,
        start=None if start is None else unfold(start, standardization),
        resume_from=resume_from,
        n_threads=inputs.n_threads,
        every=epochs_between_looks(spec),
    )
    # If the time is up before the first epoch of this attempt, the result of an earlier one counts.
    result = None if resume_from is None else result_of(resume_from, rows, spec.network)
    for result in watch.epochs(results, has_any=resume_from is not None):
        position = Position(
            epoch=result.epoch,
            cost=result.cost,
            validation_cost=result.validation_cost,
            is_last=result.stop_reason is not None,
            total_epochs=result.epoch,
            state=partial(getattr, result, "state"),
            # The first epochs of a refit are no better than the candidate that it refits.
            best=(lambda: None) if is_refit else partial(_best, result, standardization),
            phase="refit" if is_refit else None,
        )
        if watch.after_epoch(position):
            break
    assert result is not None, "else there was a TimeUpError"
    assert result.stop_reason != "diverged", "else there was a DivergedError"
    kept = result.best
    with watch.deadline.paused():  # evaluation must not be ended by the time limit
        metrics = metrics_of(spec, rows, forward(kept.network, rows.features))
        if held_out is None:
            metrics = {"evaluated_on": "training", **metrics}
        else:
            of_held_out = metrics_of(spec, held_out, forward(kept.network, held_out.features))
            metrics = {"evaluated_on": "validation", **of_held_out, "training": metrics}
    return Trained(
        kept.network if start is not None else without_constants(kept.network, standardization),
        standardization,
        config,
        Result(
            stop_reason=result.stop_reason or "time_limit",
            epochs=result.epoch,
            best_epoch=kept.epoch,
            cost=kept.cost,
            validation_cost=kept.validation_cost,
            metrics=metrics,
        ),
    )


def _best(result: EpochResult, standardization: Standardization) -> BestNetwork:
    kept = result.best
    return BestNetwork(
        without_constants(kept.network, standardization),
        standardization,
        Figures(kept.epoch, kept.cost, kept.validation_cost),
    )


def metrics_of(spec: TrainingSpec, dataset: Dataset, outputs: NDArray[np.floating[Any]]) -> dict[str, JsonValue]:
    """Evaluate outputs (n_instances, n_outputs) for these instances."""
    figures = evaluate(spec.task, outputs, dataset.targets, dataset.instance_weights)
    return {"n_instances": dataset.n_instances, **figures}
