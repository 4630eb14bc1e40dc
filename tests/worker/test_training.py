"""Training a claimed job: from its record to a published version."""

import hashlib
import time
from typing import Any

import numpy as np
import pytest

from perceptron import ValidationConfig
from storage.blobs import BlobStore
from storage.codec import decode_model
from storage.errors import StaleAttemptError
from storage.jobs.record import Claim
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import OR_FEATURES, OR_TARGETS, training_spec
from tests.perceptron import twin
from worker.training import run_training
from worker.watch import HandedBackError


def start(jobs: JobStore, blobs: BlobStore, **spec: Any) -> Claim:
    claim = jobs.claim(jobs.submit("or", training_spec(blobs, **spec), metadata={}).id)
    assert claim is not None
    return claim


def run(claim: Claim, jobs: JobStore, blobs: BlobStore) -> int:
    return run_training(
        claim,
        jobs=jobs,
        models=ModelStore(jobs._redis),
        blobs=blobs,
        clock=time.monotonic,
        stop_requested=lambda: False,
    )


def test_the_weights_are_those_of_the_plain_twin(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    claim = start(jobs, blobs, max_epochs=100, tolerance=0.0, standardize=False)
    version, weights = models.load_bytes("or", run(claim, jobs, blobs))
    network, _ = decode_model(weights, ("sigmoid",))
    *_, (expected, bias, cost) = twin.train("sigmoid", OR_FEATURES, OR_TARGETS, 0.5, 100, [0.0, 0.0], 0.0)
    np.testing.assert_allclose(network.layers[0].weights[:, 0], expected, rtol=0, atol=1e-12)
    assert network.layers[0].bias[0] == pytest.approx(bias, abs=1e-12)
    assert version.description["cost"] == pytest.approx(cost, abs=1e-12)


def test_the_description_names_the_bytes_it_belongs_to(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    claim = start(jobs, blobs, max_epochs=3)
    version, weights = models.load_bytes("or", run(claim, jobs, blobs))
    digests = version.description["digests"]
    assert digests == {"weights": hashlib.sha256(weights).hexdigest(), "data": claim.job.spec.data.blob}


def test_the_same_job_gives_the_same_bytes(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    numbers = [run(start(jobs, blobs, max_epochs=50, seed=3), jobs, blobs) for _ in range(2)]
    first, second = (models.load_bytes("or", number)[1] for number in numbers)
    assert first == second


def test_progress_follows_the_training(jobs: JobStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.watch.VALUES_BETWEEN_LOOKS", 1)  # look after every epoch
    claim = start(jobs, blobs, max_epochs=20, tolerance=0.0)
    seen = []
    now = iter(range(1000))

    def clock() -> float:
        seen.append(jobs.get(claim.job.id).progress)
        return float(next(now))  # a second passes at each look: every epoch is reported

    run_training(
        claim, jobs=jobs, models=ModelStore(jobs._redis), blobs=blobs, clock=clock, stop_requested=lambda: False
    )
    epochs = {progress["epoch"] for progress in seen if progress}
    assert epochs == set(range(1, 20))  # the clock is asked before each report
    costs = [progress["cost"] for progress in seen if progress]
    assert costs == sorted(costs, reverse=True)


def test_a_time_limit_ends_the_training_with_what_was_learned(
    jobs: JobStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.watch.VALUES_BETWEEN_LOOKS", 1)  # look after every epoch
    claim = start(jobs, blobs, max_epochs=1_000_000, tolerance=0.0, time_limit_s=5.0)
    now = iter(range(1000))
    run_training(
        claim,
        jobs=jobs,
        models=ModelStore(jobs._redis),
        blobs=blobs,
        clock=lambda: float(next(now)),
        stop_requested=lambda: False,
    )
    job = jobs.get(claim.job.id)
    assert job.result is not None
    assert (job.status, job.result["stop_reason"], job.result["epochs"]) == ("succeeded", "time_limit", 5)


def test_early_stopping_publishes_the_best_epoch(jobs: JobStore, blobs: BlobStore) -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40, 20))
    targets = [float(x) for x in rng.integers(0, 2, size=40)]  # noise: what is learned does not carry over
    claim = start(
        jobs,
        blobs,
        features=features.tolist(),
        targets=targets,
        validation=ValidationConfig(0.5, early_stopping_patience=10),
    )
    run(claim, jobs, blobs)
    result = jobs.get(claim.job.id).result
    assert result is not None
    assert result["stop_reason"] == "early_stopping"
    assert result["epochs"] == result["best_epoch"] + 10


def test_a_stop_request_leaves_the_job_to_the_next_attempt(
    jobs: JobStore, models: ModelStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.watch.VALUES_BETWEEN_LOOKS", 1)  # look after every epoch
    claim = start(jobs, blobs)
    with pytest.raises(HandedBackError):
        run_training(
            claim,
            jobs=jobs,
            models=ModelStore(jobs._redis),
            blobs=blobs,
            clock=time.monotonic,
            stop_requested=lambda: True,
        )
    assert models.page(limit=1) == ([], False)
    jobs.hand_back(claim)
    again = jobs.claim(claim.job.id)
    assert again is not None
    assert run(again, jobs, blobs) == 1


def test_a_cancelled_training_stops_at_its_next_report(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    claim = start(jobs, blobs, max_epochs=1_000_000, tolerance=0.0)
    jobs.cancel(claim.job.id)
    with pytest.raises(StaleAttemptError):
        run(claim, jobs, blobs)
    assert models.page(limit=1) == ([], False)


def test_one_class_gives_a_clear_result(jobs: JobStore, blobs: BlobStore) -> None:
    claim = start(jobs, blobs, targets=[1.0, 1.0, 1.0, 1.0])
    run(claim, jobs, blobs)
    result = jobs.get(claim.job.id).result
    assert result is not None and result["metrics"]["accuracy"] == 1.0


def test_a_constant_feature_and_a_single_instance_give_finite_weights(
    jobs: JobStore, models: ModelStore, blobs: BlobStore
) -> None:
    claim = start(jobs, blobs, features=[[7.0, 1e300]], targets=[1.0])
    _, weights = models.load_bytes("or", run(claim, jobs, blobs))
    network, standardization = decode_model(weights, ("sigmoid",))
    assert np.isfinite(network.layers[0].weights).all()
    assert list(standardization.scale) == [1.0, 1.0]
