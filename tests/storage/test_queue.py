"""Queue entries that are taken past RQ."""

from redis import Redis

from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.builders import training_spec


def test_entries_are_taken_in_order_and_leave_nothing_behind(
    redis: Redis, jobs: JobStore, queue: TrainingQueue
) -> None:
    ids = [jobs.submit("or", training_spec(), metadata={}).id for _ in range(2)]
    assert queue.waiting_job_ids() == set(ids)
    assert [queue.take(), queue.take(), queue.take()] == [*ids, None]
    assert queue.waiting_job_ids() == set()
    assert list(redis.scan_iter("rq:job:*")) == []
