"""The parent ends a child that should have ended by itself, and no other."""

import threading
from typing import Any

import pytest
from redis import ConnectionError

from storage.jobs.attempt import Attempt
from storage.jobs.record import Job
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from tests.builders import training_spec
from tests.clock import Clock
from tests.faults.rig import wait_for
from worker import heartbeat
from worker.deadline import Deadline
from worker.guard import Guard, WorkerChild
from worker.heartbeat import Heartbeat

ERROR = JobError("diverged", "")


@pytest.fixture
def child() -> WorkerChild:
    return WorkerChild()


def begin(jobs: JobStore, child: WorkerChild) -> Attempt:
    job_id = jobs.submit("m", training_spec(), metadata={}).id
    child.begin(job_id)
    attempt = jobs.claim(job_id, child.token)
    assert attempt is not None
    return attempt


def test_a_child_that_stays_with_a_lost_job_is_killed(jobs: JobStore, child: WorkerChild) -> None:
    guard = Guard(child, jobs, clock=iter([0.0, 3.0, 9.0]).__next__)
    attempt = begin(jobs, child)
    assert guard.reason_to_kill() is None
    jobs.cancel(attempt.job.id)
    assert [guard.reason_to_kill() for _ in range(3)] == [None, None, "no longer owns its job"]


def test_a_child_is_not_killed_for_waiting_between_jobs_while_redis_is_away(
    jobs: JobStore, child: WorkerChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(child, jobs, clock=iter([0.0, 20.0]).__next__)
    attempt = begin(jobs, child)
    assert guard.reason_to_kill() is None
    attempt.fail(ERROR)
    assert guard.reason_to_kill() is None  # it waits for the next queue entry

    def away(*_: Any) -> bool:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setattr(jobs, "is_held_by", away)
        with pytest.raises(ConnectionError):
            guard.reason_to_kill()
    assert guard.reason_to_kill() is None  # 20 s later, but it could not go on


def test_a_child_that_has_just_gone_on_to_the_next_job_is_not_killed_for_the_one_before(
    jobs: JobStore, child: WorkerChild, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(child, jobs)
    attempt = begin(jobs, child)
    child.deadline.begin(1.0, used_s=8.0)
    get = jobs.get

    def get_while_it_goes_on(job_id: str) -> Job:
        job = get(job_id)
        attempt.fail(ERROR)
        child.begin("job_next")
        return job

    monkeypatch.setattr(jobs, "get", get_while_it_goes_on)
    assert guard.reason_to_kill() is None


def test_a_child_that_waits_for_a_job_is_not_killed_for_the_one_before(jobs: JobStore, child: WorkerChild) -> None:
    guard = Guard(child, jobs, clock=iter([0.0, 20.0, 40.0, 60.0]).__next__)
    attempt = begin(jobs, child)
    assert guard.reason_to_kill() is None
    attempt.fail(ERROR)
    child.wait()
    assert [guard.reason_to_kill() for _ in range(3)] == [None] * 3  # a minute later


def test_a_job_that_is_being_handed_back_is_not_failed_when_its_time_limit_passes(
    jobs: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.01)
    clock, stop_requested = Clock(), threading.Event()
    child = WorkerChild(deadline=Deadline(clock))
    guard = Guard(child, jobs)
    attempt = begin(jobs, child)
    child.deadline.begin(10.0, used_s=0.0)
    with Heartbeat(attempt, stop_requested, child.deadline):
        stop_requested.set()
        wait_for(lambda: child.deadline.overdue_s < -10.0, 3.0)  # the thread waits for the epoch, then hands back
        clock.now += 30.0
        assert guard.reason_to_kill() is None
    assert jobs.get(attempt.job.id).status == "running"
