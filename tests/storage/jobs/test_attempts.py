"""Checkpoints in the record, and which deaths of attempts count."""

import pytest
from redis import Redis

from storage import keys
from storage.errors import StaleAttemptError
from storage.jobs.record import CheckpointReference, Claim, JobStatus
from storage.jobs.store import JobStore
from tests.builders import claimed

ERROR = {"code": "attempts_exhausted", "detail": "3 attempts died"}


def die(jobs: JobStore, redis: Redis, claim: Claim, *, counts: bool = True) -> JobStatus | None:
    heartbeat = int(redis.hget(keys.job(claim.job.id), "heartbeat_at_ms") or 0)  # type: ignore[arg-type]
    return jobs.end_dead_attempt(claim.job.id, claim.attempt, heartbeat, max_deaths=3, error=ERROR, counts=counts)


def claim_again(jobs: JobStore, job_id: str) -> Claim:
    claim = jobs.claim(job_id)
    assert claim is not None
    return claim


def test_the_newest_checkpoint_is_the_job_s_whichever_comes_last(jobs: JobStore) -> None:
    claim = claimed(jobs)
    answers = [
        jobs.record_checkpoint(claim, blob="a" * 64, total_epochs=5),
        jobs.record_checkpoint(claim, blob="b" * 64, total_epochs=9),
        jobs.record_checkpoint(claim, blob="c" * 64, total_epochs=8),
        jobs.record_checkpoint(claim, blob="b" * 64, total_epochs=9),  # sent again after a lost answer
    ]
    assert answers == [True, True, False, True]
    assert jobs.get(claim.job.id).checkpoint == CheckpointReference("b" * 64, 9)


def test_a_stale_attempt_moves_no_checkpoint(jobs: JobStore) -> None:
    claim = claimed(jobs)
    jobs.record_checkpoint(claim, blob="a" * 64, total_epochs=5)
    jobs.hand_back(claim)
    successor = claim_again(jobs, claim.job.id)
    assert successor.job.checkpoint == CheckpointReference("a" * 64, 5)
    with pytest.raises(StaleAttemptError):
        jobs.record_checkpoint(claim, blob="b" * 64, total_epochs=50)
    with pytest.raises(StaleAttemptError):
        jobs.drop_checkpoint(claim)
    assert jobs.get(claim.job.id).checkpoint == CheckpointReference("a" * 64, 5)


def test_after_a_dropped_checkpoint_an_older_one_can_be_recorded(jobs: JobStore) -> None:
    claim = claimed(jobs)
    jobs.record_checkpoint(claim, blob="a" * 64, total_epochs=50)
    jobs.drop_checkpoint(claim)
    assert jobs.get(claim.job.id).checkpoint is None
    assert jobs.record_checkpoint(claim, blob="b" * 64, total_epochs=5)


def test_three_deaths_without_a_checkpoint_are_the_end(jobs: JobStore, redis: Redis) -> None:
    claim = claimed(jobs)
    states = [die(jobs, redis, claim)]
    for _ in range(2):
        states.append(die(jobs, redis, claim_again(jobs, claim.job.id)))
    assert states == ["queued", "queued", "failed"]
    assert jobs.get(claim.job.id).error == ERROR


def test_an_attempt_that_got_further_than_any_before_it_dies_for_nothing(jobs: JobStore, redis: Redis) -> None:
    claim = claimed(jobs)
    for epochs in range(10, 60, 10):
        jobs.record_checkpoint(claim, blob=f"{epochs:064}", total_epochs=epochs)
        assert die(jobs, redis, claim) == "queued"
        claim = claim_again(jobs, claim.job.id)
    assert jobs.get(claim.job.id).n_deaths == 0
    assert die(jobs, redis, claim) == "queued"
    assert jobs.get(claim.job.id).n_deaths == 1


def test_beginning_anew_again_and_again_is_no_progress(jobs: JobStore, redis: Redis) -> None:
    claim = claimed(jobs)
    jobs.record_checkpoint(claim, blob="a" * 64, total_epochs=50)
    states = [die(jobs, redis, claim)]
    for _ in range(3):
        claim = claim_again(jobs, claim.job.id)
        jobs.drop_checkpoint(claim)  # it cannot be read
        jobs.record_checkpoint(claim, blob="b" * 64, total_epochs=50)
        states.append(die(jobs, redis, claim))
    assert states == ["queued", "queued", "queued", "failed"]


def test_hand_backs_and_deaths_that_nobody_could_help_do_not_count(jobs: JobStore, redis: Redis) -> None:
    claim = claimed(jobs)
    for _ in range(4):
        jobs.hand_back(claim)
        claim = claim_again(jobs, claim.job.id)
        assert die(jobs, redis, claim, counts=False) == "queued"
        claim = claim_again(jobs, claim.job.id)
    job = jobs.get(claim.job.id)
    assert (job.status, job.attempt, job.n_deaths) == ("running", 9, 0)


def test_a_claim_is_known_by_its_token_until_it_ends(jobs: JobStore) -> None:
    job_id = claimed(jobs).job.id
    jobs.cancel(job_id)
    assert not jobs.is_held_by(job_id, "token")
    other = claimed(jobs)
    jobs.hand_back(other)
    assert jobs.claim(other.job.id, "token") is not None
    assert jobs.is_held_by(other.job.id, "token")
    assert not jobs.is_held_by(other.job.id, "other")
    jobs.cancel(other.job.id)
    assert not jobs.is_held_by(other.job.id, "token")
