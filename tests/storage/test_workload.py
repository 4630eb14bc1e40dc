"""What metrics read from Redis, and what the steps of jobs count there."""

import pytest
from redis import Redis

from storage import alarm, keys
from storage.jobs.record import SilentAttempt
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from storage.workload import WorkerFigures, count_attempt, read_workload, share_alarms
from tests.builders import RESULT, claimed, description, progress, training_spec

WORKER = "rq:worker:w1"


def register(redis: Redis, **fields: str) -> None:
    redis.sadd("rq:workers:training", WORKER)
    redis.hset(WORKER, mapping={"queues": "training", "state": "busy", **fields})


def test_every_step_is_counted_once_however_often_it_is_sent(redis: Redis, jobs: JobStore) -> None:
    first, second = claimed(jobs), claimed(jobs)
    for _ in range(2):  # sent again after a lost answer
        first.report(progress(7))
        first.record_checkpoint("a" * 64, total_epochs=7)
    first.record_checkpoint("b" * 64, total_epochs=6)  # an older one, which is not kept
    first.report(progress(10))
    second.report(progress(5))
    first.publish(b"w", description(first), RESULT)
    for _ in range(2):
        second.fail(JobError("diverged", "it grew"))
    third = claimed(jobs)
    third.hand_back()
    jobs.cancel(third.job.id)
    jobs.cancel(third.job.id)
    assert read_workload(redis).counters == {
        "submitted": 3, "claimed": 3, "epochs": 15, "checkpoints": 1, "published": 1, "failed": 1, "handed_back": 1,
        "cancelled": 1,
    }  # fmt: skip


def test_the_epochs_of_an_attempt_that_begins_again_are_counted_but_for_the_first_report(
    redis: Redis, jobs: JobStore
) -> None:
    attempt = claimed(jobs)
    for epoch in (4, 2, 6):  # 4, then back to 2, then 4 more
        attempt.report(progress(epoch))
    assert (read_workload(redis).counters or {})["epochs"] == 8


def test_a_death_that_ends_the_job_is_a_failure_too(redis: Redis, jobs: JobStore) -> None:
    attempt = claimed(jobs)
    heartbeat = int(redis.hget(keys.job(attempt.job.id), "heartbeat_at_ms") or 0)  # type: ignore[arg-type]
    jobs.end_dead_attempt(SilentAttempt(attempt.job.id, 1, heartbeat), max_attempts=1, counts=True)
    counters = read_workload(redis).counters
    assert counters == {"submitted": 1, "claimed": 1, "attempt_died": 1, "failed": 1}


@pytest.mark.parametrize("damage", ["string", "word"])
def test_damaged_counters_fail_no_step(redis: Redis, jobs: JobStore, damage: str) -> None:
    if damage == "string":
        redis.set(keys.COUNTERS, "x")
    else:
        redis.hset(keys.COUNTERS, mapping={"submitted": "many", "claimed": "1e999"})
    attempt = claimed(jobs)
    attempt.report(progress(3))
    attempt.publish(b"w", description(attempt), RESULT)
    counters = read_workload(redis).counters
    if damage == "string":
        assert counters is None
    else:
        assert counters == {"submitted": 0, "claimed": 0, "epochs": 3, "published": 1}


def test_the_workload_is_what_the_records_say(redis: Redis, jobs: JobStore) -> None:
    jobs.submit("or", training_spec(), metadata={})
    jobs.submit("or", training_spec(), metadata={})
    claimed(jobs)
    redis.zadd(keys.jobs_with_status("queued"), {jobs.page(limit=3)[0][1].id: 1000})
    register(redis, successful_job_count="3", failed_job_count="1", total_working_time="2.5")
    redis.sadd("rq:workers:training", "rq:worker:expired")
    found = read_workload(redis)
    assert found.n_jobs == {"queued": 2, "running": 1, "succeeded": 0, "failed": 0, "cancelled": 0}
    assert found.n_entries == 3  # nobody has taken them
    seconds, microseconds = redis.time()  # type: ignore[misc]
    assert found.n_runnable == 2
    assert (found.n_webhooks, found.webhooks_overdue_s) == (0, 0.0)
    assert found.oldest_queued_s == pytest.approx(seconds + 1e-6 * microseconds - 1, abs=5)
    assert found.workers == [WorkerFigures("w1", "training", "busy", 3, 1, 2.5)]
    assert found.memory_bytes is not None and found.memory_bytes > 500_000
    assert found.memory_limit_bytes == 0


def test_what_is_damaged_is_left_out_and_the_rest_is_there(redis: Redis, jobs: JobStore) -> None:
    jobs.submit("or", training_spec(), metadata={})
    for key in (keys.jobs_with_status("failed"), "rq:workers:training"):
        redis.set(key, "x")
    redis.delete("rq:queue:training")
    redis.set("rq:queue:training", "x")
    found = read_workload(redis)
    assert found.n_jobs == {"queued": 1, "running": 0, "succeeded": 0, "cancelled": 0}
    assert (found.n_entries, found.workers) == (None, None)
    assert found.n_runnable == 1
    assert found.oldest_queued_s is not None and found.counters == {"submitted": 1}


def test_a_worker_that_writes_nonsense_has_zeros(redis: Redis) -> None:
    register(redis, successful_job_count="nan", failed_job_count="x", total_working_time="-inf")
    assert read_workload(redis).workers == [WorkerFigures("w1", "training", "busy", 0, 0, 0.0)]


def test_one_round_trip_reads_all_of_it(redis: Redis) -> None:
    before = int(redis.info("stats")["total_commands_processed"])  # type: ignore[index]
    read_workload(redis)
    after = int(redis.info("stats")["total_commands_processed"])  # type: ignore[index]
    assert after - before <= 18 + 2  # the commands of the script count, too


def test_an_attempt_is_noted_in_the_record_of_its_worker_unless_that_has_expired(redis: Redis) -> None:
    count_attempt(redis, WORKER, is_success=True, seconds=1.0)
    assert redis.exists(WORKER) == 0
    register(redis)
    count_attempt(redis, WORKER, is_success=True, seconds=1.25)
    count_attempt(redis, WORKER, is_success=True, seconds=0.5)
    count_attempt(redis, WORKER, is_success=False, seconds=2.0)
    assert read_workload(redis).workers == [WorkerFigures("w1", "training", "busy", 2, 1, 3.75)]


def test_alarms_of_workers_are_added_once(redis: Redis) -> None:
    alarm.take()
    alarm.report("this test, first")
    alarm.report("this test, first")  # the same one, not said again
    alarm.report("this test, second")
    share_alarms(redis)
    share_alarms(redis)
    assert read_workload(redis).counters == {"alarms": 2}


def test_the_work_of_all_tenants_is_added_up(redis: Redis, jobs: JobStore) -> None:
    first = jobs.submit("acme/or", training_spec(), metadata={}).id
    for model in ("or", "acme/or", "bolt/or"):
        jobs.submit(model, training_spec(), metadata={})
    redis.zadd(keys.jobs_with_status("queued", "acme"), {first.rpartition("/")[2]: 1_000.0})
    jobs.cancel(jobs.submit("bolt/or", training_spec(), metadata={}).id)
    workload = read_workload(redis)
    assert workload.n_jobs == {"queued": 4, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 1}
    assert workload.oldest_queued_s is not None and workload.oldest_queued_s > 1e9  # the one of second 1 of 1970


def test_the_jobs_that_may_run_are_those_of_each_tenant_up_to_its_limit(
    redis: Redis, jobs: JobStore, queue: TrainingQueue
) -> None:
    for model, n in (("or", 1), ("acme/or", 5), ("bolt/or", 3)):
        for _ in range(n):
            jobs.submit(model, training_spec(), metadata={})
    claimed(jobs, "acme/or")
    # queued 1, 5, 3; running 0, 1, 0
    assert read_workload(redis).n_runnable == 9
    assert read_workload(redis, max_running=2).n_runnable == 1 + 1 + 2
    assert read_workload(redis, max_running=1).n_runnable == 1 + 0 + 1
    assert queue.take() is not None  # and moves all others
    assert read_workload(redis).n_entries == 9
    redis.delete("perceptron:t:acme:jobs:running")
    redis.set("perceptron:t:acme:jobs:running", "x")
    assert read_workload(redis, max_running=1).n_runnable is None


def test_the_oldest_queued_job_is_looked_for_among_those_that_may_run(redis: Redis, jobs: JobStore) -> None:
    seconds, _ = redis.time()  # type: ignore[misc]

    def submit(model: str, age_s: float) -> None:
        tenant, _, job_id = jobs.submit(model, training_spec(), metadata={}).id.rpartition("/")
        redis.zadd(keys.jobs_with_status("queued", tenant), {job_id: 1000 * (seconds - age_s)})

    claimed(jobs, "acme/or")
    submit("acme/or", 5_000)
    assert read_workload(redis, max_running=1).oldest_queued_s == 0.0
    submit("bolt/or", 300)
    submit("or", 200)
    assert read_workload(redis, max_running=1).oldest_queued_s == pytest.approx(300, abs=5)
    assert read_workload(redis, max_running=2).oldest_queued_s == pytest.approx(5_000, abs=5)
    assert read_workload(redis).oldest_queued_s == pytest.approx(5_000, abs=5)
    redis.delete(keys.jobs_with_status("queued"))
    redis.set(keys.jobs_with_status("queued"), "x")
    assert read_workload(redis).oldest_queued_s is None


def test_the_outbox_is_told_by_its_length_and_by_what_should_have_been_tried_long_ago(
    redis: Redis, jobs: JobStore
) -> None:
    seconds, _ = redis.time()  # type: ignore[misc]
    redis.zadd(keys.WEBHOOK_OUTBOX, {"later": 1000 * seconds + 60_000, "soon": 1000 * seconds + 30_000})
    found = read_workload(redis)
    assert (found.n_webhooks, found.webhooks_overdue_s) == (2, 0.0)
    redis.zadd(keys.WEBHOOK_OUTBOX, {"overdue": 1000 * seconds - 90_000})
    found = read_workload(redis)
    assert found.n_webhooks == 3
    assert found.webhooks_overdue_s == pytest.approx(90, abs=5)
    redis.zadd(keys.WEBHOOKS_DUE, {"overdue": 1000 * seconds - 200_000})
    assert read_workload(redis).webhooks_overdue_s == pytest.approx(200, abs=5)
    redis.set(keys.WEBHOOKS_DUE, "x")
    found = read_workload(redis)
    assert (found.n_webhooks, found.webhooks_overdue_s) == (3, None)
    redis.set(keys.WEBHOOK_OUTBOX, "x")
    found = read_workload(redis)
    assert (found.n_webhooks, found.webhooks_overdue_s) == (None, None)
