"""The parent ends a child that should have ended by itself, and no other."""

from typing import Any

import pytest
from redis import ConnectionError

from storage.jobs.record import Claim, Job
from storage.jobs.store import JobStore
from tests.builders import training_spec
from worker.guard import Guard, WorkHorse

ERROR = {"code": "diverged", "detail": ""}


@pytest.fixture
def horse() -> WorkHorse:
    return WorkHorse()


def begin(jobs: JobStore, horse: WorkHorse) -> Claim:
    job_id = jobs.submit("m", training_spec(), metadata={}).id
    horse.begin(job_id)
    claim = jobs.claim(job_id, horse.token)
    assert claim is not None
    return claim


def test_a_child_that_stays_with_a_lost_job_is_killed(jobs: JobStore, horse: WorkHorse) -> None:
    guard = Guard(horse, jobs, clock=iter([0.0, 3.0, 9.0]).__next__)
    claim = begin(jobs, horse)
    assert guard.reason_to_kill() is None
    jobs.cancel(claim.job.id)
    assert [guard.reason_to_kill() for _ in range(3)] == [None, None, "no longer owns its job"]


def test_a_child_is_not_killed_for_waiting_between_jobs_while_redis_is_away(
    jobs: JobStore, horse: WorkHorse, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(horse, jobs, clock=iter([0.0, 20.0]).__next__)
    claim = begin(jobs, horse)
    assert guard.reason_to_kill() is None
    jobs.fail(claim, ERROR)
    assert guard.reason_to_kill() is None  # it waits for the next ring

    def away(*_: Any) -> bool:
        raise ConnectionError

    with monkeypatch.context() as outage:
        outage.setattr(jobs, "is_held_by", away)
        with pytest.raises(ConnectionError):
            guard.reason_to_kill()
    assert guard.reason_to_kill() is None  # 20 s later, but it could not go on


def test_a_child_that_has_just_gone_on_to_the_next_job_is_not_killed_for_the_one_before(
    jobs: JobStore, horse: WorkHorse, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(horse, jobs)
    claim = begin(jobs, horse)
    horse.deadline.begin(1.0, used_s=8.0)
    get = jobs.get

    def get_while_it_goes_on(job_id: str) -> Job:
        job = get(job_id)
        jobs.fail(claim, ERROR)
        horse.begin("job_next")
        return job

    monkeypatch.setattr(jobs, "get", get_while_it_goes_on)
    assert guard.reason_to_kill() is None
