"""Train a claimed job and publish what it learned. Knows nothing of RQ."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict

from perceptron import Network
from storage import (
    BlobStore,
    Claim,
    CorruptDataError,
    JobStore,
    ModelStore,
    TrainingSpec,
    decode_dataset,
    decode_version,
    encode_model,
)
from worker.single import train_one
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
) -> int:
    """Train the claimed job's network and publish it as a new version of its model.

    Args:
        clock: seconds that never run backwards.
        stop_requested: asked after every epoch; true makes the attempt end without a result.
        n_threads: how many threads share the rows of a large data set.

    Returns:
        The number of the new version.

    Raises:
        StaleAttemptError: the job was cancelled or taken over; nothing was published.
        HandedBackError: `stop_requested` said so; the caller hands the job back.
        PerceptronError: the data or the settings cannot lead to a network.
    """
    spec = claim.job.spec
    dataset = decode_dataset(blobs.get(spec.data.blob))
    watch = Watch(claim, jobs, clock, stop_requested)
    if spec.sweep is not None or (spec.validation is not None and spec.validation.folds is not None):
        trained = train_candidates(spec, dataset, watch, n_threads)
    else:
        start = None if spec.start_from is None else _start_network(spec, models)
        trained = train_one(spec, spec.training, dataset, watch, n_threads, start=start)

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
    return jobs.publish(claim, weights=weights, description=description, result=trained.outcome)


def _start_network(spec: TrainingSpec, models: ModelStore) -> Network:
    """Return the network to start from, for raw features."""
    assert spec.start_from is not None, "asked only of jobs that start from a version"
    version, weights = models.load(spec.start_from.model, spec.start_from.version)
    network = decode_version(version, weights).network
    if network.n_inputs != spec.data.n_features:
        raise CorruptDataError(
            f"the version to start from takes {network.n_inputs} features, not {spec.data.n_features}"
        )
    return network
