"""Queue entries that are taken past RQ."""

import os
import platform
import time

import rq
from redis import Redis
from rq import Worker
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from storage.jobs.store import JobStore
from storage.queue import QUEUE_NAME, TrainingQueue
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
