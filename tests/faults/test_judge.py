"""The judge of `./run chaos` passes a history that kept the promise, and finds each way to break it."""

from collections.abc import Iterator
from itertools import chain, repeat

import pytest
from redis import Redis

from storage import keys
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import claimed, publish, training_spec
from tests.faults.drain import Drain, Reading, drain
from tests.faults.history import History, judge


def accept(history: History, job_id: str, key: str) -> None:
    history.saw_accepted({"id": job_id, "status": "queued"}, key)


def succeeded(history: History, jobs: JobStore, models: ModelStore, key: str = "key") -> str:
    """A job of model `or` that published a version with the weights (1, 1), as a client saw it."""
    number = publish(jobs, weight=1.0)
    job_id = str(models.get_version("or", number).description.job)
    accept(history, job_id, key)
    history.saw_job({"id": job_id, "status": "succeeded", "result": {"version": number}})
    return job_id


def predicted(history: History, *, output: float, version: int = 1) -> None:
    request = {"model": "or", "instances": [[0.0, 0.0]]}
    history.saw_prediction(request, {"model": "or", "version": version, "outputs": [[output]]})


def test_a_history_that_kept_the_promise_has_no_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    succeeded(history, jobs, models)
    cancelled = jobs.submit("or", training_spec(), metadata={}).id
    accept(history, cancelled, "another key")
    jobs.cancel(cancelled)
    predicted(history, output=0.5)  # sigmoid(0)
    history.saw_answer("predict", 503)
    verdict = judge(history, jobs, models)
    assert verdict.violations == []
    assert (verdict.figures["accepted"], verdict.figures["succeeded"], verdict.figures["cancelled"]) == (2, 1, 1)


def test_an_accepted_job_that_is_gone_is_a_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    accept(history, "job_0", "key")
    (violation,) = judge(history, jobs, models).violations
    assert violation.startswith("job_0: accepted, and cannot be read: ")


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_job_that_never_ended_is_a_violation(jobs: JobStore, models: ModelStore, status: str) -> None:
    history = History()
    job_id = claimed(jobs).job.id if status == "running" else jobs.submit("or", training_spec(), metadata={}).id
    accept(history, job_id, "key")
    assert judge(history, jobs, models).violations == [f"{job_id}: accepted, and never ended: {status}"]


def test_a_job_that_no_attempt_could_submit_is_a_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    history.saw_never_accepted("key")
    assert judge(history, jobs, models).violations == ["key key was never accepted"]


def test_a_job_that_published_twice_is_a_violation(jobs: JobStore, models: ModelStore, redis: Redis) -> None:
    history = History()
    job_id = succeeded(history, jobs, models)
    number = publish(jobs)
    description = redis.hget(keys.version("or", 1), "description")
    redis.hset(keys.version("or", number), "description", description)
    assert judge(history, jobs, models).violations == [
        f"{job_id}: succeeded with version 1, but published [('or', 1), ('or', 2)]"
    ]


def test_a_cancelled_job_that_published_is_a_violation(jobs: JobStore, models: ModelStore, redis: Redis) -> None:
    history = History()
    cancelled = jobs.submit("or", training_spec(), metadata={}).id
    jobs.cancel(cancelled)
    accept(history, cancelled, "key")
    number = publish(jobs)
    description = redis.hget(keys.version("or", 1), "description")
    other = str(models.get_version("or", number).description.job)
    redis.hset(keys.version("or", 1), "description", description.replace(other.encode(), cancelled.encode()))
    assert judge(history, jobs, models).violations == [
        f"{cancelled}: cancelled with version None, but published [('or', 1)]"
    ]


def test_a_job_that_was_seen_to_end_in_two_ways_is_a_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    job_id = succeeded(history, jobs, models)
    history.saw_job({"id": job_id, "status": "cancelled", "result": None})
    assert judge(history, jobs, models).violations == [
        f"""{job_id}: seen to end as ["('cancelled', None)", "('succeeded', 1)"]"""
    ]


def test_two_jobs_for_one_idempotency_key_are_a_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    ids = sorted(succeeded(history, jobs, models, "key") for _ in range(2))
    assert judge(history, jobs, models).violations == [f"key key made the jobs {ids}"]


def test_outputs_of_another_version_than_the_answer_names_are_a_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    succeeded(history, jobs, models)
    predicted(history, output=0.6)
    (violation,) = judge(history, jobs, models).violations
    assert "are not those of version ('or', 1)" in violation


def test_what_was_seen_to_be_wrong_is_a_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    history.saw_violation("something was written")
    assert judge(history, jobs, models).violations == ["something was written"]


def test_an_answer_500_is_a_violation(jobs: JobStore, models: ModelStore) -> None:
    history = History()
    history.saw_answer("read", 500)
    assert judge(history, jobs, models).violations == ["read answered 500"]


def readings(*changes: tuple[int, int]) -> Iterator[Reading]:
    """One reading every 10 s, each with (jobs that are open, work done so far); the last one for ever."""
    for k, (n_open, work) in enumerate(chain(changes, repeat(changes[-1]))):
        yield Reading(10.0 * k, n_open, work)


def test_a_slow_store_is_waited_for_as_long_as_work_gets_done() -> None:
    # one job takes 50 s, one epoch every 10 s, and the next 30 s more
    slow = readings((2, 0), (2, 1), (2, 2), (2, 3), (2, 4), (1, 5), (1, 5), (1, 6), (0, 7))
    assert drain(slow, patience_s=25.0) == Drain(seconds=80.0, n_open=0)


def test_a_store_where_nothing_moves_is_given_up_after_the_patience() -> None:
    # the last work is seen at 10 s; the first reading at least 25 s later is that at 40 s
    assert drain(readings((3, 0), (2, 1)), patience_s=25.0) == Drain(seconds=40.0, n_open=2)


def test_a_quiet_store_is_judged_at_once() -> None:
    assert drain(readings((0, 7)), patience_s=25.0) == Drain(seconds=0.0, n_open=0)
