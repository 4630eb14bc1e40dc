"""What a job's record says about its webhook."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Webhook:
    """Where the end of a job is told, and how far that has come."""

    url: str
    attempts: int = 0
    """How often it was tried."""
    delivered_at_ms: int | None = None
    last_error: str | None = None


def take_webhook(record: MutableMapping[str, Any]) -> Webhook | None:
    """Take the fields of the webhook out of a job's record; None: the job has none.

    Raises:
        ValueError: a field is no number.
    """
    url, attempts, delivered_at_ms, last_error = (record.pop(name, None) for name in WEBHOOK_FIELDS)
    if url is None:
        return None
    return Webhook(url, int(attempts or 0), None if delivered_at_ms is None else int(delivered_at_ms), last_error)


WEBHOOK_FIELDS = ("webhook", "webhook_attempts", "webhook_delivered_at_ms", "webhook_error")
"""Of a job's record; the scripts write the same names."""
