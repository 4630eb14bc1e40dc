"""The reconciler ends attempts that died, and no others."""

import pytest
from redis import Redis
from redis.exceptions import ConnectionError

from storage import keys
from storage.errors import StaleAttemptError
from storage.jobs.reconciler import DEAD_AFTER_S, Reconciler
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.builders import claimed, training_spec


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reconciler(redis: Redis, jobs: JobStore, queue: TrainingQueue, clock: Clock) -> Reconciler:
    return Reconciler(redis, jobs, queue, holder="test", clock=clock)


def test_a_heartbeat_that_stands_still_ends_the_attempt(
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler, clock: Clock
) -> None:
    claim = claimed(jobs)
    redis.delete("rq:queue:training")
    reconciler.run()
    clock.now += DEAD_AFTER_S - 0.1
    reconciler.run()
    assert jobs.get(claim.job.id).status == "running"
    clock.now += 0.1
    reconciler.run()
    assert jobs.get(claim.job.id).status == "queued"
    assert queue.waiting_job_ids() == {claim.job.id}
    with pytest.raises(StaleAttemptError):
        jobs.heartbeat(claim)


def test_a_heartbeat_that_moves_keeps_the_attempt(
    jobs: JobStore, redis: Redis, reconciler: Reconciler, clock: Clock
) -> None:
    claim = claimed(jobs)
    for beat in range(1, 6):
        reconciler.run()
        clock.now += DEAD_AFTER_S - 0.1
        redis.hset(keys.job(claim.job.id), "heartbeat_at_ms", beat)  # a clock that is decades behind
    reconciler.run()
    assert jobs.get(claim.job.id).status == "running"


def test_a_new_attempt_is_not_ended_for_the_death_of_the_one_before(
    jobs: JobStore, reconciler: Reconciler, clock: Clock
) -> None:
    first = claimed(jobs)
    reconciler.run()
    clock.now += DEAD_AFTER_S
    jobs.hand_back(first)
    second = jobs.claim(first.job.id)
    reconciler.run()
    assert second is not None
    jobs.heartbeat(second)


def test_an_attempt_that_beat_after_it_was_looked_at_goes_on(jobs: JobStore) -> None:
    claim = claimed(jobs)
    ended = jobs.end_dead_attempt(claim.job.id, 1, 12345, max_deaths=3, error={"code": "attempts_exhausted"})
    assert ended is None
    jobs.heartbeat(claim)


def test_an_outage_is_no_death(
    jobs: JobStore, redis: Redis, reconciler: Reconciler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(jobs)
    reconciler.run()

    def unreachable(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setattr(reconciler, "_read", unreachable)
        with pytest.raises(ConnectionError):
            reconciler.run()
    clock.now += 10 * DEAD_AFTER_S
    reconciler.run()
    assert jobs.get(claim.job.id).status == "running"


def test_who_was_not_heard_of_since_an_outage_gets_another_attempt_for_nothing(
    jobs: JobStore, reconciler: Reconciler, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(jobs)
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
    job = jobs.get(claim.job.id)
    assert (job.status, job.n_deaths) == ("queued", 0)


def test_who_beat_before_the_server_was_started_last_gets_another_attempt_for_nothing(
    jobs: JobStore, redis: Redis, reconciler: Reconciler, clock: Clock
) -> None:
    claim = claimed(jobs)
    redis.hset(keys.job(claim.job.id), "heartbeat_at_ms", 1)
    reconciler.run()
    clock.now += DEAD_AFTER_S
    reconciler.run()
    job = jobs.get(claim.job.id)
    assert (job.status, job.n_deaths) == ("queued", 0)


def test_the_third_death_fails_the_job(jobs: JobStore, reconciler: Reconciler, clock: Clock) -> None:
    job_id = jobs.submit("or", training_spec(), metadata={}).id
    for attempt in (1, 2, 3):
        claim = jobs.claim(job_id)
        assert claim is not None and claim.attempt == attempt
        reconciler.run()
        clock.now += DEAD_AFTER_S
        reconciler.run()
    job = jobs.get(job_id)
    assert job.status == "failed"
    assert job.error is not None and job.error["code"] == "attempts_exhausted"


def test_a_lost_ring_is_rung_again_and_a_waiting_one_is_not(
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler
) -> None:
    lost = jobs.submit("or", training_spec(), metadata={}).id
    redis.delete("rq:queue:training")
    waiting = jobs.submit("or", training_spec(), metadata={}).id
    reconciler.run()
    assert queue.waiting_job_ids() == {waiting}  # five seconds have not passed yet
    for job_id in (lost, waiting):
        redis.hset(keys.job(job_id), "rung_at_ms", 0)
    reconciler.run()
    assert queue.waiting_job_ids() == {lost, waiting}
    assert redis.llen("rq:queue:training") == 2


def test_many_lost_rings_are_rung_again_some_at_a_time(
    jobs: JobStore, queue: TrainingQueue, redis: Redis, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.jobs.reconciler.RINGS_AT_ONCE", 2)
    for _ in range(5):
        redis.hset(keys.job(jobs.submit("or", training_spec(), metadata={}).id), "rung_at_ms", 0)
    redis.delete("rq:queue:training")
    n_rung = []
    for _ in range(4):
        reconciler.run()
        n_rung.append(redis.llen("rq:queue:training"))
    assert n_rung == [2, 4, 5, 5]


def test_only_one_reconciler_acts_at_a_time(
    redis: Redis, jobs: JobStore, queue: TrainingQueue, reconciler: Reconciler, clock: Clock
) -> None:
    reconciler.run()
    claim = claimed(jobs)
    other = Reconciler(redis, jobs, queue, holder="other", clock=clock)
    other.run()
    clock.now += DEAD_AFTER_S
    other.run()
    assert jobs.get(claim.job.id).status == "running"
    redis.delete(keys.RECONCILER_LEASE)
    other.run()
    assert jobs.get(claim.job.id).status == "queued"
