"""Checkpoints in the record, and which deaths of attempts count."""

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from storage import keys
from storage.availability import is_unavailable, is_wrong_type
from storage.errors import StaleAttemptError
from storage.jobs.attempt import Attempt
from storage.jobs.record import CheckpointReference, JobStatus, SilentAttempt
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from tests.builders import RESULT, claimed, description, publish, training_spec


def die(jobs: JobStore, redis: Redis, attempt: Attempt, *, counts: bool = True) -> JobStatus | None:
    heartbeat = int(redis.hget(keys.job(attempt.job.id), "heartbeat_at_ms") or 0)  # type: ignore[arg-type]
    silent = SilentAttempt(attempt.job.id, attempt.number, heartbeat)
    return jobs.end_dead_attempt(silent, max_attempts=3, counts=counts)


def everything(redis: Redis) -> dict[bytes, object]:
    return {name: redis.dump(name) for name in redis.scan_iter()}


def next_attempt(jobs: JobStore, job_id: str) -> Attempt:
    attempt = jobs.claim(job_id)
    assert attempt is not None
    return attempt


def test_the_newest_checkpoint_is_the_job_s_whichever_comes_last(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    answers = [
        attempt.record_checkpoint("a" * 64, total_epochs=5),
        attempt.record_checkpoint("b" * 64, total_epochs=9),
        attempt.record_checkpoint("c" * 64, total_epochs=8),
        attempt.record_checkpoint("b" * 64, total_epochs=9),  # sent again after a lost answer
    ]
    assert answers == [True, True, False, True]
    assert jobs.get(attempt.job.id).checkpoint == CheckpointReference("b" * 64, 9)
    assert attempt.has_checkpoint("b" * 64)
    assert not attempt.has_checkpoint("c" * 64)


def test_a_stale_attempt_moves_no_checkpoint(jobs: JobStore) -> None:
    stale = claimed(jobs)
    stale.record_checkpoint("a" * 64, total_epochs=5)
    stale.hand_back()
    successor = next_attempt(jobs, stale.job.id)
    assert successor.job.checkpoint == CheckpointReference("a" * 64, 5)
    with pytest.raises(StaleAttemptError):
        stale.record_checkpoint("b" * 64, total_epochs=50)
    with pytest.raises(StaleAttemptError):
        stale.drop_checkpoint()
    assert jobs.get(stale.job.id).checkpoint == CheckpointReference("a" * 64, 5)


def test_after_a_dropped_checkpoint_an_older_one_can_be_recorded(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.record_checkpoint("a" * 64, total_epochs=50)
    attempt.drop_checkpoint()
    assert jobs.get(attempt.job.id).checkpoint is None
    assert attempt.record_checkpoint("b" * 64, total_epochs=5)


def test_three_deaths_without_a_checkpoint_are_the_end(jobs: JobStore, redis: Redis) -> None:
    attempt = claimed(jobs)
    states = [die(jobs, redis, attempt)]
    for _ in range(2):
        states.append(die(jobs, redis, next_attempt(jobs, attempt.job.id)))
    assert states == ["queued", "queued", "failed"]
    error = jobs.get(attempt.job.id).error
    assert error is not None and error.code == "attempts_exhausted"
    assert error.detail.startswith("3 attempts died")


def test_a_death_after_more_progress_than_ever_before_does_not_count(jobs: JobStore, redis: Redis) -> None:
    attempt = claimed(jobs)
    for epochs in range(10, 60, 10):
        attempt.record_checkpoint(f"{epochs:064}", total_epochs=epochs)
        assert die(jobs, redis, attempt) == "queued"
        attempt = next_attempt(jobs, attempt.job.id)
    assert jobs.get(attempt.job.id).n_deaths == 0
    assert die(jobs, redis, attempt) == "queued"
    assert jobs.get(attempt.job.id).n_deaths == 1


def test_starting_over_again_and_again_is_no_progress(jobs: JobStore, redis: Redis) -> None:
    attempt = claimed(jobs)
    attempt.record_checkpoint("a" * 64, total_epochs=50)
    states = [die(jobs, redis, attempt)]
    for _ in range(3):
        attempt = next_attempt(jobs, attempt.job.id)
        attempt.drop_checkpoint()  # it cannot be read
        attempt.record_checkpoint("b" * 64, total_epochs=50)
        states.append(die(jobs, redis, attempt))
    assert states == ["queued", "queued", "queued", "failed"]


def test_hand_backs_and_deaths_in_an_outage_do_not_count(jobs: JobStore, redis: Redis) -> None:
    attempt = claimed(jobs)
    for _ in range(4):
        attempt.hand_back()
        attempt = next_attempt(jobs, attempt.job.id)
        assert die(jobs, redis, attempt, counts=False) == "queued"
        attempt = next_attempt(jobs, attempt.job.id)
    job = jobs.get(attempt.job.id)
    assert (job.status, job.attempt, job.n_deaths) == ("running", 9, 0)


def test_a_claim_is_known_by_its_token_until_it_ends(jobs: JobStore) -> None:
    job_id = claimed(jobs).job.id
    jobs.cancel(job_id)
    assert not jobs.is_held_by(job_id, "token")
    other = claimed(jobs)
    other.hand_back()
    assert jobs.claim(other.job.id, "token") is not None
    assert jobs.is_held_by(other.job.id, "token")
    assert not jobs.is_held_by(other.job.id, "other")
    jobs.cancel(other.job.id)
    assert not jobs.is_held_by(other.job.id, "token")


@pytest.mark.parametrize(
    "key",
    [
        keys.jobs_with_status("running"),
        keys.jobs_with_status("succeeded"),
        keys.version_numbers(),
        keys.models(),
        keys.versions("disk"),
        keys.aliases("disk"),
        keys.digests("disk"),
    ],
)
def test_a_version_is_published_as_a_whole_or_not_at_all(jobs: JobStore, redis: Redis, key: str) -> None:
    """Seven keys, one of which has another type: the commands before it were executed, and stayed so."""
    attempt = claimed(jobs, "disk", alias="a")
    redis.delete(key)
    redis.rpush(key, "text")
    before = everything(redis)
    with pytest.raises(ResponseError, match=f"WRONGTYPE {key} is a list") as caught:
        attempt.publish(b"w", description(attempt), RESULT)
    assert is_wrong_type(caught.value) and not is_unavailable(caught.value)
    assert everything(redis) == before


def test_another_type_at_the_key_of_a_new_version_is_overwritten(jobs: JobStore, redis: Redis) -> None:
    redis.rpush(keys.version("or", 1), "text")
    assert publish(jobs) == 1


def test_a_job_that_cannot_fail_stays_among_the_running(jobs: JobStore, redis: Redis) -> None:
    attempt = claimed(jobs)
    redis.set(keys.jobs_with_status("failed"), "text")
    with pytest.raises(ResponseError, match=f"WRONGTYPE {keys.jobs_with_status('failed')} is a string"):
        attempt.fail(JobError("diverged", "the cost is infinite"))
    assert redis.zscore(keys.jobs_with_status("running"), attempt.job.id) is not None


@pytest.mark.parametrize("key", [keys.jobs(), keys.jobs_with_status("queued")])
def test_a_job_that_cannot_be_listed_is_not_created(jobs: JobStore, redis: Redis, key: str) -> None:
    redis.set(key, "text")
    with pytest.raises(ResponseError, match=f"WRONGTYPE {key}"):
        jobs.submit("or", training_spec(), metadata={})
    assert redis.keys("perceptron:job:*") == []
