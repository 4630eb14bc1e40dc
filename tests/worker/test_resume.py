"""A job that was handed back, or whose worker died, ends with the same bytes as one without a break."""

import contextlib
import errno
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from perceptron import Candidate, ValidationConfig
from storage.blobs import BlobStore
from storage.errors import StaleAttemptError
from storage.jobs.attempt import Attempt
from storage.jobs.checkpoints import Checkpoint, RefitStage, decode_checkpoint
from storage.jobs.reports import LeaderboardEntry, Result
from storage.jobs.spec import Sweep
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import training_spec
from tests.clock import Clock
from worker.checkpoints import Checkpoints
from worker.deadline import Deadline, HandedBackError, TimeUpError
from worker.training import run_training

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

    def claim(self, job_id: str) -> Attempt:
        attempt = self.jobs.claim(job_id)
        assert attempt is not None
        return attempt

    def train(
        self,
        attempt: Attempt,
        *,
        stop_after: float = float("inf"),
        seconds_per_epoch: float = 0.0,
        deadline_type: type[Deadline] = Deadline,
    ) -> int:
        """Train; a stop is requested after so many epochs, and so many seconds pass in each."""
        epochs, clock = itertools.count(1), Clock()

        def stop_requested() -> bool:
            clock.now += seconds_per_epoch
            return next(epochs) >= stop_after

        return run_training(
            attempt,
            models=self.models,
            blobs=self.blobs,
            deadline=deadline_type(clock),
            stop_requested=stop_requested,
        )

    def published(self, number: int) -> tuple[bytes, Any]:
        version, weights = self.models.load_bytes("m", number)
        return weights, replace(version.description, job="")

    def messages(self, job_id: str) -> list[str]:
        return [event.data["message"] for event in self.jobs.events(job_id, limit=500)[0] if event.type == "log"]


@pytest.fixture
def worker(jobs: JobStore, models: ModelStore, blobs: BlobStore) -> Worker:
    return Worker(jobs, models, blobs)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_handed_back_at_any_epoch_ends_with_the_same_bytes(worker: Worker, name: str) -> None:
    expected = worker.published(worker.train(worker.claim(worker.submit(**JOBS[name]))))
    job_id = worker.submit(**JOBS[name])
    n_attempts = 1
    while True:
        attempt = worker.claim(job_id)
        try:
            number = worker.train(attempt, stop_after=int(RNG.integers(2, 25)))
            break
        except HandedBackError:
            attempt.hand_back()
            n_attempts += 1
    assert n_attempts > 1
    assert worker.published(number) == expected
    assert len([message for message in worker.messages(job_id) if "resuming from" in message]) == n_attempts - 1


class KilledError(BaseException):
    """Stands for a kill -9: nothing is written after it."""


def test_a_worker_that_dies_loses_what_came_after_its_last_checkpoint_and_nothing_else(worker: Worker) -> None:
    expected = worker.published(worker.train(worker.claim(worker.submit(**LONG, optimizer="adam"))))
    job_id = worker.submit(**LONG, optimizer="adam")
    attempt, clock, epochs = worker.claim(job_id), Clock(), itertools.count(1)

    def die_in_the_41st_epoch() -> bool:
        clock.now += 1
        if next(epochs) == 41:
            raise KilledError
        return False

    with pytest.raises(KilledError):
        run_training(
            attempt,
            models=worker.models,
            blobs=worker.blobs,
            deadline=Deadline(clock),
            stop_requested=die_in_the_41st_epoch,
        )
    checkpoint = worker.jobs.get(job_id).checkpoint
    assert checkpoint is not None and 36 <= checkpoint.total_epochs <= 40
    attempt.hand_back()
    assert worker.published(worker.train(worker.claim(job_id))) == expected


def handed_back(worker: Worker, **spec: Any) -> str:
    """Submit a job, train some epochs of it and hand it back with a checkpoint."""
    job_id = worker.submit(**LONG, **spec)
    attempt = worker.claim(job_id)
    with pytest.raises(HandedBackError):
        worker.train(attempt, stop_after=20)
    attempt.hand_back()
    return job_id


@pytest.mark.parametrize("damage", ["missing", "cut short", "written by other code"])
def test_an_attempt_that_cannot_read_the_checkpoint_starts_over_and_says_so(
    worker: Worker, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = worker.published(worker.train(worker.claim(worker.submit(**LONG))))
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
    assert worker.published(worker.train(worker.claim(job_id))) == expected
    assert "starting over" in worker.messages(job_id)[-1]


def test_an_attempt_starts_over_when_training_refuses_the_checkpoint(worker: Worker) -> None:
    expected = worker.published(worker.train(worker.claim(worker.submit(**LONG))))
    other = handed_back(worker, features=[[1.0], [2.0], [3.0]], targets=[0.0, 1.0, 1.0])
    reference = worker.jobs.get(other).checkpoint
    job_id = worker.submit(**LONG)
    attempt = worker.claim(job_id)
    assert reference is not None
    attempt.record_checkpoint(reference.blob, total_epochs=20)
    attempt.hand_back()
    assert worker.published(worker.train(worker.claim(job_id))) == expected
    assert "starting over" in worker.messages(job_id)[-1]


def test_an_attempt_that_drops_a_checkpoint_of_the_refit_saves_nothing_of_it_when_it_starts_over(
    worker: Worker,
) -> None:
    job_id = handed_back(worker, sweep=Sweep(GRID, refit=True))
    attempt = worker.claim(job_id)
    of_race = Checkpoints(attempt, worker.blobs).load()
    assert of_race is not None
    winner = LeaderboardEntry(1, 0, 0.01, 0.0, 0, 0.1, 0.1, 60, 60, "max_epochs")
    result = Result("max_epochs", 60, 60, 0.1, None, {}, leaderboard=(winner,))
    stage = RefitStage(result, result, b"", total_epochs=9000)
    # The state is that of a race, which the refit refuses.
    Checkpoints(attempt, worker.blobs).save(replace(of_race, refit=stage, total_epochs=9001))
    attempt.hand_back()
    with pytest.raises(HandedBackError):
        worker.train(worker.claim(job_id), stop_after=20)
    assert "starting over" in worker.messages(job_id)[-1]
    reference = worker.jobs.get(job_id).checkpoint
    assert reference is not None
    saved = decode_checkpoint(worker.blobs.get(reference.blob))
    assert (saved.refit, saved.total_epochs) == (None, of_race.total_epochs)


def test_the_time_of_earlier_attempts_counts_towards_the_limit(worker: Worker) -> None:
    job_id = worker.submit(max_epochs=1_000_000, tolerance=0.0, time_limit_s=50.0)
    attempt = worker.claim(job_id)
    with pytest.raises(HandedBackError):
        worker.train(attempt, stop_after=30, seconds_per_epoch=1.0)
    attempt.hand_back()
    worker.train(worker.claim(job_id), seconds_per_epoch=1.0)
    result = worker.jobs.get(job_id).result
    assert result is not None
    # 30 epochs in 30 s, 20 more in the other 20 s, and the one that finds the time used up.
    assert (result.stop_reason, result.epochs) == ("time_limit", 51)


def test_an_attempt_without_time_left_publishes_what_the_earlier_one_came_to(worker: Worker) -> None:
    class TimeIsUp(Deadline):
        @contextlib.contextmanager
        def interruptible(self) -> Iterator[None]:
            raise TimeUpError
            yield

    job_id = worker.submit(max_epochs=1_000_000, tolerance=0.0, time_limit_s=50.0)
    attempt = worker.claim(job_id)
    with pytest.raises(HandedBackError):
        worker.train(attempt, stop_after=30, seconds_per_epoch=1.0)
    attempt.hand_back()
    worker.train(worker.claim(job_id), deadline_type=TimeIsUp)
    result = worker.jobs.get(job_id).result
    assert result is not None
    assert (result.stop_reason, result.epochs) == ("time_limit", 30)


def test_only_the_newest_checkpoint_is_kept_and_none_of_a_job_that_succeeded(worker: Worker) -> None:
    job_id = worker.submit(**LONG)
    attempt = worker.claim(job_id)
    data = attempt.job.spec.data.blob
    with pytest.raises(HandedBackError):
        worker.train(attempt, stop_after=40, seconds_per_epoch=2.0)
    reference = worker.jobs.get(job_id).checkpoint
    assert reference is not None
    assert stored(worker.blobs) == {data, reference.blob}
    attempt.hand_back()
    worker.train(worker.claim(job_id), seconds_per_epoch=2.0)
    assert stored(worker.blobs) == {data}


def stored(blobs: BlobStore) -> set[str]:
    return {path.rpartition("/")[2] for path in blobs._filesystem.find(blobs._root)}


def test_a_stale_attempt_leaves_no_checkpoint(worker: Worker) -> None:
    attempt = worker.claim(worker.submit(**LONG))
    worker.jobs.cancel(attempt.job.id)
    with pytest.raises(StaleAttemptError):
        Checkpoints(attempt, worker.blobs).save(Checkpoint(attempt.job.id, 1, 0.0, None))
    assert stored(worker.blobs) == {attempt.job.spec.data.blob}


def test_a_checkpoint_recorded_by_a_command_that_is_sent_again_too_late_stays(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is lost, and the attempt is declared dead before the command is repeated."""
    attempt = worker.claim(worker.submit(**LONG))
    record = attempt.record_checkpoint

    def record_twice(blob: str, *, total_epochs: int) -> bool:
        record(blob, total_epochs=total_epochs)
        attempt.hand_back()
        worker.claim(attempt.job.id)
        return record(blob, total_epochs=total_epochs)

    monkeypatch.setattr(attempt, "record_checkpoint", record_twice)
    with pytest.raises(StaleAttemptError):
        Checkpoints(attempt, worker.blobs).save(Checkpoint(attempt.job.id, 1, 0.0, None))
    recorded = worker.jobs.get(attempt.job.id).checkpoint
    assert recorded is not None
    assert recorded.blob in stored(worker.blobs)


def test_a_full_blob_store_costs_checkpoints_but_no_job(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = worker.submit(**LONG)
    monkeypatch.setattr(worker.blobs, "_write", full)
    assert worker.train(worker.claim(job_id), seconds_per_epoch=2.0) == 1
    assert worker.jobs.get(job_id).checkpoint is None


def full(_path: str, _content: bytes) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
