"""The ends of jobs that still have to be told to a webhook. The step that ends a job puts it here."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

from redis import Redis

from storage import keys
from storage.alarm import report
from storage.damage import reported
from storage.scripts import load_script
from storage.workload import share_alarms

LEASE_S = 30.0
"""A job that was taken is due again after this time: whoever took it may have died. No attempt takes longer."""

LONGEST_WAIT_S = 10 * 3600.0
"""Longer than any wait between two attempts."""

AGAIN_PER_S = 500
"""About so many jobs that were put off come up again in a second, of a long backlog. Each costs about 0.1 ms."""

Outcome: TypeAlias = Literal["delivered", "retried", "refused", "gave_up"]
"""Of an attempt. The middle two are tried again: what could not be delivered, and what may not go to its receiver."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


def counter_of(outcome: Outcome) -> str:
    """Return the name among the counters of the metrics."""
    return f"webhook_{outcome}"


class WebhookOutbox:
    """All jobs whose end has to be told, in Redis, for all tenants. An event may be delivered twice; none is lost."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes

    def take(self, most: int) -> list[str]:
        """Take jobs that are due, the longest due first. Nobody else gets them for `LEASE_S`."""
        members = load_script(self._redis, "take_webhooks")(
            keys=[], args=[most, round(LEASE_S * 1000), round(LONGEST_WAIT_S * 1000)]
        )
        job_ids = []
        for text in (member.decode("ascii", "replace") for member in members):
            if keys.is_job_id(text):
                job_ids.append(text)
            else:
                report(f"{keys.WEBHOOK_OUTBOX} has the member {text[:100]!r}, which is no job's id")
        return job_ids

    def postpone(self, job_ids: Sequence[str], wait_s: float) -> None:
        """Put off jobs that were taken but not tried.

        Args:
            wait_s: at least; more while many jobs are due, so that about `AGAIN_PER_S` come up again in a second.
        """
        load_script(self._redis, "postpone_webhooks")(keys=[], args=[round(wait_s * 1000), AGAIN_PER_S, *job_ids])

    def note_delivered(self, job_id: str, *, attempts: int) -> None:
        """Note that the event was delivered.

        Args:
            attempts: how many there were, with this one.
        """
        self._note(job_id, attempts, "", -1, "delivered")

    def note_failed(
        self, job_id: str, *, attempts: int, error: str, wait_s: float | None, was_sent: bool = True
    ) -> None:
        """Note that an attempt failed.

        Args:
            attempts: how many there were, with this one.
            error: why, for the owner of the job.
            wait_s: until the next attempt; None: there is none.
            was_sent: false if the event may not go where the receiver is.
        """
        if wait_s is None:
            self._note(job_id, attempts, error, -1, "gave_up")
        else:
            self._note(job_id, attempts, error, round(wait_s * 1000), "retried" if was_sent else "refused")

    def drop_unless_due(self, job_ids: Sequence[str]) -> None:
        """Drop those of the jobs whose end is not to be told.

        They were forgotten, or another process has told them meanwhile. One that has no webhook, or is not done, is
        reported: no step puts such a job here.
        """
        faults = load_script(self._redis, "drop_webhooks")(keys=[keys.job(each) for each in job_ids], args=job_ids)
        for job_id, fault in zip(job_ids, faults, strict=True):
            if fault:
                report(f"{keys.WEBHOOK_OUTBOX} had the job {job_id!r}, which {fault.decode(errors='replace')[:100]}")

    def share_alarms(self) -> None:
        """Add the alarms of this process to those that the metrics count."""
        with reported(keys.COUNTERS):
            share_alarms(self._redis)

    def _note(self, job_id: str, attempts: int, error: str, wait_ms: int, outcome: Outcome) -> None:
        load_script(self._redis, "note_delivery")(
            keys=[keys.job(job_id)], args=[job_id, attempts, error[:300], wait_ms, counter_of(outcome)]
        )
