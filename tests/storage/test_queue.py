"""Queue entries that are taken past RQ."""

import os
import platform
import threading
import time
from typing import Any

import pytest
import rq
from redis import Redis
from rq import Worker
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from storage import keys
from storage.errors import QueueFullError
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.queue import QUEUE_NAME, TrainingQueue
from storage.tenants import tenant_of
from tests.builders import training_spec


def test_entries_are_taken_in_order_and_leave_nothing_behind(
    redis: Redis, jobs: JobStore, queue: TrainingQueue
) -> None:
    ids = [jobs.submit("or", training_spec(), metadata={}).id for _ in range(2)]
    assert queue.waiting_job_ids() == set(ids)
    assert [queue.take(), queue.take(), queue.take()] == [*ids, None]
    assert queue.waiting_job_ids() == set()
    assert list(redis.scan_iter("rq:job:*")) == []


def test_registered_workers_tell_who_they_are_and_a_forged_one_is_left_out(redis: Redis, queue: TrainingQueue) -> None:
    worker = Worker([queue.rq_queue], name="w1", connection=redis)
    worker.register_birth()
    for name, fields in (("w2", {"pid": "many"}), ("w3", {})):
        redis.sadd(WORKERS_BY_QUEUE_KEY % QUEUE_NAME, f"rq:worker:{name}")
        if fields:
            redis.hset(f"rq:worker:{name}", mapping=fields)
    (found,) = queue.workers()
    assert (found.name, found.pid) == ("w1", os.getpid())
    assert abs(found.last_heartbeat_at.timestamp() - time.time()) < 10
    assert (found.rq_version, found.python_version) == (rq.VERSION, platform.python_version())


def submitted(jobs: JobStore, tenant: str, n: int) -> list[str]:
    model = f"{tenant}/or" if tenant else "or"
    return [jobs.submit(model, training_spec(), metadata={}).id for _ in range(n)]


def taken(jobs: JobStore, queue: TrainingQueue, n: int) -> list[str]:
    """Take and claim n jobs, all of which run from then on; return the tenant of each."""
    tenants = []
    for _ in range(n):
        job_id = queue.take()
        assert job_id is not None and jobs.claim(job_id) is not None
        tenants.append(tenant_of(job_id))
    return tenants


def test_a_thousand_jobs_of_one_tenant_do_not_hold_up_the_one_of_another(jobs: JobStore, queue: TrainingQueue) -> None:
    submitted(jobs, "acme", 1_000)
    (its_id,) = submitted(jobs, "bolt", 1)
    assert taken(jobs, queue, 1) == ["acme"]
    assert queue.take() == its_id
    assert len(queue.waiting_job_ids()) == 999


def test_the_tenant_with_the_fewest_running_jobs_comes_next(jobs: JobStore, queue: TrainingQueue) -> None:
    submitted(jobs, "acme", 2)
    assert taken(jobs, queue, 2) == ["acme", "acme"]
    for tenant in ("acme", "bolt", ""):
        submitted(jobs, tenant, 4)
    # running: acme 2, others 0; each that is taken runs on
    first = taken(jobs, queue, 4)
    assert sorted(first) == ["", "", "bolt", "bolt"]
    assert sorted(taken(jobs, queue, 3)) == ["", "acme", "bolt"]


def test_tenants_take_turns_where_one_worker_trains_one_job_at_a_time(jobs: JobStore, queue: TrainingQueue) -> None:
    for tenant in ("acme", "bolt", ""):
        submitted(jobs, tenant, 2)
    turns = []
    for _ in range(6):
        job_id = queue.take()
        assert job_id is not None
        turns.append(tenant_of(job_id))
        attempt = jobs.claim(job_id)
        assert attempt is not None
        attempt.fail(JobError("internal", ""))
    assert sorted(turns[:3]) == sorted(turns[3:]) == ["", "acme", "bolt"]


def test_each_tenants_jobs_are_taken_in_their_order(jobs: JobStore, queue: TrainingQueue) -> None:
    ids = {tenant: submitted(jobs, tenant, 3) for tenant in ("acme", "bolt")}
    order = [queue.take() for _ in range(6)]
    for tenant, its in ids.items():
        assert [job_id for job_id in order if job_id and tenant_of(job_id) == tenant] == its


def test_no_more_jobs_of_one_tenant_run_than_may(redis: Redis, jobs: JobStore) -> None:
    queue = TrainingQueue(redis, max_running=2)
    limited = JobStore(redis, queue)
    submitted(jobs, "acme", 4)
    submitted(jobs, "bolt", 1)
    assert sorted(taken(limited, queue, 3)) == ["acme", "acme", "bolt"]
    assert queue.take() is None and queue.take(wait_s=0.01) is None
    assert len(queue.waiting_job_ids()) == 2
    running = next(job for job in jobs.page(limit=9, tenant="acme")[0] if job.status == "running")
    jobs.current_attempt(running.id).fail(JobError("internal", ""))
    assert taken(limited, queue, 1) == ["acme"]


def test_a_claim_beyond_the_limit_leaves_the_job_in_the_queue(redis: Redis, jobs: JobStore) -> None:
    """Two workers may take a job each before the first claims its own."""
    queue = TrainingQueue(redis, max_running=1)
    limited = JobStore(redis, queue)
    submitted(jobs, "", 2)
    first, second = queue.take(), queue.take()
    assert first is not None and second is not None
    assert limited.claim(first) is not None
    assert limited.claim(second) is None
    assert queue.waiting_job_ids() == {second}


def test_a_job_that_was_given_back_comes_before_the_others_of_its_tenant(redis: Redis, jobs: JobStore) -> None:
    queue = TrainingQueue(redis, max_running=1)
    limited = JobStore(redis, queue)
    ids = submitted(jobs, "acme", 3)
    assert [queue.take(), queue.take()] == ids[:2]
    running = limited.claim(ids[0])
    assert running is not None and limited.claim(ids[1]) is None
    assert queue.take() is None
    running.fail(JobError("internal", ""))
    assert [queue.take(), queue.take()] == ids[1:]


@pytest.mark.parametrize("n_waiting", [1, 2_500])
def test_a_look_costs_the_same_however_many_jobs_wait_at_the_limit(
    redis: Redis, jobs: JobStore, n_waiting: int
) -> None:
    queue = TrainingQueue(redis, max_running=1)
    limited = JobStore(redis, queue)
    ids = submitted(jobs, "acme", 1 + n_waiting)
    assert taken(limited, queue, 1) == ["acme"]
    redis.config_resetstat()
    assert queue.take() is None
    # In the script: the type and the value of the turns, the tenants, RQ's list, the first job of each of two tenants,
    # and of the one that waits how many run and the oldest queued one.
    told: Any = redis.info("commandstats")
    assert {name.removeprefix("cmdstat_"): figures["calls"] for name, figures in told.items()} == {
        "config|resetstat": 1, "evalsha": 1, "type": 1, "smembers": 1, "hgetall": 1, "lrange": 1, "zrange": 3,
        "zcard": 1,
    }  # fmt: skip
    assert redis.llen("rq:queue:training") == 0
    waiting: Any = redis.zrange(keys.queue("acme"), 0, -1)
    assert [member.decode() for member in waiting] == ids[1:]


def test_a_job_that_arrives_while_a_worker_waits_at_the_limit_is_taken_at_once(redis: Redis, jobs: JobStore) -> None:
    queue = TrainingQueue(redis, max_running=1)
    submitted(jobs, "acme", 2)
    assert taken(JobStore(redis, queue), queue, 1) == ["acme"]
    began_at = time.monotonic()
    timer = threading.Timer(0.3, submitted, (jobs, "bolt", 1))
    timer.start()
    found = queue.take(wait_s=5.0)
    assert found is not None and tenant_of(found) == "bolt"
    assert time.monotonic() - began_at < 2.0
    timer.join()


def test_a_job_whose_entry_another_worker_moved_is_found_while_waiting(redis: Redis, jobs: JobStore) -> None:
    queue = TrainingQueue(redis, max_running=1)
    (job_id,) = submitted(jobs, "acme", 1)

    def move() -> None:
        redis.delete("rq:queue:training")
        redis.zadd(keys.queue("acme"), {job_id: 1})

    redis.delete("rq:queue:training")
    timer = threading.Timer(0.3, move)
    timer.start()
    assert queue.take(wait_s=5.0) == job_id
    timer.join()


def test_a_job_that_was_enqueued_again_and_again_waits_once(redis: Redis, jobs: JobStore, queue: TrainingQueue) -> None:
    """As a reconciler of the release before does it, which does not know where entries go."""
    first, second = submitted(jobs, "acme", 2)
    for _ in range(3):
        queue.enqueue(first)
    assert redis.llen("rq:queue:training") == 5
    assert [queue.take(), queue.take(), queue.take()] == [first, second, None]
    assert list(redis.scan_iter("rq:job:*")) == []


def test_without_tenants_and_a_limit_workers_of_older_releases_see_what_waits(
    redis: Redis, jobs: JobStore, queue: TrainingQueue
) -> None:
    ids = submitted(jobs, "", 5)
    assert queue.take() == ids[0]
    assert queue.take(wait_s=0.01) == ids[1]
    assert redis.llen("rq:queue:training") == 3
    entry = redis.lpop("rq:queue:training")
    assert isinstance(entry, bytes)
    assert queue._take(entry) == ids[2].encode()  # one that BLPOP has taken is the first
    assert redis.llen("rq:queue:training") == 2


def test_a_job_is_taken_when_the_memory_of_redis_is_full(redis: Redis, jobs: JobStore, queue: TrainingQueue) -> None:
    ids = submitted(jobs, "acme", 1) + submitted(jobs, "bolt", 1)
    redis.config_set("maxmemory", 1)
    try:
        entry = redis.lpop("rq:queue:training")
        assert isinstance(entry, bytes)
        first = queue._take(entry)  # as after BLPOP
        assert first is not None and {first.decode(), queue.take()} == set(ids)
    finally:
        redis.config_set("maxmemory", 0)


def test_what_names_no_known_tenant_is_taken_all_the_same(redis: Redis, jobs: JobStore, queue: TrainingQueue) -> None:
    (job_id,) = submitted(jobs, "acme", 1)
    forged = f"nobody/job_{7:032x}"
    queue.enqueue(forged)
    assert {queue.take(), queue.take()} == {job_id, forged}
    assert jobs.claim(forged) is None
    assert list(redis.scan_iter("perceptron:t:nobody:*")) == []


def test_the_entry_of_a_cancelled_job_leaves_the_queue(jobs: JobStore, queue: TrainingQueue) -> None:
    (job_id,) = submitted(jobs, "acme", 1)
    jobs.cancel(job_id)
    assert (queue.take(), queue.take()) == (job_id, None)


def test_a_refused_job_leaves_nothing_in_the_queue(redis: Redis, jobs: JobStore, queue: TrainingQueue) -> None:
    submitted(jobs, "acme", 1)
    for _ in range(3):
        with pytest.raises(QueueFullError):
            jobs.submit("acme/or", training_spec(), metadata={}, max_queued=1)
    assert redis.llen("rq:queue:training") == len(list(redis.scan_iter("rq:job:*"))) == 1


@pytest.mark.parametrize(
    "key",
    [
        "perceptron:t:acme:jobs:queued",
        "perceptron:t:acme:jobs:running",
        "perceptron:t:acme:queue",
        keys.TENANTS,
        keys.TURNS,
    ],
)
def test_one_tenants_damage_is_no_others(redis: Redis, jobs: JobStore, queue: TrainingQueue, key: str) -> None:
    submitted(jobs, "acme", 1)
    (its_id,) = submitted(jobs, "bolt", 1)
    redis.delete(key)
    redis.set(key, "text")
    assert its_id in [queue.take(), queue.take()]


def test_a_damaged_queue_of_a_tenant_is_reported_and_made_anew_for_its_next_entry(
    redis: Redis, jobs: JobStore, queue: TrainingQueue, caplog: pytest.LogCaptureFixture
) -> None:
    lost, waiting = submitted(jobs, "acme", 1)[0], submitted(jobs, "bolt", 2)[1]
    redis.set(keys.queue("acme"), "text")
    redis.delete("rq:queue:training")
    redis.zadd(keys.queue("bolt"), {waiting: 1})
    assert queue.waiting_job_ids() == {waiting}  # so the reconciler enqueues the first one again
    assert "perceptron:t:acme:queue" in caplog.text
    queue.enqueue(lost)
    assert {queue.take(), queue.take()} == {lost, waiting}


def test_turns_that_are_no_numbers_lose_no_entry(redis: Redis, jobs: JobStore, queue: TrainingQueue) -> None:
    ids = submitted(jobs, "acme", 2)
    redis.hset(keys.TURNS, mapping={"#": "text", "acme": "text"})
    assert [queue.take(), queue.take()] == ids


def test_at_the_limit_the_order_stays_and_nothing_is_popped(redis: Redis, jobs: JobStore) -> None:
    queue = TrainingQueue(redis, max_running=1)
    limited = JobStore(redis, queue)
    ids = submitted(jobs, "acme", 3)
    assert taken(limited, queue, 1) == ["acme"]
    for _ in range(3):
        assert queue.take(wait_s=0.01) is None
    jobs.current_attempt(ids[0]).fail(JobError("internal", ""))
    assert queue.take() == ids[1]
