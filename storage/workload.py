"""How much work there is and how much was done, as metrics show it: read from Redis in one round trip."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from redis import Redis
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from storage import alarm, keys
from storage.queue import QUEUE_NAME
from storage.scripts import load_script
from storage.store_settings import UNLIMITED

STATES = ("queued", "running", "succeeded", "failed", "cancelled")

ALARMS = "alarms"
"""The counter of what workers have reported as damaged. All others are counted by the scripts."""


@dataclass(frozen=True)
class WorkerFigures:
    """What a registered worker has told of itself."""

    name: str
    queues: str
    state: str
    n_succeeded: int
    n_failed: int
    working_s: float


@dataclass(frozen=True)
class Workload:
    """What Redis said at one moment. None: that part is damaged, or the user of Redis may not read it."""

    n_jobs: Mapping[str, int]
    """How many jobs there are, by state."""
    n_entries: int | None
    """How many entries the queue has."""
    n_runnable: int | None
    """How many queued jobs a free worker may begin now: those of tenants at their limit must wait."""
    oldest_queued_s: float | None
    """Since the oldest queued job was created, those of tenants at their limit left out; 0 when there is none."""
    workers: Sequence[WorkerFigures] | None
    counters: Mapping[str, int] | None
    """How often each thing has happened since Redis was empty. What is not among them has not happened."""
    n_webhooks: int | None
    """How many ends of jobs have to be told."""
    webhooks_overdue_s: float | None
    """Since the oldest one that is due became so; 0 when none is due. An attempt is due until its outcome is noted."""
    memory_bytes: int | None
    memory_limit_bytes: int | None
    """`maxmemory`; 0 when there is none."""


def read_workload(redis: Redis, *, max_running: int = UNLIMITED) -> Workload:
    """Read all of it.

    Args:
        max_running: how many jobs of one tenant may run at once.

    Raises:
        One of UNAVAILABLE_ERRORS: Redis is away.
    """
    indexes = [keys.jobs_with_status(state) for state in STATES]
    with redis.pipeline(transaction=False) as pipeline:
        load_script(pipeline, "workload")(
            keys=[
                *indexes,
                f"rq:queue:{QUEUE_NAME}",
                WORKERS_BY_QUEUE_KEY % QUEUE_NAME,
                keys.COUNTERS,
                keys.queue(),
            ],
            args=[max_running],
        )
        pipeline.info("memory")
        found, memory = pipeline.execute(raise_on_error=False)
    if isinstance(found, Exception):
        raise found
    if not isinstance(memory, Mapping):  # INFO is not allowed everywhere
        memory = {}
    now_ms, counts, n_entries, oldest, workers, counters, n_runnable, n_webhooks, next_try, due = found
    return Workload(
        n_jobs={state: n for state, n in zip(STATES, counts, strict=True) if n is not None},
        n_entries=n_entries,
        n_runnable=n_runnable,
        oldest_queued_s=_age_s(now_ms, oldest),
        workers=None if workers is None else [_worker(key, told) for key, told in workers],
        counters=None if counters is None else _counters(counters),
        n_webhooks=n_webhooks,
        webhooks_overdue_s=_overdue_s(_age_s(now_ms, next_try), _age_s(now_ms, due)),
        memory_bytes=memory.get("used_memory"),
        memory_limit_bytes=memory.get("maxmemory"),
    )


def share_alarms(redis: Redis) -> None:
    """Add the alarms of this process since the last call to those of all workers."""
    if n := alarm.take():
        redis.hincrby(keys.COUNTERS, ALARMS, n)


def count_attempt(redis: Redis, worker_key: str, *, is_success: bool, seconds: float) -> None:
    """Note in RQ's record of a worker that it has ended one more attempt."""
    count = "successful_job_count" if is_success else "failed_job_count"
    load_script(redis, "count_attempt")(keys=[worker_key], args=[count, str(seconds)])


def _age_s(now_ms: int, oldest: list[bytes] | None) -> float | None:
    """Return how long ago the score of the first member of a sorted set was; 0 if it is to come, or there is none."""
    if oldest is None:
        return None
    return max(now_ms - _number(oldest[1]), 0.0) / 1000 if oldest else 0.0


def _overdue_s(by_outbox_s: float | None, by_due_s: float | None) -> float | None:
    # What an older release has put into the outbox is there alone.
    return None if by_outbox_s is None or by_due_s is None else max(by_outbox_s, by_due_s)


def _worker(key: bytes, told: list[bytes | None]) -> WorkerFigures:
    queues, state, n_succeeded, n_failed, working_s = told
    return WorkerFigures(
        name=_text(key).removeprefix("rq:worker:"),
        queues=_text(queues),
        state=_text(state) or "starting",
        n_succeeded=int(_number(n_succeeded)),
        n_failed=int(_number(n_failed)),
        working_s=_number(working_s),
    )


def _counters(pairs: list[bytes]) -> dict[str, int]:
    return {_text(name): int(_number(n)) for name, n in zip(pairs[::2], pairs[1::2], strict=True)}


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")[:200]


def _number(value: Any) -> float:
    """Return what should be a number, and 0 for anything else: nobody may make a scrape fail."""
    with suppress(TypeError, ValueError):
        if math.isfinite(number := float(value)):
            return number
    return 0.0
