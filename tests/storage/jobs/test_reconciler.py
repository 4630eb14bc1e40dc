"""The reconciler ends attempts that died, and no others."""

import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from storage import keys
from storage.blobs import BlobStore
from storage.errors import StaleAttemptError
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reconciler import DEAD_AFTER_S, Reconciler
from storage.jobs.record import SilentAttempt
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.builders import claimed, training_spec
from tests.clock import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def housekeeping(redis: Redis, blobs: BlobStore) -> Housekeeping:
    return Housekeeping(redis, blobs, keep_jobs_s=24 * 3600)


@pytest.fixture
def reconciler(
    redis: Redis, jobs: JobStore, queue: TrainingQueue, housekeeping: Housekeeping, clock: Clock
) -> Reconciler:
    return Reconciler(redis, jobs, queue, holder="test", max_attempts=3, housekeeping=housekeeping, clock=clock)


def test_an_attempt_without_a_new_heartbeat_is_ended(
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler, clock: Clock
) -> None:
    attempt = claimed(jobs)
    redis.delete("rq:queue:training")
    reconciler.run()
    clock.now += DEAD_AFTER_S - 0.1
    reconciler.run()
    assert jobs.get(attempt.job.id).status == "running"
    clock.now += 0.1
    reconciler.run()
    assert jobs.get(attempt.job.id).status == "queued"
    assert queue.waiting_job_ids() == {attempt.job.id}
    with pytest.raises(StaleAttemptError):
        attempt.heartbeat()


def test_a_heartbeat_that_moves_keeps_the_attempt(
    jobs: JobStore, redis: Redis, reconciler: Reconciler, clock: Clock
) -> None:
    attempt = claimed(jobs)
    for beat in range(1, 6):
        reconciler.run()
        clock.now += DEAD_AFTER_S - 0.1
        redis.hset(keys.job(attempt.job.id), "heartbeat_at_ms", beat)  # a clock that is decades behind
    reconciler.run()
    assert jobs.get(attempt.job.id).status == "running"


def test_a_new_attempt_is_not_ended_for_the_death_of_the_one_before(
    jobs: JobStore, reconciler: Reconciler, clock: Clock
) -> None:
    first = claimed(jobs)
    reconciler.run()
    clock.now += DEAD_AFTER_S
    first.hand_back()
    second = jobs.claim(first.job.id)
    reconciler.run()
    assert second is not None
    second.heartbeat()


def test_an_attempt_that_sent_a_heartbeat_meanwhile_goes_on(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    ended = jobs.end_dead_attempt(SilentAttempt(attempt.job.id, 1, 12345), max_attempts=3, counts=True)
    assert ended is None
    attempt.heartbeat()


def test_an_outage_is_no_death(
    jobs: JobStore, redis: Redis, reconciler: Reconciler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = claimed(jobs)
    reconciler.run()

    def unreachable(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setattr(reconciler, "_read", unreachable)
        with pytest.raises(ConnectionError):
            reconciler.run()
    clock.now += 10 * DEAD_AFTER_S
    reconciler.run()
    assert jobs.get(attempt.job.id).status == "running"


def test_an_attempt_silent_since_an_outage_is_replaced_but_its_death_does_not_count(
    jobs: JobStore, reconciler: Reconciler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = claimed(jobs)
    reconciler.run()

    def unreachable(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setattr(reconciler, "_read", unreachable)
        with pytest.raises(ConnectionError):
            reconciler.run()
    reconciler.run()
    clock.now += DEAD_AFTER_S
    reconciler.run()
    job = jobs.get(attempt.job.id)
    assert (job.status, job.n_deaths) == ("queued", 0)


def test_an_attempt_silent_since_before_the_server_started_is_replaced_but_its_death_does_not_count(
    jobs: JobStore, redis: Redis, reconciler: Reconciler, clock: Clock
) -> None:
    attempt = claimed(jobs)
    redis.hset(keys.job(attempt.job.id), "heartbeat_at_ms", 1)
    reconciler.run()
    clock.now += DEAD_AFTER_S
    reconciler.run()
    job = jobs.get(attempt.job.id)
    assert (job.status, job.n_deaths) == ("queued", 0)


def test_the_number_of_attempts_is_a_setting(
    jobs: JobStore, redis: Redis, queue: TrainingQueue, housekeeping: Housekeeping, clock: Clock
) -> None:
    strict = Reconciler(redis, jobs, queue, holder="strict", max_attempts=1, housekeeping=housekeeping, clock=clock)
    attempt = claimed(jobs)
    strict.run()
    clock.now += DEAD_AFTER_S
    strict.run()
    error = jobs.get(attempt.job.id).error
    assert error is not None and (error.code, error.detail[:10]) == ("attempts_exhausted", "1 attempts")


def test_the_third_death_fails_the_job(jobs: JobStore, reconciler: Reconciler, clock: Clock) -> None:
    job_id = jobs.submit("or", training_spec(), metadata={}).id
    for number in (1, 2, 3):
        attempt = jobs.claim(job_id)
        assert attempt is not None and attempt.number == number
        reconciler.run()
        clock.now += DEAD_AFTER_S
        reconciler.run()
    job = jobs.get(job_id)
    assert job.status == "failed"
    assert job.error is not None and job.error.code == "attempts_exhausted"


def test_a_job_whose_entry_was_lost_is_enqueued_again_and_one_that_waits_is_not(
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler
) -> None:
    lost = jobs.submit("or", training_spec(), metadata={}).id
    redis.delete("rq:queue:training")
    waiting = jobs.submit("or", training_spec(), metadata={}).id
    reconciler.run()
    assert queue.waiting_job_ids() == {waiting}  # five seconds have not passed yet
    for job_id in (lost, waiting):
        redis.hset(keys.job(job_id), "enqueued_at_ms", 0)
    reconciler.run()
    assert queue.waiting_job_ids() == {lost, waiting}
    assert redis.llen("rq:queue:training") == 2


def test_many_lost_entries_are_replaced_some_at_a_time(
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.jobs.reconciler.ENQUEUE_AT_ONCE", 2)
    for _ in range(5):
        redis.hset(keys.job(jobs.submit("or", training_spec(), metadata={}).id), "enqueued_at_ms", 0)
    redis.delete("rq:queue:training")
    n_entries = []
    for _ in range(4):
        reconciler.run()
        n_entries.append(redis.llen("rq:queue:training"))
    assert n_entries == [2, 4, 5, 5]


def test_only_one_reconciler_acts_at_a_time(
    redis: Redis,
    jobs: JobStore,
    queue: TrainingQueue,
    reconciler: Reconciler,
    housekeeping: Housekeeping,
    clock: Clock,
) -> None:
    reconciler.run()
    attempt = claimed(jobs)
    other = Reconciler(redis, jobs, queue, holder="other", max_attempts=3, housekeeping=housekeeping, clock=clock)
    other.run()
    clock.now += DEAD_AFTER_S
    other.run()
    assert jobs.get(attempt.job.id).status == "running"
    redis.delete(keys.RECONCILER_LEASE)
    other.run()
    assert jobs.get(attempt.job.id).status == "queued"
