"""Delivering from a real Redis to real https servers, checked by an independent implementation of the specification."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence

import pytest
from redis import Redis
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from service.app import create_app
from service.settings import Limits
from storage import alarm, keys
from storage.blobs import BlobStore
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.tenants import local, owned
from storage.webhooks.outbox import WebhookOutbox
from storage.webhooks.settings import WebhookSettings, secret_text
from storage.workload import ALARMS, read_workload
from tests.builders import RESULT, description, training_spec
from tests.receiver import SECRET, Receiver, trusting
from worker.webhooks import deliverer as module
from worker.webhooks import sending
from worker.webhooks.deliverer import JITTER, WAITS_S, Deliverer
from worker.webhooks.sending import Sender
from worker.webhooks.signing import signed_headers

OLD_SECRET = "whsec_dGhlIG9sZCBzZWNyZXQsIG9ubHkgZm9yIHRlc3Rz"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a hundred times as fast."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "PUT_OFF_S", 0.02)
    monkeypatch.setattr(module, "WAITS_S", tuple(wait / 100 for wait in (1, 5, 10)))


@pytest.fixture
def deliver(redis: Redis, jobs: JobStore) -> Callable[..., None]:
    """Deliver until something is so."""

    def deliver(until: Callable[[], object], *receivers: Receiver) -> None:
        settings = WebhookSettings.from_env(
            {
                "WEBHOOK_SECRET": f"{SECRET} {OLD_SECRET}",
                "WEBHOOK_HOSTS": " ".join(f"localhost:{each.port}" for each in receivers),
                "WEBHOOK_ALLOW_PRIVATE": "true",
            }
        )
        deliverer = Deliverer(WebhookOutbox(redis), jobs, settings, Sender(trusting(), allow_private=True))
        ends_at = time.monotonic() + 10
        asyncio.run(deliverer.run(lambda: bool(until()) or time.monotonic() > ends_at))
        assert until(), "not within 10 s"

    return deliver


def submitted(jobs: JobStore, receiver: Receiver, model: str = "or") -> str:
    return jobs.submit(model, training_spec(), metadata={}, webhook=f"https://localhost:{receiver.port}/x").id


def is_delivered(jobs: JobStore, job_id: str) -> bool:
    webhook = jobs.get(job_id).webhook
    return webhook is not None and webhook.delivered_at_ms is not None


def test_each_end_of_a_job_is_told_and_signed_as_the_specification_says(
    redis: Redis, jobs: JobStore, blobs: BlobStore, deliver: Callable[..., None]
) -> None:
    http = create_app(redis, blobs, Limits()).test_client()
    with Receiver() as receiver:
        published, failed, cancelled = ids = [submitted(jobs, receiver) for _ in range(3)]
        attempt = jobs.claim(published)
        assert attempt is not None
        attempt.publish(b"w", description(attempt), RESULT)
        attempt = jobs.claim(failed)
        assert attempt is not None
        attempt.fail(JobError("diverged", "the cost grew"))
        jobs.cancel(cancelled)
        shown = {job_id: http.get(f"/jobs/{job_id}").get_json() for job_id in ids}
        deliver(lambda: all(is_delivered(jobs, job_id) for job_id in ids), receiver)
    events = {}
    for received in receiver.received:
        event = Verifier(SECRET).verify(received.body, dict(received.headers))
        assert event == Verifier(OLD_SECRET).verify(received.body, dict(received.headers))
        assert received.headers["webhook-id"] == event["id"] == event["data"]["id"].replace("job_", "evt_")
        assert event["created_at"] == event["data"]["finished_at"]
        events[event["data"]["id"]] = event
    assert {job_id: event["data"] for job_id, event in events.items()} == shown
    assert [events[job_id]["type"] for job_id in ids] == ["job.succeeded", "job.failed", "job.cancelled"]
    now = http.get(f"/jobs/{published}").get_json()["webhook"]
    assert now["attempts"] == 1 and now["delivered_at"] is not None and now["last_error"] is None
    assert redis.zcard(keys.WEBHOOK_OUTBOX) == 0


def test_each_tenant_can_check_its_own_events_and_sign_no_others(jobs: JobStore, deliver: Callable[..., None]) -> None:
    settings = WebhookSettings.from_env({"WEBHOOK_SECRET": f"{SECRET} {OLD_SECRET}"})
    verifiers = {
        tenant: [Verifier(secret_text(secret)) for secret in settings.secrets_of(tenant)]
        for tenant in ("acme", "bolt", "")
    }
    with Receiver() as receiver:
        ids = {tenant: submitted(jobs, receiver, model=owned(tenant, "or")) for tenant in verifiers}
        for job_id in ids.values():
            jobs.cancel(job_id)
        deliver(lambda: all(is_delivered(jobs, job_id) for job_id in ids.values()), receiver)
    events = {json.loads(each.body)["data"]["id"]: each for each in receiver.received}
    for tenant, job_id in ids.items():
        event = events[local(job_id)]
        for other, its in verifiers.items():
            for verifier in its:  # of the new secret and of the old one
                if other == tenant:
                    verifier.verify(event.body, dict(event.headers))
                else:
                    with pytest.raises(WebhookVerificationError):
                        verifier.verify(event.body, dict(event.headers))


def test_a_copy_with_another_id_time_or_body_is_refused_and_so_is_an_old_one() -> None:
    secret = WebhookSettings.from_env({"WEBHOOK_SECRET": SECRET}).secrets
    body, now_s = b'{"id": "evt_1"}', int(time.time())
    good = signed_headers("evt_1", body, secrets=secret, timestamp_s=now_s)
    assert Verifier(SECRET).verify(body, good) == {"id": "evt_1"}
    for headers, sent in (
        (good | {"webhook-id": "evt_2"}, body),
        (good | {"webhook-timestamp": str(now_s + 1)}, body),
        (good, b'{"id": "evt_2"}'),
        (signed_headers("evt_1", body, secrets=secret, timestamp_s=now_s - 301), body),
    ):
        with pytest.raises(WebhookVerificationError):
            Verifier(SECRET).verify(sent, headers)


def test_a_receiver_that_is_down_for_a_while_gets_the_same_event_later(
    jobs: JobStore, deliver: Callable[..., None]
) -> None:
    with Receiver(answers=(500, 503, 204)) as receiver:
        job_id = submitted(jobs, receiver, model="acme/or")
        jobs.cancel(job_id)
        deliver(lambda: is_delivered(jobs, job_id), receiver)
    assert len(receiver.received) == 3
    assert len({(each.body, each.headers["webhook-id"]) for each in receiver.received}) == 1
    assert b"acme" not in receiver.received[0].body
    webhook = jobs.get(job_id).webhook
    assert webhook is not None and (webhook.attempts, webhook.last_error) == (3, "it answered with status 503")


@pytest.mark.parametrize(("status", "n_attempts"), [(410, 1), (400, 4)])
def test_a_receiver_that_is_gone_is_left_alone_at_once_and_another_one_after_the_last_attempt(
    redis: Redis, jobs: JobStore, deliver: Callable[..., None], status: int, n_attempts: int
) -> None:
    with Receiver(answers=(status,)) as receiver:
        job_id = submitted(jobs, receiver)
        jobs.cancel(job_id)
        deliver(lambda: redis.zcard(keys.WEBHOOK_OUTBOX) == 0, receiver)
    webhook = jobs.get(job_id).webhook
    assert webhook is not None and webhook.delivered_at_ms is None
    assert (len(receiver.received), webhook.attempts) == (n_attempts, n_attempts)


def test_a_slow_receiver_has_four_deliveries_at_a_time_and_holds_up_no_other(
    jobs: JobStore, deliver: Callable[..., None]
) -> None:
    with Receiver() as slow, Receiver() as quick:
        slow.hold_s = 60.0
        ids = [submitted(jobs, slow) for _ in range(30)] + [submitted(jobs, quick)]
        for job_id in ids:
            jobs.cancel(job_id)
        began_at = time.monotonic()
        deliver(lambda: is_delivered(jobs, ids[-1]), slow, quick)
        assert time.monotonic() - began_at < 5, "a time limit of the slow one is 10 s"
        assert slow.n_connections == 4


def test_a_long_backlog_of_a_receiver_that_hangs_is_not_looked_at_all_the_time_and_holds_up_no_other(
    jobs: JobStore, deliver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.1)
    put_off: list[str] = []
    postpone = WebhookOutbox.postpone

    def note(outbox: WebhookOutbox, job_ids: Sequence[str], wait_s: float) -> None:
        put_off.extend(job_ids)
        postpone(outbox, job_ids, wait_s)

    monkeypatch.setattr(WebhookOutbox, "postpone", note)
    with Receiver() as slow, Receiver() as quick:
        slow.hold_s = 60.0
        ids = [submitted(jobs, slow) for _ in range(600)] + [submitted(jobs, quick)]
        for job_id in ids:
            jobs.cancel(job_id)
        began_at = time.monotonic()
        deliver(lambda: is_delivered(jobs, ids[-1]), slow, quick)
        assert time.monotonic() - began_at < 5, "the 600 before it are looked at without a pause"
        put_off.clear()
        began_at = time.monotonic()
        deliver(lambda: time.monotonic() > began_at + 3, slow, quick)
        assert slow.n_connections == 8
    # In 3 s 500 a second come up again, after those of before; more than 6,000 would without a pause.
    assert len(put_off) < 2_200


def test_events_that_wait_for_a_receiver_that_hangs_are_overdue_until_they_were_tried(
    redis: Redis, jobs: JobStore, deliver: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT_S", 0.25)
    monkeypatch.setattr(module, "WAITS_S", (600,))
    with Receiver() as hung:
        hung.hold_s = 60.0
        ids = [submitted(jobs, hung, model="acme/or") for _ in range(32)]
        for job_id in ids:
            jobs.cancel(job_id)
        # Four at a time, each for 0.25 s, so the last ones wait for 1.75 s. All were due when their jobs ended.
        overdue_s: list[float] = []

        def are_all_tried() -> bool:
            overdue_s.append(read_workload(redis).webhooks_overdue_s or 0.0)
            return (read_workload(redis).counters or {}).get("webhook_retried") == 32

        deliver(are_all_tried, hung)
    assert max(overdue_s) > 1.5
    found = read_workload(redis)
    assert (found.n_webhooks, found.webhooks_overdue_s) == (32, 0.0)


def test_a_host_that_is_no_longer_allowed_gets_nothing(
    redis: Redis, jobs: JobStore, deliver: Callable[..., None]
) -> None:
    with Receiver() as allowed, Receiver() as other:
        job_id = submitted(jobs, other)
        jobs.cancel(job_id)
        deliver(lambda: getattr(jobs.get(job_id).webhook, "attempts", 0) == 2, allowed)
        assert other.n_connections == 0
    assert (read_workload(redis).counters or {})["webhook_refused"] == 2
    webhook = jobs.get(job_id).webhook
    assert webhook is not None and webhook.last_error is not None and "WEBHOOK_HOSTS" in webhook.last_error


def test_damaged_and_forgotten_jobs_hold_up_no_other(
    redis: Redis, jobs: JobStore, deliver: Callable[..., None]
) -> None:
    with Receiver() as receiver:
        damaged, gone, good = (submitted(jobs, receiver) for _ in range(3))
        for job_id in (damaged, gone, good):
            jobs.cancel(job_id)
        redis.hset(keys.job(damaged), "webhook_attempts", "many")
        redis.delete(keys.job(gone))
        deliver(lambda: is_delivered(jobs, good) and redis.zcard(keys.WEBHOOK_OUTBOX) == 1, receiver)


def test_members_of_the_outbox_that_have_nothing_to_tell_hold_up_no_other_and_are_dropped(
    redis: Redis, jobs: JobStore, deliver: Callable[..., None]
) -> None:
    with Receiver() as receiver:
        silent, queued, good = (submitted(jobs, receiver) for _ in range(3))
        jobs.cancel(silent)
        jobs.cancel(good)
        redis.hdel(keys.job(silent), "webhook")
        redis.zadd(keys.WEBHOOK_OUTBOX, {queued: 0, silent: 1, good: 2})
        deliver(lambda: is_delivered(jobs, good) and redis.zcard(keys.WEBHOOK_OUTBOX) == 0, receiver)
        jobs.cancel(queued)  # its end is told all the same
        deliver(lambda: is_delivered(jobs, queued), receiver)
    assert len(receiver.received) == 2


def test_alarms_of_the_process_are_counted_with_those_of_the_workers(
    redis: Redis, deliver: Callable[..., None]
) -> None:
    alarm.take()
    redis.zadd(keys.WEBHOOK_OUTBOX, {"no job": 0})
    deliver(lambda: (read_workload(redis).counters or {}).get(ALARMS) == 1)


def test_an_unexpected_error_after_a_delivery_names_its_job_and_has_the_code_of_its_alarm(
    redis: Redis,
    jobs: JobStore,
    deliver: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no such outcome")

    monkeypatch.setattr(WebhookOutbox, "note_delivered", fail)
    with Receiver() as receiver:
        job_id = submitted(jobs, receiver, model="acme/or")
        jobs.cancel(job_id)
        deliver(lambda: any(each.levelname == "ERROR" for each in caplog.records), receiver)
    (line,) = (vars(each) for each in caplog.records if each.levelname == "ERROR")
    assert (line["code"], line["tenant"], line["job_id"]) == ("unexpected_error", "acme", local(job_id))


def test_an_event_that_cannot_be_written_is_noted_logged_and_given_up(
    redis: Redis,
    jobs: JobStore,
    deliver: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(job: object) -> None:
        raise ValueError("no such field")

    monkeypatch.setattr(module.JobEndedPayload, "of", fail)
    with Receiver() as receiver:
        job_id = submitted(jobs, receiver, model="acme/or")
        jobs.cancel(job_id)
        deliver(lambda: redis.zcard(keys.WEBHOOK_OUTBOX) == 0, receiver)
    webhook = jobs.get(job_id).webhook
    assert webhook is not None and webhook.attempts == 4 and "internal error" in str(webhook.last_error)
    errors = [vars(each) for each in caplog.records if each.levelname == "ERROR"]
    assert [(each["code"], each["tenant"], each["job_id"]) for each in errors] == [
        ("unexpected_error", "acme", local(job_id))
    ] * 4


def test_attempts_go_on_for_about_a_day() -> None:
    assert WAITS_S[:6] == (1, 5, 30, 120, 600, 3600)
    assert 23 * 3600 < sum(WAITS_S) < 24 * 3600
    assert max(WAITS_S) * (1 + JITTER) < 10 * 3600  # `LONGEST_WAIT_S` of the outbox
