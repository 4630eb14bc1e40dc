"""The outbox: whatever ends a job puts its webhook there in the same step, and nothing takes it out but its outcome."""

import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from redis import Redis

from storage import keys
from storage.jobs.record import SilentAttempt
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.webhooks.outbox import LEASE_S, OUTCOMES, WebhookOutbox, counter_of
from storage.webhooks.record import Webhook
from storage.workload import read_workload
from tests.builders import RESULT, description, training_spec

URL = "https://hooks.example.com/"
ACME = "acme/or"


@pytest.fixture
def outbox(redis: Redis) -> WebhookOutbox:
    return WebhookOutbox(redis)


def submitted(jobs: JobStore, model: str = "or", webhook: str | None = URL) -> str:
    return jobs.submit(model, training_spec(), metadata={}, webhook=webhook).id


def publish(jobs: JobStore, job_id: str) -> None:
    attempt = jobs.claim(job_id)
    assert attempt is not None
    attempt.publish(b"w", description(attempt), RESULT)


def fail(jobs: JobStore, job_id: str) -> None:
    attempt = jobs.claim(job_id)
    assert attempt is not None
    attempt.fail(JobError("diverged", "the cost grew"))


def cancel_running(jobs: JobStore, job_id: str) -> None:
    jobs.claim(job_id)
    jobs.cancel(job_id)


def die(jobs: JobStore, job_id: str) -> None:
    jobs.claim(job_id)
    heartbeat = int(jobs._redis.hget(keys.job(job_id), "heartbeat_at_ms"))
    assert jobs.end_dead_attempt(SilentAttempt(job_id, 1, heartbeat), max_attempts=1, counts=True) == "failed"


@pytest.mark.parametrize("model", ["or", ACME])
@pytest.mark.parametrize("end", [publish, fail, JobStore.cancel, cancel_running, die])
def test_the_step_that_ends_a_job_puts_its_webhook_into_the_outbox(
    jobs: JobStore, outbox: WebhookOutbox, end: Callable[[JobStore, str], object], model: str
) -> None:
    told, silent = submitted(jobs, model), submitted(jobs, model, webhook=None)
    assert outbox.take(10) == []
    end(jobs, told)
    end(jobs, silent)
    assert outbox.take(10) == [told]
    assert jobs.get(told).webhook == Webhook(URL) and jobs.get(silent).webhook is None


def test_a_hand_back_and_an_attempt_that_gets_another_one_tell_nobody(jobs: JobStore, outbox: WebhookOutbox) -> None:
    job_id = submitted(jobs)
    attempt = jobs.claim(job_id)
    assert attempt is not None
    attempt.hand_back()
    assert outbox.take(10) == []


def test_what_was_taken_is_due_again_after_the_lease_unless_its_outcome_is_noted(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox
) -> None:
    one, other = submitted(jobs), submitted(jobs)
    jobs.cancel(one)
    jobs.cancel(other)
    assert {*outbox.take(1), *outbox.take(1)} == {one, other} and outbox.take(1) == []
    outbox.note_delivered(one, attempts=1)
    for job_id, due_at_ms in redis.zrange(keys.WEBHOOK_OUTBOX, 0, -1, withscores=True):
        redis.zadd(keys.WEBHOOK_OUTBOX, {job_id: due_at_ms - LEASE_S * 1000})  # the lease has passed
    assert outbox.take(10) == [other]


def test_a_failed_attempt_is_shown_and_tried_again_after_its_wait(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox
) -> None:
    job_id = submitted(jobs, ACME)
    jobs.cancel(job_id)
    before = jobs.get(job_id).revision
    outbox.take(1)
    for _ in range(2):  # as when the first answer of Redis was lost
        outbox.note_failed(job_id, attempts=1, error="it answered with status 500", wait_s=0.0)
    assert jobs.get(job_id).webhook == Webhook(URL, 1, None, "it answered with status 500")
    assert outbox.take(1) == [job_id]
    outbox.note_delivered(job_id, attempts=2)
    webhook = jobs.get(job_id).webhook
    assert webhook is not None and webhook.attempts == 2 and webhook.delivered_at_ms is not None
    assert jobs.get(job_id).revision > before, "else a client with an ETag would not see it"
    assert redis.zcard(keys.WEBHOOK_OUTBOX) == 0
    # Another process whose lease had passed reports later: what is delivered stays delivered.
    outbox.note_failed(job_id, attempts=2, error="it answered with status 500", wait_s=0.0)
    assert jobs.get(job_id).webhook == webhook and outbox.take(1) == []


def test_jobs_with_nothing_to_tell_leave_the_outbox_and_those_that_no_step_puts_there_are_reported(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox, caplog: pytest.LogCaptureFixture
) -> None:
    given_up, delivered, gone, silent, queued, running, damaged, due = ids = [submitted(jobs, ACME) for _ in range(8)]
    jobs.claim(running)
    for job_id in set(ids) - {queued, running}:
        jobs.cancel(job_id)
    outbox.note_failed(given_up, attempts=11, error="it answered with status 500", wait_s=None)
    outbox.note_delivered(delivered, attempts=1)
    assert redis.zcard(keys.WEBHOOK_OUTBOX) == 4
    redis.delete(keys.job(gone))
    redis.hdel(keys.job(silent), "webhook")
    redis.delete(keys.job(damaged))
    redis.set(keys.job(damaged), "no record")
    redis.zadd(keys.WEBHOOK_OUTBOX, dict.fromkeys((delivered, queued, running), 0))
    outbox.drop_unless_due([delivered, gone, silent, queued, running, damaged, due])
    assert set(redis.zrange(keys.WEBHOOK_OUTBOX, 0, -1)) == {damaged.encode(), due.encode()}
    assert [each.message.rpartition(" had the job ")[2] for each in caplog.records if "outbox" in each.message] == [
        f"{silent!r}, which has no webhook",
        f"{queued!r}, which is queued",
        f"{running!r}, which is running",
    ]


@pytest.mark.parametrize("note", [WebhookOutbox.note_delivered, partial(WebhookOutbox.note_failed, error="", wait_s=9)])
def test_the_outcome_for_a_job_that_was_forgotten_or_is_not_done_changes_no_record(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox, note: Callable[..., None]
) -> None:
    gone, queued = submitted(jobs), submitted(jobs)
    redis.delete(keys.job(gone))
    redis.zadd(keys.WEBHOOK_OUTBOX, {gone: 0, queued: 0})
    before = jobs.get(queued)
    for job_id in (gone, queued):
        note(outbox, job_id, attempts=1)
    assert not redis.exists(keys.job(gone)) and jobs.get(queued) == before
    assert redis.zcard(keys.WEBHOOK_OUTBOX) == 0


def test_a_due_time_of_a_clock_that_was_set_back_does_not_hold_an_event_for_days(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox
) -> None:
    job_id = submitted(jobs)
    jobs.cancel(job_id)
    now_s, _ = redis.time()
    redis.zadd(keys.WEBHOOK_OUTBOX, {job_id: (now_s + 9 * 3600) * 1000})
    assert outbox.take(1) == []  # the longest wait
    redis.zadd(keys.WEBHOOK_OUTBOX, {job_id: (now_s + 40 * 24 * 3600) * 1000})
    assert outbox.take(1) == [job_id]


def test_an_outbox_of_another_type_or_with_what_is_no_job_ends_no_job_and_no_delivery(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox
) -> None:
    redis.set(keys.WEBHOOK_OUTBOX, "damaged")
    redis.set(keys.WEBHOOKS_DUE, "damaged")
    job_id = submitted(jobs)
    assert jobs.cancel(job_id).status == "cancelled"
    redis.zadd(keys.WEBHOOK_OUTBOX, {"job_x:events": 0})
    assert outbox.take(10) == [job_id]


def test_an_attempt_is_due_since_its_job_ended_or_its_wait_was_over_whoever_takes_it_or_puts_it_off(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox
) -> None:
    job_id = submitted(jobs, ACME)
    jobs.cancel(job_id)
    ended_at_ms = redis.zscore(keys.WEBHOOKS_DUE, job_id)
    assert ended_at_ms is not None
    redis.zadd(keys.WEBHOOKS_DUE, {job_id: ended_at_ms - 90_000})
    outbox.take(1)
    outbox.postpone([job_id], 1.0)
    assert redis.zscore(keys.WEBHOOKS_DUE, job_id) == ended_at_ms - 90_000
    assert read_workload(redis).webhooks_overdue_s == pytest.approx(90, abs=5)
    outbox.note_failed(job_id, attempts=1, error="it answered with status 500", wait_s=30.0)
    assert redis.zscore(keys.WEBHOOKS_DUE, job_id) == pytest.approx(ended_at_ms + 30_000, abs=5_000)
    assert read_workload(redis).webhooks_overdue_s == 0.0
    outbox.note_delivered(job_id, attempts=2)
    assert redis.zcard(keys.WEBHOOKS_DUE) == 0


def test_jobs_that_are_put_off_come_up_again_one_after_the_other_the_later_the_more_are_due(
    redis: Redis, outbox: WebhookOutbox
) -> None:
    ids = [f"acme/job_{k:032x}" for k in range(1_000)]
    redis.zadd(keys.WEBHOOKS_DUE, dict.fromkeys(ids, 1.0))
    redis.zadd(keys.WEBHOOK_OUTBOX, dict.fromkeys(ids, 1.0))
    assert outbox.take(100) == ids[:100]
    outbox.postpone(ids[:100], 1.0)
    # 1,000 are due and 500 may come up in a second, so each waits for 2 s more on average: 40 ms from one to the next.
    times_ms = [redis.zscore(keys.WEBHOOK_OUTBOX, each) or 0.0 for each in ids[:100]]
    seconds, microseconds = redis.time()
    assert times_ms[-1] == pytest.approx(1000 * (seconds + 5) + microseconds / 1000, abs=900)
    assert {b - a for a, b in pairwise(times_ms)} == {40}
    outbox.postpone(["acme/job_" + "f" * 32], 1.0)
    assert redis.zcard(keys.WEBHOOK_OUTBOX) == 1_000  # what was told meanwhile does not come back


def test_a_damaged_job_and_one_that_an_older_release_has_told_are_not_late(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox
) -> None:
    damaged, told = submitted(jobs), submitted(jobs)
    for job_id in (damaged, told):
        jobs.cancel(job_id)
    redis.delete(keys.job(damaged))
    redis.set(keys.job(damaged), "no record")
    outbox.drop_unless_due([damaged])
    assert redis.zrange(keys.WEBHOOKS_DUE, 0, -1) == [told.encode()]
    redis.zrem(keys.WEBHOOK_OUTBOX, told)
    assert outbox.take(10) == [damaged]
    assert redis.zcard(keys.WEBHOOKS_DUE) == 0


def test_jobs_end_and_their_webhooks_are_noted_when_memory_is_full(
    redis: Redis, jobs: JobStore, outbox: WebhookOutbox
) -> None:
    job_id = submitted(jobs)
    redis.config_set("maxmemory", "1")
    try:
        jobs.cancel(job_id)
        assert outbox.take(1) == [job_id]
        outbox.postpone([job_id], 0.0)
        time.sleep(0.02)  # one job is due, so it waits for 2 * 1 / 500 s
        assert outbox.take(1) == [job_id]
        outbox.note_delivered(job_id, attempts=1)
    finally:
        redis.config_set("maxmemory", "0")
    assert redis.zcard(keys.WEBHOOK_OUTBOX) == 0


def test_each_attempt_is_counted_once_by_its_outcome(redis: Redis, jobs: JobStore, outbox: WebhookOutbox) -> None:
    told, given_up = submitted(jobs), submitted(jobs, ACME)
    jobs.cancel(told)
    jobs.cancel(given_up)
    for _ in range(2):  # each sent twice, as when the first answer of Redis was lost
        outbox.note_failed(told, attempts=1, error="it answered with status 500", wait_s=1.0)
    for _ in range(2):
        outbox.note_failed(told, attempts=2, error="its URL is not allowed", wait_s=1.0, was_sent=False)
    for _ in range(2):
        outbox.note_delivered(told, attempts=3)
    for attempts in (1, 2):
        outbox.note_failed(given_up, attempts=attempts, error="it answered with status 500", wait_s=1.0)
    for _ in range(2):
        outbox.note_failed(given_up, attempts=3, error="its URL is not allowed", wait_s=None, was_sent=False)
    counters = read_workload(redis).counters or {}
    assert {outcome: counters[counter_of(outcome)] for outcome in OUTCOMES} == {
        "delivered": 1, "retried": 3, "refused": 1, "gave_up": 1
    }  # fmt: skip
