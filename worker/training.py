"""Train a claimed job and publish what it learned. Knows nothing of RQ."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from perceptron import (
    Dataset,
    EpochResult,
    Network,
    Standardization,
    evaluate,
    fit,
    forward,
    split,
)
from storage import BlobStore, Claim, JobStore, TrainingSpec, decode_dataset, encode_model

REPORT_EVERY_S = 0.2
"""A job's record follows its training with about this delay."""


class HandedBackError(Exception):
    """The process was asked to stop in the middle of the training; another attempt will go on."""


def run_training(
    claim: Claim,
    *,
    jobs: JobStore,
    blobs: BlobStore,
    clock: Callable[[], float],
    stop_requested: Callable[[], bool],
) -> int:
    """Train the claimed job's network and publish it as a new version of its model.

    Args:
        clock: seconds that never run backwards.
        stop_requested: asked after every epoch; true makes the attempt end without a result.

    Returns:
        The number of the new version.

    Raises:
        StaleAttemptError: the job was cancelled or taken over; nothing was published.
        HandedBackError: `stop_requested` said so; the caller hands the job back.
        PerceptronError: the data or the settings cannot lead to a network.
    """
    spec = claim.job.spec
    training_rows, validation_rows = _split(decode_dataset(blobs.get(spec.data.blob)), spec)
    standardization = Standardization.of(training_rows.features) if spec.training.standardize else None
    training_set = _standardized(training_rows, standardization)
    validation_set = None if validation_rows is None else _standardized(validation_rows, standardization)

    started_at = clock()
    reported_at = float("-inf")
    stop_reason = None
    for result in fit(
        training_set,
        spec.network,
        spec.training,
        validation=validation_set,
        early_stopping_patience=spec.validation.early_stopping_patience if spec.validation else None,
    ):
        now = clock()
        elapsed_s = now - started_at
        if spec.time_limit_s is not None and elapsed_s >= spec.time_limit_s:
            stop_reason = "time_limit"
        if now - reported_at >= REPORT_EVERY_S or stop_reason or result.stop_reason:
            jobs.record_progress(claim, _progress(result, spec.training.max_epochs, elapsed_s))
            reported_at = now
        if stop_reason:
            break
        if stop_requested():
            raise HandedBackError
    kept = result.best
    outcome = {
        "stop_reason": stop_reason or result.stop_reason,
        "epochs": result.epoch,
        "best_epoch": kept.epoch,
        "cost": kept.cost,
        "validation_cost": kept.validation_cost,
        "metrics": _metrics(spec, kept.network, training_set, validation_set),
    }
    weights = encode_model(kept.network, standardization)
    description = {
        "job": claim.job.id,
        "task": asdict(spec.task),
        "network": asdict(spec.network),
        "feature_names": spec.feature_names,
        "training": asdict(spec.training),
        "validation": asdict(spec.validation) if spec.validation else None,
        "n_instances": spec.data.n_instances,
        **outcome,
        "digests": {"weights": hashlib.sha256(weights).hexdigest(), "data": spec.data.blob},
    }
    return jobs.publish(claim, weights=weights, description=description, result=outcome)


def _split(dataset: Dataset, spec: TrainingSpec) -> tuple[Dataset, Dataset | None]:
    if spec.validation is None:
        return dataset, None
    return split(dataset, spec.task, spec.validation.fraction, spec.training.seed)


def _standardized(dataset: Dataset, standardization: Standardization | None) -> Dataset:
    if standardization is None:
        return dataset
    return dataset.with_features(standardization.apply(dataset.features))


def _progress(result: EpochResult, max_epochs: int, elapsed_s: float) -> dict[str, Any]:
    remaining_s = elapsed_s / result.epoch * (max_epochs - result.epoch)
    finish_at = datetime.now(UTC) + timedelta(seconds=remaining_s)
    return {
        "epoch": result.epoch,
        "max_epochs": max_epochs,
        "cost": result.cost,
        "validation_cost": result.validation_cost,
        "estimated_finish_at": finish_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _metrics(
    spec: TrainingSpec, network: Network, training_set: Dataset, validation_set: Dataset | None
) -> Mapping[str, Any]:
    """What the network gets right on the rows held out and on those it learned from.

    The plain names hold the figures that tell most about new instances: those of the rows held out, if any.
    """
    of_training = _evaluate(spec, network, training_set)
    if validation_set is None:
        return {"evaluated_on": "training", "n_instances": training_set.n_instances, **of_training}
    return {
        "evaluated_on": "validation",
        "n_instances": validation_set.n_instances,
        **_evaluate(spec, network, validation_set),
        "training": {"n_instances": training_set.n_instances, **of_training},
    }


def _evaluate(spec: TrainingSpec, network: Network, dataset: Dataset) -> dict[str, float]:
    outputs = forward(network, dataset.features)
    return evaluate(spec.task, outputs, dataset.targets, dataset.instance_weights)
