"""Train one network."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from perceptron import (
    EXACT_ROWS,
    Dataset,
    EpochResult,
    MetricSums,
    Network,
    Standardization,
    TargetScaling,
    TrainingConfig,
    TrainingState,
    constant_cost,
    evaluate,
    fit,
    fold,
    forward,
    result_of,
    row_blocks,
    split,
    unfold,
    with_learning_rate,
    without_constants,
)
from storage.jobs.reports import Figures, Result
from storage.jobs.spec import TrainingSpec
from worker.warnings import Judged, warnings_of
from worker.watch import BestNetwork, Position, Watch, epochs_between_looks


@dataclass(frozen=True, eq=False)
class Inputs:
    """What all trainings of a job have in common."""

    spec: TrainingSpec
    dataset: Dataset
    n_threads: int
    held_out: Dataset | None = None
    """The instances to validate with, if they have been set apart already."""


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
    rows, held_out = inputs.dataset, inputs.held_out
    if held_out is None:
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
    units = _Units.of(rows, config, keeps_constants=start is not None)
    raw_rows, raw_held_out = rows, held_out
    rows, held_out = units.apply(rows), None if held_out is None else units.apply(held_out)
    named, config = config, with_learning_rate(rows, spec.network, config)

    results = fit(
        rows,
        spec.network,
        named,
        auto_rate=config.known_learning_rate,
        validation=held_out,
        early_stopping_patience=None
        if held_out is None or spec.validation is None
        else spec.validation.early_stopping_patience,
        start=None if start is None else units.start(start),
        resume_from=resume_from,
        n_threads=inputs.n_threads,
        every=epochs_between_looks(spec),
    )
    # If the time is up before the first epoch of this attempt, the result of an earlier one counts.
    result = None if resume_from is None else result_of(resume_from, rows, spec.network)
    for result in watch.epochs(results, has_any=resume_from is not None):
        position = Position(
            epoch=result.epoch,
            cost=units.raw_cost(result.cost),
            validation_cost=units.raw_cost(result.validation_cost),
            is_last=result.stop_reason is not None,
            total_epochs=result.epoch,
            state=partial(getattr, result, "state"),
            # The first epochs of a refit are no better than the candidate that it refits.
            best=(lambda: None) if is_refit else partial(_best, result, units),
            phase="refit" if is_refit else None,
        )
        if watch.after_epoch(position):
            break
    assert result is not None, "else there was a TimeUpError"
    assert result.stop_reason != "diverged", "else there was a DivergedError"
    best = _best(result, units)
    with watch.deadline.paused():  # evaluation must not be ended by the time limit
        served = fold(best.network, best.standardization)
        metrics = metrics_of(spec, raw_rows, served)
        if raw_held_out is None:
            metrics = {"evaluated_on": "training", **metrics}
        else:
            of_held_out = metrics_of(spec, raw_held_out, served)
            metrics = {"evaluated_on": "validation", **of_held_out, "training": metrics}
        published = Result(
            stop_reason=result.stop_reason or "time_limit",
            epochs=result.epoch,
            best_epoch=best.figures.epoch,
            cost=units.scaling.cost_unit * result.best.cost,
            validation_cost=best.figures.validation_cost,
            metrics=metrics,
        )
        judged = Judged(
            spec.task,
            config,
            published,
            evaluated=raw_rows if raw_held_out is None else raw_held_out,
            n_trained=rows.n_instances,
            n_weights=n_weights(served),
            penalty=penalty_of(result.best.network, config, units.scaling),
            constant_cost=constant_cost_of(spec, raw_rows, units.scaling),
            constant_validation_cost=None
            if raw_held_out is None
            else constant_cost_of(spec, raw_held_out, units.scaling),
        )
    return Trained(best.network, best.standardization, config, replace(published, warnings=warnings_of(judged)))


@dataclass(frozen=True, eq=False)
class _Units:
    """Between the units of the data and those that the network is trained in."""

    standardization: Standardization
    standardizes: bool
    scaling: TargetScaling
    keeps_constants: bool
    """A network that training starts from may know features that are constant in these rows."""

    @classmethod
    def of(cls, rows: Dataset, config: TrainingConfig, *, keeps_constants: bool) -> "_Units":
        """Return the units that go with the rows to train on."""
        standardization = Standardization.identity(rows.n_features)
        if config.standardize:
            standardization = Standardization.of(rows.features, rows.instance_weights)
        scaling = TargetScaling.of(rows.targets, rows.instance_weights, is_used=config.scale_targets)
        return cls(standardization, config.standardize, scaling, keeps_constants)

    def apply(self, dataset: Dataset) -> Dataset:
        """Convert instances to what the network is trained on."""
        if self.standardizes:
            dataset = dataset.with_features(self.standardization.apply(dataset.features))
        return dataset.with_targets(self.scaling.apply(dataset.targets))

    def start(self, network: Network) -> Network:
        """Convert a network for raw features to one to start from."""
        return self.scaling.unfold(unfold(network, self.standardization))

    def in_raw_units(self, network: Network) -> Network:
        """Return the network, still for standardized features, whose outputs are raw targets."""
        return self.scaling.fold(network if self.keeps_constants else without_constants(network, self.standardization))

    def raw_cost(self, cost: float | None) -> float | None:
        """Return a cost in the units of the raw targets (see `TargetScaling.cost_unit`)."""
        return None if cost is None else cost * self.scaling.cost_unit


def _best(result: EpochResult, units: _Units) -> BestNetwork:
    kept = result.best
    figures = Figures(kept.epoch, units.raw_cost(kept.cost), units.raw_cost(kept.validation_cost))
    return BestNetwork(units.in_raw_units(kept.network), units.standardization, figures)


def constant_cost_of(spec: TrainingSpec, dataset: Dataset, scaling: TargetScaling) -> float:
    """Return the cost of the best constant output, in the units of published costs."""
    # Of the raw targets: where those trained on are 1e149 apart, scaling leaves no digits of the others.
    loss, activation = spec.training.loss, spec.task.activation
    cost = constant_cost(dataset.targets, dataset.cost_weights, loss=loss, activation=activation, scale=scaling.scale)
    return cost * scaling.cost_unit


def penalty_of(network: Network, config: TrainingConfig, scaling: TargetScaling) -> float:
    """Return the l2 penalty of a network as it is trained, l2 * sum W^2, in the units of published costs."""
    squares = sum(float(np.sum(layer.weights.astype(np.float64) ** 2)) for layer in network.layers)
    return config.l2 * squares * scaling.cost_unit


def n_weights(network: Network) -> int:
    """Return the number of weights, without the biases."""
    return sum(layer.weights.size for layer in network.layers)


def metrics_of(spec: TrainingSpec, dataset: Dataset, network: Network) -> dict[str, JsonValue]:
    """Evaluate a network for these instances; very many of them block by block."""
    if dataset.n_instances <= EXACT_ROWS:
        return metrics_of_outputs(spec, dataset, forward(network, dataset.features))
    weights = dataset.instance_weights
    largest = max(float(dataset.targets.max()), -float(dataset.targets.min()))
    sums = MetricSums(spec.task, largest)
    for rows in row_blocks(dataset.n_instances, network.widest):
        outputs = forward(network, dataset.features[rows])
        sums.add(outputs, dataset.targets[rows], None if weights is None else weights[rows])
    return {"n_instances": dataset.n_instances, **sums.figures()}


def metrics_of_outputs(
    spec: TrainingSpec, dataset: Dataset, outputs: NDArray[np.floating[Any]]
) -> dict[str, JsonValue]:
    """Evaluate outputs (n_instances, n_outputs) for these instances."""
    figures = evaluate(spec.task, outputs, dataset.targets[:], dataset.instance_weights)
    return {"n_instances": dataset.n_instances, **figures}
