"""Train a claimed job and publish what it learned. Knows nothing of RQ."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict

from perceptron import InvalidConfigError, Network
from storage.blobs import BlobStore
from storage.codec import decode_dataset, encode_model
from storage.errors import CorruptDataError
from storage.jobs.checkpoints import Checkpoint
from storage.jobs.record import Claim
from storage.jobs.spec import TrainingSpec
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from worker.checkpoints import Checkpoints
from worker.deadline import Deadline
from worker.patience import Patience
from worker.single import Trained, train_one
from worker.sweep import train_candidates
from worker.watch import Watch


def run_training(
    claim: Claim,
    *,
    jobs: JobStore,
    models: ModelStore,
    blobs: BlobStore,
    clock: Callable[[], float],
    stop_requested: Callable[[], bool],
    n_threads: int = 1,
    deadline: Deadline | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Train the claimed job's network and publish it as a new version of its model.

    An earlier attempt's checkpoint is gone on from, and ends in the same bytes as if nothing had come between.

    Args:
        clock: seconds that never run backwards.
        stop_requested: asked after every epoch; true makes the attempt end without a result.
        n_threads: how many threads share the rows of a large data set.
        deadline: what ends an epoch that takes longer than the job may.

    Returns:
        The number of the new version.

    Raises:
        StaleAttemptError: the job was cancelled or taken over; nothing was published.
        HandedBackError: `stop_requested` said so; the caller hands the job back.
        TimeUpError: the job's time limit passed before there was any network.
        PerceptronError: the data or the settings cannot lead to a network.
        One of UNAVAILABLE_ERRORS: a store refused for minutes what it would take at another time.
    """
    spec = claim.job.spec
    patience = Patience(clock, sleep, stop_requested)
    dataset = decode_dataset(patience.with_store(lambda: blobs.get(spec.data.blob)))
    checkpoints = Checkpoints(claim, jobs, blobs, clock)
    checkpoint = patience.with_store(checkpoints.load)
    used_s = checkpoint.used_s if checkpoint else 0.0
    deadline = deadline or Deadline()
    watch = Watch(claim, jobs, checkpoints, clock, stop_requested, deadline, used_s=used_s)
    deadline.begin(spec.time_limit_s, used_s=used_s)

    def train(checkpoint: Checkpoint | None) -> Trained:
        if spec.sweep is not None or (spec.validation is not None and spec.validation.folds is not None):
            return train_candidates(spec, dataset, watch, n_threads, checkpoint=checkpoint)
        if checkpoint is not None:
            return train_one(spec, spec.training, dataset, watch, n_threads, resume_from=checkpoint.state)
        start = None if spec.start_from is None else _start_network(spec, models)
        return train_one(spec, spec.training, dataset, watch, n_threads, start=start)

    try:
        trained = train(checkpoint)
    except (InvalidConfigError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        if checkpoint is None:
            raise
        # Whatever is wrong with a checkpoint must not be the job's failure; what is wrong with the job comes again.
        checkpoints.give_up(repr(error))
        trained = train(None)
    deadline.lift()

    weights = encode_model(trained.network, trained.standardization if spec.training.standardize else None)
    description = {
        "job": claim.job.id,
        "task": asdict(spec.task),
        "network": asdict(spec.network),
        "feature_names": spec.feature_names,
        "training": asdict(trained.config),
        "validation": asdict(spec.validation) if spec.validation else None,
        "start_from": asdict(spec.start_from) if spec.start_from else None,
        "n_instances": spec.data.n_instances,
        "n_threads": n_threads,
        **{name: value for name, value in trained.outcome.items() if name != "leaderboard"},
        "digests": {"weights": hashlib.sha256(weights).hexdigest(), "data": spec.data.blob},
    }
    version = patience.with_store(
        lambda: jobs.publish(claim, weights=weights, description=description, result=trained.outcome)
    )
    checkpoints.discard()
    return version


def _start_network(spec: TrainingSpec, models: ModelStore) -> Network:
    """Return the network to start from, for raw features."""
    assert spec.start_from is not None, "asked only of jobs that start from a version"
    network = models.load(spec.start_from.model, spec.start_from.version).network
    if network.n_inputs != spec.data.n_features:
        raise CorruptDataError(
            f"the version to start from takes {network.n_inputs} features, not {spec.data.n_features}"
        )
    return network
