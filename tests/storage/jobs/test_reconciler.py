"""The reconciler ends attempts that died, and no others."""

from collections.abc import Callable

import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from storage import keys
from storage.blobs import BlobStore
from storage.errors import StaleAttemptError
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reconciler import DEAD_AFTER_S, ENQUEUE_AGAIN_AFTER_S, Reconciler
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
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler, clock: Clock
) -> None:
    lost = jobs.submit("or", training_spec(), metadata={}).id
    redis.delete("rq:queue:training")
    waiting = jobs.submit("or", training_spec(), metadata={}).id
    reconciler.run()
    clock.now += ENQUEUE_AGAIN_AFTER_S - 0.1
    reconciler.run()
    assert queue.waiting_job_ids() == {waiting}
    clock.now += 0.1
    reconciler.run()
    assert queue.waiting_job_ids() == {lost, waiting}
    clock.now += ENQUEUE_AGAIN_AFTER_S
    reconciler.run()
    assert redis.llen("rq:queue:training") == 2


@pytest.mark.parametrize("hours", [1, -1, 24 * 40, -24 * 40])
def test_a_lost_entry_is_replaced_whatever_the_servers_clock_says(
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler, clock: Clock, hours: int
) -> None:
    """R31. On 15a4f66 a job waited for as long as the clock had been set back."""
    lost = jobs.submit("or", training_spec(), metadata={}).id
    redis.hincrby(keys.job(lost), "enqueued_at_ms", hours * 3600 * 1000)
    redis.delete("rq:queue:training")
    for _ in range(3):
        reconciler.run()
        clock.now += 3
    assert queue.waiting_job_ids() == {lost}


def test_a_lease_that_outlives_its_holder_because_the_clock_was_set_back_is_taken_over(
    redis: Redis, jobs: JobStore, reconciler: Reconciler, clock: Clock
) -> None:
    redis.set(keys.RECONCILER_LEASE, "a dead one", ex=3600)
    attempt = claimed(jobs)
    for _ in range(8):
        reconciler.run()
        clock.now += 3
    assert jobs.get(attempt.job.id).status == "queued"


def test_many_lost_entries_are_replaced_some_at_a_time(
    jobs: JobStore,
    queue: TrainingQueue,
    redis: Redis,
    reconciler: Reconciler,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("storage.jobs.reconciler.ENQUEUE_AT_ONCE", 2)
    for _ in range(5):
        jobs.submit("or", training_spec(), metadata={})
    redis.delete("rq:queue:training")
    reconciler.run()
    clock.now += ENQUEUE_AGAIN_AFTER_S
    n_entries = []
    for _ in range(4):
        reconciler.run()
        n_entries.append(redis.llen("rq:queue:training"))
    assert n_entries == [2, 4, 5, 5]


DAMAGES: dict[str, Callable[[Redis, str], object]] = {
    "a record of the wrong type": lambda redis, job_id: redis.set(keys.job(job_id), "text"),
    "a heartbeat and a time that are no numbers": lambda redis, job_id: redis.hset(
        keys.job(job_id), mapping={"heartbeat_at_ms": "soon", "enqueued_at_ms": "then"}
    ),
    "an attempt that is no number": lambda redis, job_id: redis.hset(keys.job(job_id), "attempt", "first"),
    "events of the wrong type": lambda redis, job_id: redis.set(keys.events(job_id), "text"),
    "a member that is no id": lambda redis, job_id: redis.zadd(
        keys.jobs_with_status("queued"), {f"{job_id}:events": 1, b"\xff": 2}
    ),
    "running jobs of the wrong type": lambda redis, _: redis.set(keys.jobs_with_status("running"), "text"),
    "done jobs of the wrong type": lambda redis, _: redis.set(keys.jobs_with_status("failed"), "text"),
    "lease of the wrong type": lambda redis, _: redis.rpush(keys.RECONCILER_LEASE, "text"),
    "a clock of the wrong type": lambda redis, _: redis.set(keys.SERVICE_CLOCK, "text"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_data_keeps_nobody_from_looking_after_the_other_jobs(
    jobs: JobStore,
    queue: TrainingQueue,
    redis: Redis,
    reconciler: Reconciler,
    clock: Clock,
    damage: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R38. On 15a4f66 one damaged record ended the look at all jobs."""
    monkeypatch.setattr("storage.alarm._said_at_s", {})
    damaged, dead = claimed(jobs).job.id, claimed(jobs).job.id
    redis.delete("rq:queue:training", keys.jobs_with_status("failed"))
    lost = jobs.submit("or", training_spec(), metadata={}).id
    redis.delete("rq:queue:training")
    if damage.startswith("running"):
        redis.delete(keys.jobs_with_status("running"))
    DAMAGES[damage](redis, damaged)
    for _ in range(6):
        reconciler.run()
        clock.now += 3
    assert lost in queue.waiting_job_ids()
    if not damage.startswith("running"):
        assert jobs.get(dead).status == "queued"
    if not damage.startswith(("events", "a clock")):  # which are written anew
        indexes = {
            "running": keys.jobs_with_status("running"),
            "done": keys.jobs_with_status("failed"),
            "lease": keys.RECONCILER_LEASE,
        }
        named = indexes.get(damage.split()[0], damaged)
        assert any("ALARM" in line and named in line for line in caplog.messages), caplog.messages


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
