"""Wait after the last fault until every job is done: as long as work still gets done, however slow the machine is."""

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx

from storage import keys
from storage.jobs.record import DONE_STATUSES
from tests.faults.history import History
from tests.faults.rig import Rig

PATIENCE_S = 45.0
"""Give up after this long without any work done. The reconciler needs 15 s to give a dead worker's job to another."""


@dataclass(frozen=True)
class Reading:
    """What was left to do at one moment, and how much was done until then."""

    at_s: float
    n_open: int
    """Jobs that are not done, those that clients still try to submit included."""
    work: int
    """Grows with every job that is accepted or done and with every epoch of a running one; falls with none of them."""


@dataclass(frozen=True)
class Drain:
    """How the wait ended."""

    seconds: float
    n_open: int
    """0, or the number of jobs left when the wait was given up."""

    def __str__(self) -> str:
        if self.n_open == 0:
            return f"drained in {self.seconds:.1f} s"
        return f"gave up after {self.seconds:.1f} s: {self.n_open} jobs are not done and none of them moves"


def drain(readings: Iterable[Reading], *, patience_s: float = PATIENCE_S) -> Drain:
    """Read until no job is open, or until no work was done for `patience_s`."""
    readings = iter(readings)
    first = newest = next(readings)
    work, worked_at_s = first.work, first.at_s
    while newest.n_open > 0 and newest.at_s - worked_at_s < patience_s:
        newest = next(readings)
        if newest.work > work:
            work, worked_at_s = newest.work, newest.at_s
    return Drain(newest.at_s - first.at_s, newest.n_open)


def readings_of(rig: Rig, history: History, n_jobs: int) -> Iterator[Reading]:
    """Read the service a few times a second, and start its processes again where they ended."""
    furthest: dict[
        str, int
    ] = {}  # by job: an attempt that starts over does no new work until it gets past the last one
    with httpx.Client(base_url=rig.url, timeout=10) as http:
        while True:
            rig.tend()
            for job_id, epoch in _running(http):
                furthest[job_id] = max(epoch, furthest.get(job_id, 0))
            with rig.redis.pipeline() as transaction:
                for status in ("queued", "running", *DONE_STATUSES):
                    transaction.zcard(keys.jobs_with_status(status))
                n_queued, n_running, *n_done = transaction.execute()
            n_accepted = len(set(history.accepted.values()))
            yield Reading(
                at_s=time.monotonic(),
                n_open=n_jobs - n_accepted + n_queued + n_running,
                work=n_accepted + sum(n_done) + sum(furthest.values()),
            )
            time.sleep(0.2)


def _running(http: httpx.Client) -> list[tuple[str, int]]:
    """The running jobs and their epochs; none while the API has no answer."""
    with suppress(httpx.TransportError):
        answer = http.get("/jobs", params={"status": "running", "limit": 100})
        if answer.status_code == 200:
            return [(job["id"], job["progress"]["epoch"]) for job in answer.json()["data"] if job["progress"]]
    return []
