"""The events of a job, and what is published about changes."""

from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from storage import keys
from storage.errors import JobNotFoundError, StaleAttemptError
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import RESULT, claimed, description, progress, publish, training_spec


def told(jobs: JobStore, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, dict(event.data)) for event in jobs.events(job_id, limit=100)[0]]


def test_every_change_of_state_is_an_event_with_its_attempt_and_reason(jobs: JobStore) -> None:
    job_id = jobs.submit("or", training_spec(), metadata={}).id
    first = jobs.claim(job_id)
    assert first is not None
    first.hand_back()
    second = jobs.claim(job_id)
    assert second is not None
    second.report(progress(), on_curve=True)
    second.log("halfway")
    second.fail(JobError("diverged", "too fast"))
    assert told(jobs, job_id) == [
        ("status", {"status": "queued", "attempt": 0, "reason": "submitted"}),
        ("status", {"status": "running", "attempt": 1, "reason": "claimed"}),
        ("status", {"status": "queued", "attempt": 1, "reason": "handed_back"}),
        ("status", {"status": "running", "attempt": 2, "reason": "claimed"}),
        ("epoch", {"attempt": 2, "epoch": 1, "cost": 0.25, "validation_cost": None}),
        ("log", {"attempt": 2, "message": "halfway"}),
        ("status", {"status": "failed", "attempt": 2, "reason": "failed"}),
    ]
    assert [event.ends_the_job for event in jobs.events(job_id, limit=100)[0]] == [False] * 6 + [True]


def test_the_event_of_a_publish_names_the_version(jobs: JobStore) -> None:
    publish(jobs)
    publish(jobs)
    (newest,), _ = jobs.page(limit=1)
    assert told(jobs, newest.id)[-1] == (
        "status",
        {"status": "succeeded", "attempt": 1, "reason": "published", "version": 2},
    )


def test_the_last_report_of_a_short_job_comes_with_its_result_and_once(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.report_with_result(progress(epoch=100))
    assert jobs.get(attempt.job.id).progress is None
    for _ in range(2):  # as when the first answer was lost
        attempt.publish(b"w", description(attempt), RESULT)
    assert jobs.get(attempt.job.id).progress == progress(epoch=100)
    assert [type for type, _ in told(jobs, attempt.job.id)] == ["status", "status", "epoch", "status"]


def test_progress_without_a_point_is_no_event(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.report(progress())
    assert [kind for kind, _ in told(jobs, attempt.job.id)] == ["status", "status"]


def test_a_point_of_a_sweep_s_curve_says_how_many_networks_still_train(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    attempt.report(replace(progress(7), candidates=12, running=5), on_curve=True)
    assert told(jobs, attempt.job.id)[-1] == (
        "epoch",
        {"attempt": 1, "epoch": 7, "cost": 0.25, "validation_cost": None, "candidates": 12, "running": 5},
    )


def test_a_stale_attempt_cannot_log(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    jobs.cancel(attempt.job.id)
    with pytest.raises(StaleAttemptError):
        attempt.log("still here")
    assert told(jobs, attempt.job.id)[-1] == ("status", {"status": "cancelled", "attempt": 1, "reason": "cancelled"})


def test_events_are_read_page_by_page_from_any_place_on(jobs: JobStore) -> None:
    attempt = claimed(jobs)
    for k in range(3):
        attempt.log(str(k))
    first, has_more = jobs.events(attempt.job.id, limit=4)
    rest, has_no_more = jobs.events(attempt.job.id, limit=4, after=first[-1].id)
    assert (len(first), has_more, has_no_more) == (4, True, False)
    assert [dict(event.data)["message"] for event in rest] == ["2"]


def test_a_job_that_is_not_there_has_no_events(jobs: JobStore) -> None:
    with pytest.raises(JobNotFoundError):
        jobs.events("job_0", limit=1)


def test_each_change_is_published_by_the_step_that_makes_it(redis: Redis, jobs: JobStore, models: ModelStore) -> None:
    with redis.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(keys.CHANGES)
        subscription.get_message(timeout=1)
        publish(jobs)
        publish(jobs)
        models.set_alias("or", "production", 2)
        models.delete_version("or", 1)
        models.delete_alias("or", "production")
        models.delete("or")
        heard = []
        while message := subscription.get_message(timeout=0.2):
            heard.append(message["data"].decode())
    job_ids = [job.id for job in reversed(jobs.page(limit=2)[0])]
    assert heard == [
        *(f"job {job_ids[0]} {status}" for status in ("queued", "running", "succeeded")),
        "model or",
        *(f"job {job_ids[1]} {status}" for status in ("queued", "running", "succeeded")),
        "model or",
        *["model or"] * 4,
    ]
