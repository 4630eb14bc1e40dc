"""Training a claimed job: from its record to a published version."""

import hashlib
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import worker.single
from perceptron import ValidationConfig
from storage.blobs import BlobStore
from storage.codec import decode_model
from storage.errors import StaleAttemptError
from storage.jobs.attempt import Attempt
from storage.jobs.checkpoints import decode_checkpoint
from storage.jobs.description import Digests
from storage.jobs.reports import Progress
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import OR_FEATURES, OR_TARGETS, claimed
from tests.clock import Clock
from tests.perceptron import twin
from worker.deadline import Deadline, HandedBackError
from worker.training import run_training


def start(jobs: JobStore, blobs: BlobStore, **spec: Any) -> Attempt:
    return claimed(jobs, blobs=blobs, **spec)


def run(
    attempt: Attempt,
    jobs: JobStore,
    blobs: BlobStore,
    *,
    clock: Callable[[], float] = time.monotonic,
    stop_requested: Callable[[], bool] = lambda: False,
) -> int:
    return run_training(
        attempt,
        models=ModelStore(jobs._redis),
        blobs=blobs,
        deadline=Deadline(clock),
        stop_requested=stop_requested,
    )


@pytest.fixture
def look_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.watch.VALUES_BETWEEN_LOOKS", 1)


def a_second_per_epoch(clock: Clock) -> Callable[[], bool]:
    """Let a second pass at the end of each epoch, when the training asks whether it must stop."""

    def stop_requested() -> bool:
        clock.now += 1
        return False

    return stop_requested


def test_the_weights_are_those_of_the_plain_twin(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    attempt = start(jobs, blobs, max_epochs=100, tolerance=0.0, standardize=False)
    version, weights = models.load_bytes("or", run(attempt, jobs, blobs))
    network = decode_model(weights, ("sigmoid",)).network
    *_, (expected, bias, cost) = twin.train("sigmoid", OR_FEATURES, OR_TARGETS, 0.5, 100, [0.0, 0.0], 0.0)
    np.testing.assert_allclose(network.layers[0].weights[:, 0], expected, rtol=0, atol=1e-12)
    assert network.layers[0].bias[0] == pytest.approx(bias, abs=1e-12)
    assert version.description.cost == pytest.approx(cost, abs=1e-12)


def test_the_description_names_the_bytes_it_belongs_to(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    attempt = start(jobs, blobs, max_epochs=3)
    version, weights = models.load_bytes("or", run(attempt, jobs, blobs))
    digests = Digests(weights=hashlib.sha256(weights).hexdigest(), data=attempt.job.spec.data.blob)
    assert version.description.digests == digests


def test_the_same_job_gives_the_same_bytes(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    numbers = [run(start(jobs, blobs, max_epochs=50, seed=3), jobs, blobs) for _ in range(2)]
    first, second = (models.load_bytes("or", number)[1] for number in numbers)
    assert first == second


@pytest.mark.usefixtures("look_after_every_epoch")
def test_progress_follows_the_training(jobs: JobStore, blobs: BlobStore) -> None:
    attempt, clock, seen = start(jobs, blobs, max_epochs=20, tolerance=0.0), Clock(), list[Progress | None]()

    def stop_requested() -> bool:
        clock.now += 1  # every epoch is reported
        seen.append(jobs.get(attempt.job.id).progress)  # of the epoch before
        return False

    run(attempt, jobs, blobs, clock=clock, stop_requested=stop_requested)
    seen.append(jobs.get(attempt.job.id).progress)
    # After the last epoch nobody asks whether to stop, so the report before it is not seen here.
    assert [progress.epoch for progress in seen if progress] == [*range(1, 19), 20]
    costs = [progress.cost or 0.0 for progress in seen if progress]
    assert costs == sorted(costs, reverse=True)


@pytest.mark.usefixtures("look_after_every_epoch")
def test_a_time_limit_ends_the_training_with_what_was_learned(jobs: JobStore, blobs: BlobStore) -> None:
    clock = Clock()
    attempt = start(jobs, blobs, max_epochs=1_000_000, tolerance=0.0, time_limit_s=5.0)
    run(attempt, jobs, blobs, clock=clock, stop_requested=a_second_per_epoch(clock))
    job = jobs.get(attempt.job.id)
    assert job.result is not None
    # The sixth epoch ends after 5 s, the first one after none.
    assert (job.status, job.result.stop_reason, job.result.epochs) == ("succeeded", "time_limit", 6)


@pytest.mark.usefixtures("look_after_every_epoch")
@pytest.mark.parametrize("step", ["report", "show_best", "record_checkpoint"])
def test_waiting_for_redis_is_no_training_time(
    jobs: JobStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    clock, n_calls = Clock(), itertools.count(1)
    method = getattr(Attempt, step)

    def in_an_outage(*args: Any, **options: Any) -> Any:
        if next(n_calls) == 2:
            clock.now += 40
        return method(*args, **options)

    monkeypatch.setattr(Attempt, step, in_an_outage)
    attempt = start(jobs, blobs, max_epochs=1_000_000, tolerance=0.0, time_limit_s=30.0)
    stop_requested = a_second_per_epoch(clock)
    with pytest.raises(HandedBackError):
        run(attempt, jobs, blobs, clock=clock, stop_requested=lambda: stop_requested() or clock.now >= 1060)
    assert next(n_calls) > 2
    # 60 s have passed, 40 of them in the outage.
    checkpoint = decode_checkpoint(blobs.get(jobs.get(attempt.job.id).checkpoint.blob))
    assert checkpoint.used_s == pytest.approx(20.0)
    attempt.hand_back()
    successor = jobs.claim(attempt.job.id)
    assert successor is not None
    run(successor, jobs, blobs, clock=clock, stop_requested=stop_requested)
    result = jobs.get(attempt.job.id).result
    assert result is not None
    assert (result.stop_reason, result.epochs) == ("time_limit", 31)


@pytest.mark.usefixtures("look_after_every_epoch")
@pytest.mark.parametrize("spec", [{}, {"validation": ValidationConfig(folds=2)}])
def test_the_time_limit_does_not_end_the_evaluation(
    jobs: JobStore, models: ModelStore, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any]
) -> None:
    """Evaluating a large data set takes seconds; the heartbeat would fail the job that is overdue."""
    clock, overdue_s = Clock(), list[float]()
    deadline = Deadline(clock)
    evaluate = worker.single.evaluate

    def slow_evaluate(*args: Any) -> Any:
        clock.now += 10
        overdue_s.append(deadline.overdue_s)
        return evaluate(*args)

    monkeypatch.setattr("worker.single.evaluate", slow_evaluate)
    attempt = start(jobs, blobs, max_epochs=1_000_000, tolerance=0.0, time_limit_s=5.0, **spec)
    run_training(attempt, models=models, blobs=blobs, deadline=deadline, stop_requested=a_second_per_epoch(clock))
    assert overdue_s and max(overdue_s) < 0


def test_early_stopping_publishes_the_best_epoch(jobs: JobStore, blobs: BlobStore) -> None:
    rng = np.random.default_rng(5)
    features = rng.normal(size=(40, 20))
    targets = [float(x) for x in rng.integers(0, 2, size=40)]  # noise: what is learned does not carry over
    attempt = start(
        jobs,
        blobs,
        features=features.tolist(),
        targets=targets,
        validation=ValidationConfig(0.5, early_stopping_patience=10),
    )
    run(attempt, jobs, blobs)
    result = jobs.get(attempt.job.id).result
    assert result is not None
    assert result.stop_reason == "early_stopping"
    assert result.epochs == result.best_epoch + 10


@pytest.mark.usefixtures("look_after_every_epoch")
def test_a_stop_request_leaves_the_job_to_the_next_attempt(
    jobs: JobStore, models: ModelStore, blobs: BlobStore
) -> None:
    attempt = start(jobs, blobs)
    with pytest.raises(HandedBackError):
        run(attempt, jobs, blobs, stop_requested=lambda: True)
    assert models.page(limit=1) == ([], False)
    attempt.hand_back()
    again = jobs.claim(attempt.job.id)
    assert again is not None
    assert run(again, jobs, blobs) == 1


def test_a_cancelled_training_stops_at_its_next_report(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
    attempt = start(jobs, blobs, max_epochs=1_000_000, tolerance=0.0)
    jobs.cancel(attempt.job.id)
    with pytest.raises(StaleAttemptError):
        run(attempt, jobs, blobs)
    assert models.page(limit=1) == ([], False)


def test_a_constant_feature_and_a_single_instance_give_finite_weights(
    jobs: JobStore, models: ModelStore, blobs: BlobStore
) -> None:
    attempt = start(jobs, blobs, features=[[7.0, 1e300]], targets=[2.5])
    _, weights = models.load_bytes("or", run(attempt, jobs, blobs))
    network, standardization = decode_model(weights, ("identity",))[:2]
    assert np.isfinite(network.layers[0].weights).all()
    assert list(standardization.scale) == [1.0, 1.0]
