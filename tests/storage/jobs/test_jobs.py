"""The job record: one atomic step for each transition, and no way out of a state that is final."""

import threading
from typing import Any

import pytest
from redis import Redis

from storage import keys
from storage.errors import (
    CorruptDataError,
    IdempotencyKeyReusedError,
    JobAlreadyDoneError,
    JobNotFoundError,
    StaleAttemptError,
    VersionNotFoundError,
)
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from storage.scripts import load_script
from tests.builders import RESULT, claimed, description, progress, publish, training_spec


def submit(jobs: JobStore, model: str = "or") -> str:
    return jobs.submit(model, training_spec(), metadata={}).id


def test_a_submitted_job_is_queued_and_enqueued_once(jobs: JobStore, queue: TrainingQueue, redis: Redis) -> None:
    job = jobs.submit("or", training_spec(max_epochs=7), metadata={"owner": "growth"})
    assert (job.status, job.attempt, job.is_done, job.started_at_ms) == ("queued", 0, False, None)
    assert job.metadata == {"owner": "growth"}
    assert jobs.get(job.id) == job
    assert job.spec == training_spec(max_epochs=7)
    assert queue.waiting_job_ids() == {job.id}
    assert redis.llen("rq:queue:training") == 1


def test_a_claim_makes_the_job_run_as_attempt_one(jobs: JobStore) -> None:
    job_id = submit(jobs)
    attempt = jobs.claim(job_id)
    assert attempt is not None
    assert (attempt.number, attempt.job.status, attempt.job.attempt) == (1, "running", 1)
    assert attempt.job.started_at_ms is not None


def test_only_one_of_two_claims_is_granted(jobs: JobStore) -> None:
    job_id = submit(jobs)
    assert jobs.claim(job_id) is not None
    assert jobs.claim(job_id) is None


def test_an_unknown_job_cannot_be_claimed(jobs: JobStore) -> None:
    assert jobs.claim(f"job_{0:032x}") is None
    with pytest.raises(JobNotFoundError):
        jobs.get("job_unknown")


def test_progress_is_part_of_the_record_and_changes_its_revision(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.report(progress(5))
    job = jobs.get(attempt.job.id)
    assert job.progress == progress(5)
    assert job.revision == attempt.job.revision + 1


def test_publishing_makes_version_alias_and_success_in_one_step(jobs: JobStore, models: ModelStore) -> None:
    assert publish(jobs, alias="production") == 1
    assert publish(jobs) == 2
    model = models.get("or")
    assert (model.versions, model.aliases) == ((1, 2), {"production": 1})
    (second, first), _ = jobs.page(limit=10)
    assert (first.status, first.version, second.version) == ("succeeded", 1, 2)
    assert first.result is not None and first.result == RESULT


def test_publishing_twice_by_the_same_attempt_gives_the_same_version(jobs: JobStore, models: ModelStore) -> None:
    # redis-py sends a command again when the connection broke before the answer came
    attempt = claimed(jobs)
    for _ in range(2):
        assert attempt.publish(b"w", description(attempt), RESULT) == 1
    assert models.get("or").versions == (1,)


def test_a_submission_sent_again_after_the_job_ended_changes_nothing(jobs: JobStore, redis: Redis) -> None:
    # what redis-py does when the answer to the transaction is lost
    attempt = claimed(jobs)
    attempt.publish(b"w", description(attempt), RESULT)
    before = redis.hgetall(keys.job(attempt.job.id))
    load_script(redis, "create")(
        keys=[keys.job(attempt.job.id), keys.jobs(), keys.jobs_with_status("queued"), "", keys.being_deleted("")],
        args=["or", "{}", "{}", "", "", 1],
    )
    assert redis.hgetall(keys.job(attempt.job.id)) == before
    assert redis.zcard(keys.jobs_with_status("queued")) == 0


def test_a_claim_sent_again_gets_the_same_attempt(jobs: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.jobs.store.uuid.uuid4", lambda: type("Uuid", (), {"hex": "5a" * 16}))
    job_id = jobs.submit("or", training_spec(), metadata={}).id
    attempts = [attempt.number for _ in range(2) if (attempt := jobs.claim(job_id)) is not None]
    assert attempts == [1, 1]


def test_a_hand_back_sent_again_is_granted_again(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.hand_back()
    attempt.hand_back()
    assert jobs.get(attempt.job.id).status == "queued"


def test_an_attempt_that_was_handed_back_can_do_nothing_more(jobs: JobStore, models: ModelStore) -> None:
    stale = claimed(jobs)
    stale.hand_back()
    second = jobs.claim(stale.job.id)
    assert second is not None and second.number == 2
    for refused in (
        lambda: stale.report(progress(9)),
        lambda: stale.publish(b"w", description(stale), RESULT),
        lambda: stale.fail(JobError("internal", "")),
        lambda: stale.hand_back(),
    ):
        with pytest.raises(StaleAttemptError):
            refused()
    assert jobs.get(stale.job.id).status == "running"
    assert second.publish(b"w", description(second), RESULT) == 1
    assert models.get("or").versions == (1,)


def test_a_job_that_was_handed_back_is_enqueued_again(jobs: JobStore, redis: Redis) -> None:
    attempt = claimed(jobs)
    redis.delete("rq:queue:training")
    attempt.hand_back()
    assert redis.llen("rq:queue:training") == 1
    assert jobs.get(attempt.job.id).status == "queued"


def test_a_cancelled_job_never_publishes(jobs: JobStore, models: ModelStore) -> None:
    attempt = claimed(jobs)
    assert jobs.cancel(attempt.job.id).status == "cancelled"
    with pytest.raises(StaleAttemptError):
        attempt.publish(b"w", description(attempt), RESULT)
    assert models.page(limit=10) == ([], False)


def test_a_cancelled_queued_job_cannot_be_claimed(jobs: JobStore) -> None:
    job_id = submit(jobs)
    jobs.cancel(job_id)
    assert jobs.claim(job_id) is None


def test_cancelling_is_repeatable_but_not_after_an_end(jobs: JobStore) -> None:
    job_id = submit(jobs)
    first = jobs.cancel(job_id)
    assert jobs.cancel(job_id) == first
    failed = claimed(jobs)
    failed.fail(JobError("diverged", "too fast"))
    with pytest.raises(JobAlreadyDoneError):
        jobs.cancel(failed.job.id)
    with pytest.raises(JobNotFoundError):
        jobs.cancel("job_unknown")


def test_a_failed_job_keeps_its_error(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.fail(JobError("diverged", "too fast"))
    job = jobs.get(attempt.job.id)
    assert (job.status, job.error, job.is_done) == (
        "failed",
        JobError("diverged", "too fast"),
        True,
    )


def test_every_state_has_its_index(jobs: JobStore, redis: Redis) -> None:
    def members(status: str) -> set[str]:
        return {member.decode() for member in redis.zrange(keys.jobs_with_status(status), 0, -1)}

    queued, running, cancelled = submit(jobs), claimed(jobs), submit(jobs)
    jobs.cancel(cancelled)
    failed = claimed(jobs)
    failed.fail(JobError("internal", ""))
    publish(jobs)
    assert members("queued") == {queued}
    assert members("running") == {running.job.id}
    assert members("cancelled") == {cancelled}
    assert members("failed") == {failed.job.id}
    assert len(members("succeeded")) == 1


def test_jobs_are_listed_newest_first_in_pages(jobs: JobStore, redis: Redis) -> None:
    ids = [submit(jobs, model) for model in "ababa"]
    for age, job_id in enumerate(ids):  # made within one millisecond, maybe
        for key in (keys.jobs(), keys.jobs_with_status("queued")):
            redis.zadd(key, {job_id: age})
    page, has_more = jobs.page(limit=2)
    assert ([job.id for job in page], has_more) == ([ids[4], ids[3]], True)
    page, has_more = jobs.page(limit=3, after=ids[3])
    assert ([job.id for job in page], has_more) == ([ids[2], ids[1], ids[0]], False)
    jobs.cancel(ids[0])
    assert [job.id for job in jobs.page(limit=9, model="a")[0]] == [ids[4], ids[2], ids[0]]
    assert [job.id for job in jobs.page(limit=9, model="a", status="queued")[0]] == [ids[4], ids[2]]
    with pytest.raises(JobNotFoundError):
        jobs.page(limit=1, after="job_unknown")


def test_a_page_goes_on_after_a_job_that_is_forgotten_meanwhile(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, newer = submit(jobs), submit(jobs)
    redis.zadd(keys.jobs(), {older: 1, newer: 2})
    zscore = redis.zscore

    def read_and_forget(key: str, job_id: str) -> Any:
        score = zscore(key, job_id)
        redis.zrem(key, job_id)
        return score

    monkeypatch.setattr(redis, "zscore", read_and_forget)
    page, has_more = jobs.page(limit=10, after=newer)
    assert ([job.id for job in page], has_more) == ([older], False)


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_pages_lose_and_repeat_nothing_among_jobs_of_one_millisecond(
    jobs: JobStore, redis: Redis, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("storage.jobs.store._CHUNK", chunk)
    ids = {submit(jobs) for _ in range(7)}
    for job_id in ids:
        redis.zadd(keys.jobs(), {job_id: 5})
    for model in (None, "or"):
        seen: list[str] = []
        has_more = True
        while has_more:
            page, has_more = jobs.page(limit=2, after=seen[-1] if seen else None, model=model)
            seen += [job.id for job in page]
        assert len(seen) == 7
        assert set(seen) == ids


def test_the_same_idempotency_key_gives_the_first_job(jobs: JobStore, redis: Redis) -> None:
    def send(fingerprint: str) -> str:
        return jobs.submit("or", training_spec(), metadata={}, idempotency_digest="k", fingerprint=fingerprint).id

    first = send("body")
    assert send("body") == first
    with pytest.raises(IdempotencyKeyReusedError):
        send("another body")
    assert redis.zcard(keys.jobs()) == 1
    assert 0 < redis.ttl(keys.idempotency("k")) <= 24 * 3600


def test_eight_requests_with_one_idempotency_key_at_once_make_one_job(jobs: JobStore, redis: Redis) -> None:
    ids: set[str] = set()
    barrier = threading.Barrier(8)

    def send() -> None:
        barrier.wait()
        ids.add(jobs.submit("or", training_spec(), metadata={}, idempotency_digest="k", fingerprint="body").id)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 1
    assert redis.zcard(keys.jobs()) == redis.llen("rq:queue:training") == 1


def test_a_record_that_is_none_of_ours_is_called_corrupt(jobs: JobStore, redis: Redis) -> None:
    job_id = submit(jobs)
    redis.hset(keys.job(job_id), "spec", '{"task": "os.system"}')
    with pytest.raises(CorruptDataError):
        jobs.get(job_id)


def test_version_numbers_are_not_used_twice_even_after_everything_was_deleted(
    jobs: JobStore, models: ModelStore
) -> None:
    publish(jobs)
    models.delete("or")
    assert publish(jobs) == 2
    with pytest.raises(VersionNotFoundError):
        models.load("or", 1)
