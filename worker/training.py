"""Train a claimed job and publish what it learned. Knows nothing of RQ."""

import time
from collections.abc import Callable
from dataclasses import replace

from perceptron import InvalidConfigError, Network
from storage.blobs import BlobStore
from storage.codec import encode_model
from storage.errors import CorruptDataError
from storage.jobs.attempt import Attempt
from storage.jobs.checkpoints import Checkpoint
from storage.jobs.description import Description
from storage.log.faults import describe
from storage.log.traces import span
from storage.models.store import ModelStore
from storage.tenants import owned, tenant_of
from worker.checkpoints import Checkpoints
from worker.deadline import Deadline
from worker.instances import load_instances
from worker.single import Inputs, Trained, train_one
from worker.stores import Patience
from worker.sweep import train_candidates
from worker.watch import Watch


def run_training(
    attempt: Attempt,
    *,
    models: ModelStore,
    blobs: BlobStore,
    deadline: Deadline,
    stop_requested: Callable[[], bool],
    n_threads: int = 1,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Train the job's network and publish it as a new version of its model.

    An attempt resumes from the checkpoint of an earlier one, and ends with the same bytes as a job without a break.

    Args:
        deadline: counts the time that the job trains; its clock is the only one.
        stop_requested: called after every epoch; true ends the attempt without a result.
        n_threads: how many threads share the rows of a large data set.

    Returns:
        The number of the new version.

    Raises:
        StaleAttemptError: the job was cancelled or taken over; nothing was published.
        HandedBackError: `stop_requested` returned true; the caller hands the job back.
        TimeUpError: the job's time limit passed before there was any network.
        PerceptronError: the data or the settings cannot lead to a network.
        An error of which `is_unavailable` is true: a store was away at a step that does not wait for it.
    """
    spec = attempt.job.spec
    patience = Patience(deadline.clock, sleep, stop_requested)
    loaded = patience.with_store(lambda: load_instances(attempt, blobs))
    spec, encoder = loaded.spec, loaded.encoder
    target = None if spec.table is None else spec.table.target
    attempt.job = replace(attempt.job, spec=spec)
    inputs = Inputs(spec, loaded.dataset, n_threads, loaded.held_out)
    checkpoints = Checkpoints(attempt, blobs)
    checkpoint = patience.with_store(checkpoints.load)
    deadline.begin(spec.time_limit_s, used_s=checkpoint.used_s if checkpoint else 0.0)

    def train(checkpoint: Checkpoint | None) -> Trained:
        watch = Watch(attempt, checkpoints, deadline, stop_requested, encoder)
        if spec.sweep is not None or (spec.validation is not None and spec.validation.folds is not None):
            return train_candidates(inputs, watch, checkpoint=checkpoint)
        if checkpoint is not None:
            return train_one(inputs, watch, resume_from=checkpoint.state)
        start = None if spec.start_from is None else _start_network(attempt, models)
        return train_one(inputs, watch, start=start)

    try:
        with span("train"):
            trained = train(checkpoint)
    except (InvalidConfigError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if checkpoint is None:
            raise
        # A bad checkpoint must not fail the job. If the job itself is at fault, the same error comes again.
        checkpoints.drop(describe(error))
        with span("train"):
            trained = train(None)
    deadline.lift()

    result = replace(trained.result, warnings=(*spec.warnings, *trained.result.warnings))
    standardization = trained.standardization if spec.training.standardize else None
    weights = encode_model(trained.network, standardization, encoder, target)
    description = Description.of(attempt.job, result, training=trained.config, weights=weights, n_threads=n_threads)
    with span("publish"):
        version = patience.with_store(lambda: attempt.publish(weights, description, result))
    checkpoints.delete()
    return version


def _start_network(attempt: Attempt, models: ModelStore) -> Network:
    """Return the network to start from, for raw features in the order of this job's."""
    spec, tenant = attempt.job.spec, tenant_of(attempt.job.id)
    assert spec.start_from is not None, "called only for jobs that start from a version"
    start = models.load(owned(tenant, spec.start_from.model), spec.start_from.version)
    row_of = {name: row for row, name in enumerate(start.feature_names)}
    if row_of.keys() != set(spec.feature_names):
        raise CorruptDataError("the version to start from has other features than the job")
    order = [row_of[name] for name in spec.feature_names]
    first, *others = start.network.layers
    centre = None if start.network.centre is None else start.network.centre[order]
    return Network((replace(first, weights=first.weights[order]), *others), centre)
