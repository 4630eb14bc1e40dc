"""A job that was handed back, or whose worker died, ends with the same bytes as one that nobody disturbed."""

import contextlib
import errno
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from perceptron import Candidate, ValidationConfig
from storage.blobs import BlobStore
from storage.errors import StaleAttemptError
from storage.jobs.record import Claim
from storage.jobs.spec import Sweep
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import training_spec
from worker.checkpoints import Checkpoints
from worker.deadline import Deadline, TimeUpError
from worker.training import run_training
from worker.watch import HandedBackError

RNG = np.random.default_rng(21)
FEATURES = (RNG.normal(size=(60, 4)) * 10 + 5).tolist()
TARGETS = [float(row[0] - row[1] > 0) for row in FEATURES]
GRID = tuple(Candidate(rate, l2, 0) for rate in (0.01, 0.5) for l2 in (0.0, 0.1))
LONG: dict[str, Any] = {"max_epochs": 60, "tolerance": 0.0}

JOBS: dict[str, dict[str, Any]] = {
    "gradient descent": {**LONG},
    "mini-batches": {**LONG, "batch_size": 7, "optimizer": "momentum", "learning_rate": 0.05},
    "adam": {**LONG, "optimizer": "adam"},
    "lbfgs": {"optimizer": "lbfgs", "l2": 1e-3, "tolerance": 0.0, "max_epochs": 30},
    "newton": {"optimizer": "newton", "l2": 1e-3, "tolerance": 0.0, "max_epochs": 30},
    "early stopping": {**LONG, "validation": ValidationConfig(0.4, early_stopping_patience=20)},
    "a sweep": {**LONG, "sweep": Sweep(GRID), "validation": ValidationConfig(0.25)},
    "a sweep in mini-batches": {"max_epochs": 15, "tolerance": 0.0, "batch_size": 20, "sweep": Sweep(GRID)},
    "a sweep with folds and a refit": {**LONG, "sweep": Sweep(GRID), "validation": ValidationConfig(folds=3)},
    "folds in mini-batches and a refit": {**LONG, "batch_size": 20, "validation": ValidationConfig(folds=3)},
}


@pytest.fixture(autouse=True)
def look_after_every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.watch.VALUES_BETWEEN_LOOKS", 1)


class Worker:
    """Runs attempts in this process, as far as a test lets them."""

    def __init__(self, jobs: JobStore, models: ModelStore, blobs: BlobStore) -> None:
        self.jobs, self.models, self.blobs = jobs, models, blobs

    def submit(self, **spec: Any) -> str:
        spec = {"features": FEATURES, "targets": TARGETS, **spec}
        return self.jobs.submit("m", training_spec(self.blobs, **spec), metadata={}).id

    def claim(self, job_id: str) -> Claim:
        claim = self.jobs.claim(job_id)
        assert claim is not None
        return claim

    def attempt(
        self,
        claim: Claim,
        *,
        stop_after: float = float("inf"),
        seconds_per_look: float = 0.0,
        deadline: Deadline | None = None,
    ) -> int:
        """Train; a stop is requested at the look with this number, and so many seconds pass at each."""
        looks = itertools.count(1)
        now = itertools.count()
        return run_training(
            claim,
            jobs=self.jobs,
            models=self.models,
            blobs=self.blobs,
            clock=lambda: next(now) * seconds_per_look,
            stop_requested=lambda: next(looks) >= stop_after,
            deadline=deadline,
        )

    def published(self, number: int) -> tuple[bytes, Any]:
        version, weights = self.models.load_bytes("m", number)
        kept = ("cost", "validation_cost", "epochs", "best_epoch", "stop_reason", "metrics")
        return weights, {name: version.description[name] for name in kept}

    def messages(self, job_id: str) -> list[str]:
        return [event.data["message"] for event in self.jobs.events(job_id, limit=500)[0] if event.type == "log"]


@pytest.fixture
def worker(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> Worker:
    return Worker(jobs, models, blobs)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_handed_back_at_any_epoch_ends_with_the_same_bytes(worker: Worker, name: str) -> None:
    expected = worker.published(worker.attempt(worker.claim(worker.submit(**JOBS[name]))))
    job_id = worker.submit(**JOBS[name])
    n_attempts = 1
    while True:
        claim = worker.claim(job_id)
        try:
            number = worker.attempt(claim, stop_after=int(RNG.integers(2, 25)))
            break
        except HandedBackError:
            worker.jobs.hand_back(claim)
            n_attempts += 1
    assert n_attempts > 1
    assert worker.published(number) == expected
    assert len([message for message in worker.messages(job_id) if "going on from" in message]) == n_attempts - 1


class KilledError(BaseException):
    """Stands for a kill -9: nothing is written after it."""


def die_at(look: int) -> Callable[[], bool]:
    looks = itertools.count(1)

    def stop_requested() -> bool:
        if next(looks) == look:
            raise KilledError
        return False

    return stop_requested


def test_a_worker_that_dies_loses_what_came_after_its_last_checkpoint_and_nothing_else(worker: Worker) -> None:
    expected = worker.published(worker.attempt(worker.claim(worker.submit(**LONG, optimizer="adam"))))
    job_id = worker.submit(**LONG, optimizer="adam")
    claim = worker.claim(job_id)
    now = itertools.count()
    with pytest.raises(KilledError):
        run_training(
            claim,
            jobs=worker.jobs,
            models=worker.models,
            blobs=worker.blobs,
            clock=lambda: float(next(now)),
            stop_requested=die_at(41),
        )
    checkpoint = worker.jobs.get(job_id).checkpoint
    assert checkpoint is not None and 30 <= checkpoint.total_epochs <= 40
    worker.jobs.hand_back(claim)
    assert worker.published(worker.attempt(worker.claim(job_id))) == expected


def handed_back(worker: Worker, **spec: Any) -> str:
    """Submit a job, train some epochs of it and hand it back with a checkpoint."""
    job_id = worker.submit(**LONG, **spec)
    claim = worker.claim(job_id)
    with pytest.raises(HandedBackError):
        worker.attempt(claim, stop_after=20)
    worker.jobs.hand_back(claim)
    return job_id


@pytest.mark.parametrize("damage", ["missing", "cut short", "of other code"])
def test_a_checkpoint_that_cannot_be_read_means_beginning_anew_and_an_event(
    worker: Worker, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = worker.published(worker.attempt(worker.claim(worker.submit(**LONG))))
    job_id = handed_back(worker)
    reference = worker.jobs.get(job_id).checkpoint
    assert reference is not None
    path = worker.blobs._path(reference.blob)
    if damage == "missing":
        worker.blobs.delete(reference.blob)
    elif damage == "cut short":
        with open(path, "r+b") as file:
            file.truncate(100)
    else:
        monkeypatch.setattr("storage.jobs.checkpoints._FORMAT", "newer")
    assert worker.published(worker.attempt(worker.claim(job_id))) == expected
    assert "beginning anew" in worker.messages(job_id)[-1]


def test_a_checkpoint_that_training_refuses_means_beginning_anew_too(worker: Worker) -> None:
    expected = worker.published(worker.attempt(worker.claim(worker.submit(**LONG))))
    other = handed_back(worker, features=[[1.0], [2.0], [3.0]], targets=[0.0, 1.0, 1.0])
    reference = worker.jobs.get(other).checkpoint
    job_id = worker.submit(**LONG)
    claim = worker.claim(job_id)
    assert reference is not None
    worker.jobs.record_checkpoint(claim, blob=reference.blob, total_epochs=20)
    worker.jobs.hand_back(claim)
    assert worker.published(worker.attempt(worker.claim(job_id))) == expected
    assert "beginning anew" in worker.messages(job_id)[-1]


def test_the_time_that_earlier_attempts_used_counts_against_the_limit(worker: Worker) -> None:
    job_id = worker.submit(max_epochs=1_000_000, tolerance=0.0, time_limit_s=50.0)
    claim = worker.claim(job_id)
    with pytest.raises(HandedBackError):
        worker.attempt(claim, stop_after=30, seconds_per_look=1.0)
    worker.jobs.hand_back(claim)
    worker.attempt(worker.claim(job_id), seconds_per_look=1.0)
    result = worker.jobs.get(job_id).result
    assert result is not None
    assert (result["stop_reason"], 40 <= result["epochs"] <= 50) == ("time_limit", True)


def test_what_an_earlier_attempt_came_to_is_published_when_the_next_one_has_no_time_left(worker: Worker) -> None:
    class TimeIsUp(Deadline):
        @contextlib.contextmanager
        def interruptible(self) -> Iterator[None]:
            raise TimeUpError
            yield

    job_id = worker.submit(max_epochs=1_000_000, tolerance=0.0, time_limit_s=50.0)
    claim = worker.claim(job_id)
    with pytest.raises(HandedBackError):
        worker.attempt(claim, stop_after=30, seconds_per_look=1.0)
    worker.jobs.hand_back(claim)
    worker.attempt(worker.claim(job_id), deadline=TimeIsUp())
    result = worker.jobs.get(job_id).result
    assert result is not None
    assert (result["stop_reason"], result["epochs"]) == ("time_limit", 30)


def test_only_the_newest_checkpoint_is_kept_and_none_of_a_job_that_succeeded(worker: Worker) -> None:
    job_id = worker.submit(**LONG)
    claim = worker.claim(job_id)
    data = claim.job.spec.data.blob
    with pytest.raises(HandedBackError):
        worker.attempt(claim, stop_after=40, seconds_per_look=2.0)
    reference = worker.jobs.get(job_id).checkpoint
    assert reference is not None
    assert stored(worker.blobs) == {data, reference.blob}
    worker.jobs.hand_back(claim)
    worker.attempt(worker.claim(job_id), seconds_per_look=2.0)
    assert stored(worker.blobs) == {data}


def stored(blobs: BlobStore) -> set[str]:
    return {path.rpartition("/")[2] for path in blobs._filesystem.find(blobs._root)}


def test_a_stale_attempt_leaves_no_checkpoint(worker: Worker) -> None:
    claim = worker.claim(worker.submit(**LONG))
    worker.jobs.cancel(claim.job.id)
    checkpoints = Checkpoints(claim, worker.jobs, worker.blobs, time.monotonic)
    with pytest.raises(StaleAttemptError):
        checkpoints.save(None, total_epochs=1, used_s=0.0, stage={})
    assert stored(worker.blobs) == {claim.job.spec.data.blob}


def test_a_checkpoint_recorded_by_a_command_that_is_sent_again_too_late_stays(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is lost, and the attempt taken for dead before the command is repeated."""
    claim = worker.claim(worker.submit(**LONG))
    jobs, job_id = worker.jobs, claim.job.id
    record = jobs.record_checkpoint

    def record_twice(*args: Any, **options: Any) -> bool:
        record(*args, **options)
        jobs.hand_back(claim)
        worker.claim(job_id)
        return record(*args, **options)

    monkeypatch.setattr(jobs, "record_checkpoint", record_twice)
    with pytest.raises(StaleAttemptError):
        Checkpoints(claim, jobs, worker.blobs, time.monotonic).save(None, total_epochs=1, used_s=0.0, stage={})
    recorded = jobs.get(job_id).checkpoint
    assert recorded is not None
    assert recorded.blob in stored(worker.blobs)


def test_a_blob_store_that_takes_nothing_costs_checkpoints_and_no_job(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = worker.submit(**LONG)
    monkeypatch.setattr(worker.blobs, "_write", full)
    assert worker.attempt(worker.claim(job_id), seconds_per_look=2.0) == 1
    assert worker.jobs.get(job_id).checkpoint is None


def full(_path: str, _content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
