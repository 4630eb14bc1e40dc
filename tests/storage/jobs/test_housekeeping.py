"""What nobody needs goes, and nothing else."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from redis import Connection, Redis, UnixDomainSocketConnection
from redis.exceptions import ResponseError

from storage import keys
from storage.blobs import BlobStore
from storage.errors import JobNotFoundError, UnavailableError, WrongBlobStoreError
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import OR_TARGETS, claimed, publish, training_spec
from tests.clock import Clock

DAY_MS = 24 * 3600 * 1000
HOUR_S = 3600


class Clocks:
    """The own clock of a process and the wall clock of its computer; only the latter can leap."""

    def __init__(self) -> None:
        self.own, self.leap = Clock(), 0.0

    def wall(self) -> float:
        return time.time() + self.own.now - 1000 - HOUR_S + self.leap  # right after an hour


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def start(
    redis: Redis, blobs: BlobStore, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Housekeeping]:
    """Start a process that looks at all blobs each time, and keeps jobs for 30 days."""
    monkeypatch.setattr("storage.jobs.housekeeping.FOLDERS_AT_ONCE", 256)
    monkeypatch.setattr("storage.jobs.housekeeping.BLOBS_S", 10**6)

    def start(**options: Any) -> Housekeeping:
        return Housekeeping(redis, blobs, keep_jobs_s=30 * 86400, clock=clocks.own, wall_clock=clocks.wall, **options)

    return start


@pytest.fixture
def housekeeping(start: Callable[..., Housekeeping], clocks: Clocks) -> Housekeeping:
    """One that has been running for an hour, so that it believes its clock."""
    housekeeping = start()
    for _ in range(HOUR_S // 60):
        step(housekeeping, clocks)
    return housekeeping


def step(housekeeping: Housekeeping, clocks: Clocks) -> None:
    """Run, and let a minute pass."""
    housekeeping.run()
    clocks.own.now += 60


def end_days_ago(redis: Redis, job_id: str, days: float) -> None:
    """Let as many days pass since housekeeping saw that a job has ended."""
    redis.zincrby(keys.ended(), -days * DAY_MS, job_id)


def set_server_clock(redis: Redis, days: float) -> None:
    """Make the server's clock leap, seen from housekeeping: the last time that was noted lies that far off."""
    redis.hincrby(keys.SERVICE_CLOCK, "server_ms", -int(days * DAY_MS))


def test_a_job_is_forgotten_some_time_after_its_end_and_its_version_stays(
    redis: Redis, jobs: JobStore, models: ModelStore, housekeeping: Housekeeping, clocks: Clocks
) -> None:
    publish(jobs)
    (old,), _ = jobs.page(limit=1)
    ended_lately = claimed(jobs)
    ended_lately.fail(JobError("diverged", ""))
    running = claimed(jobs).job.id
    step(housekeeping, clocks)
    end_days_ago(redis, old.id, 30.01)
    end_days_ago(redis, ended_lately.job.id, 29.99)
    step(housekeeping, clocks)
    with pytest.raises(JobNotFoundError):
        jobs.get(old.id)
    assert {job.id for job in jobs.page(limit=10)[0]} == {ended_lately.job.id, running}
    assert jobs.page(limit=10, status="succeeded") == ([], False)
    assert redis.keys(f"perceptron:*{old.id}*") == []
    assert redis.zrange(keys.ended(), 0, -1) == [ended_lately.job.id.encode()]
    assert models.get("or").versions == (1,)


def test_jobs_are_forgotten_in_batches_past_those_that_ended_lately(
    redis: Redis, jobs: JobStore, housekeeping: Housekeeping, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.jobs.housekeeping.JOBS_AT_ONCE", 2)
    ids = [claimed(jobs).job.id for _ in range(7)]
    for job_id in ids:
        jobs.cancel(job_id)
    for _ in range(4):
        housekeeping.run()
        clocks.own.now += 60
    assert redis.zcard(keys.ended()) == 7
    for k, job_id in enumerate(ids):
        end_days_ago(redis, job_id, 1 if k < 3 else 31)
    for _ in range(4):
        step(housekeeping, clocks)
    assert {job.id for job in jobs.page(limit=10)[0]} == set(ids[:3])


@pytest.mark.parametrize("days", [40, -40, 1 / 24, -1 / 24])
def test_a_leap_of_the_servers_clock_forgets_no_job(
    redis: Redis, jobs: JobStore, start: Callable[..., Housekeeping], clocks: Clocks, days: float
) -> None:
    """R31. On 15a4f66 a clock that jumped 40 days ahead deleted every job that was done."""
    publish(jobs)
    (job,), _ = jobs.page(limit=1)
    first = start()
    step(first, clocks)
    end_days_ago(redis, job.id, 28.9)
    for leap in (days, -days):
        set_server_clock(redis, leap)
        step(first, clocks)
        restarted = start()  # it knows no time before the leap
        for _ in range(3):
            step(restarted, clocks)
        assert jobs.get(job.id).status == "succeeded"


def test_a_job_that_ended_while_the_clock_was_wrong_is_kept_as_long_as_any(
    redis: Redis, jobs: JobStore, housekeeping: Housekeeping, clocks: Clocks
) -> None:
    job_id = claimed(jobs).job.id
    jobs.cancel(job_id)
    for field in ("created_at_ms", "finished_at_ms"):
        redis.hincrby(keys.job(job_id), field, -40 * DAY_MS)
    for index in (keys.jobs(), keys.jobs_with_status("cancelled")):
        redis.zincrby(index, -40 * DAY_MS, job_id)
    for _ in range(3):
        step(housekeeping, clocks)
    assert jobs.get(job_id).status == "cancelled"


def test_a_leap_of_the_computers_clock_deletes_no_blob_whose_job_is_about_to_be_recorded(
    blobs: BlobStore, start: Callable[..., Housekeeping], housekeeping: Housekeeping, clocks: Clocks
) -> None:
    digest = blobs.put(b"instances")
    clocks.leap = 7200
    step(housekeeping, clocks)
    restarted = start()
    for _ in range(25):
        step(housekeeping, clocks)
        step(restarted, clocks)
    assert exists(blobs, digest)
    for _ in range(15):
        step(housekeeping, clocks)
    assert not exists(blobs, digest)  # by then it is old by every clock


def test_a_damaged_job_is_forgotten_like_any_other(
    redis: Redis, jobs: JobStore, housekeeping: Housekeeping, clocks: Clocks
) -> None:
    ids = [claimed(jobs).job.id for _ in range(2)]
    for job_id in ids:
        jobs.cancel(job_id)
    redis.set(keys.job(ids[0]), "a text where a hash belongs")
    redis.zadd(keys.jobs_with_status("cancelled"), {"no id": 1})
    step(housekeeping, clocks)
    end_days_ago(redis, ids[0], 31)
    end_days_ago(redis, ids[1], 31)
    step(housekeeping, clocks)
    assert redis.keys("perceptron:job:*") == []


def age(blobs: BlobStore, digest: str, seconds: float = 7200) -> Path:
    path = Path(blobs._path(digest))
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def exists(blobs: BlobStore, digest: str) -> bool:
    return Path(blobs._path(digest)).exists()


def test_blobs_go_when_no_job_needs_them_and_an_hour_has_passed(
    redis: Redis, jobs: JobStore, blobs: BlobStore, housekeeping: Housekeeping
) -> None:
    needed = training_spec(blobs)
    of_done = training_spec(blobs, targets=[1.0 - target for target in OR_TARGETS])
    attempt = jobs.claim(jobs.submit("m", needed, metadata={}).id)
    assert attempt is not None
    jobs.cancel(jobs.submit("m", of_done, metadata={}).id)
    checkpoint, superseded, young = blobs.put(b"checkpoint"), blobs.put(b"superseded"), blobs.put(b"young")
    attempt.record_checkpoint(checkpoint, total_epochs=3)
    for digest in (needed.data.blob, of_done.data.blob, checkpoint, superseded):
        age(blobs, digest)
    housekeeping.run()
    kept = {digest: exists(blobs, digest) for digest in (needed.data.blob, checkpoint, young)}
    assert all(kept.values()), kept
    assert not exists(blobs, of_done.data.blob)
    assert not exists(blobs, superseded)


def test_a_job_that_is_handed_back_during_the_look_keeps_its_blobs(
    redis: Redis, jobs: JobStore, blobs: BlobStore, housekeeping: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From running to queued, after the queued jobs were read and before the running ones are."""
    attempt = claimed(jobs, blobs=blobs)
    age(blobs, attempt.job.spec.data.blob)
    send_command = Connection.send_command

    def hand_back_after(connection: Connection, *command: Any, **options: Any) -> None:
        send_command(connection, *command, **options)
        if command[:2] == ("ZRANGE", keys.jobs_with_status("queued")):
            attempt.hand_back()

    monkeypatch.setattr(UnixDomainSocketConnection, "send_command", hand_back_after)
    housekeeping.run()
    assert exists(blobs, attempt.job.spec.data.blob)


def test_a_blob_stored_again_is_young_again(blobs: BlobStore, housekeeping: Housekeeping) -> None:
    digest = blobs.put(b"instances")
    age(blobs, digest)
    blobs.put(b"instances")
    housekeeping.run()
    assert blobs.get(digest) == b"instances"


def test_no_job_is_accepted_with_a_blob_that_is_being_deleted(
    jobs: JobStore, blobs: BlobStore, housekeeping: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that stores an old blob again, at any moment of its deletion, gets 503 or keeps the blob."""
    spec = training_spec(blobs)
    age(blobs, spec.data.blob)

    def submit() -> str:
        return jobs.submit("m", training_spec(blobs), metadata={}).id

    remove, refused = BlobStore.delete_if_old, []

    def submit_around(store: BlobStore, digest: str, older_than: float) -> bool:
        store.put(store.get(digest))  # between the look and the deletion
        age(store, digest)
        is_deleted = remove(store, digest, older_than)
        with pytest.raises(UnavailableError):
            jobs.submit("m", spec, metadata={})
        refused.append(digest)
        return is_deleted

    monkeypatch.setattr(BlobStore, "delete_if_old", submit_around)
    housekeeping.run()
    assert refused == [spec.data.blob]
    assert jobs.page(limit=9) == ([], False)
    jobs._redis.delete(keys.being_deleted(spec.data.blob))  # it expires
    submit()
    assert exists(blobs, spec.data.blob)


def test_nothing_is_deleted_in_a_blob_store_that_is_not_ours(
    blobs: BlobStore, start: Callable[..., Housekeeping], clocks: Clocks
) -> None:
    digest = blobs.put(b"of another installation")
    age(blobs, digest)

    def refuse() -> None:
        raise WrongBlobStoreError(None)

    refusing, allowed = start(check_blobs=refuse), start()
    clocks.own.now += HOUR_S
    refusing.run()
    assert exists(blobs, digest)
    allowed.run()
    assert not exists(blobs, digest)


def test_a_slow_blob_store_holds_up_the_reconciler_for_two_seconds(
    redis: Redis, blobs: BlobStore, clocks: Clocks
) -> None:
    looked_at: list[str] = []

    def slow(folder: str, older_than: float) -> list[str]:
        looked_at.append(folder)
        clocks.own.now += 0.5
        return []

    blobs.old = slow  # type: ignore[method-assign]
    housekeeping = Housekeeping(redis, blobs, keep_jobs_s=1, clock=clocks.own, wall_clock=clocks.wall)
    clocks.own.now += HOUR_S
    for _ in range(3):
        step(housekeeping, clocks)
    assert looked_at == [f"{k:02x}" for k in range(12)]


def test_what_a_death_left_half_done_is_removed(blobs: BlobStore) -> None:
    digest = blobs.put(b"instances")
    partial = Path(f"{blobs._path(digest)}.0.partial")
    partial.write_bytes(b"inst")
    os.utime(partial, (0, 0))
    assert blobs.old(digest[:2], time.time() - 3600) == []
    assert not partial.exists()


def test_a_file_cut_short_is_written_anew(blobs: BlobStore) -> None:
    digest = blobs.put(b"instances")
    Path(blobs._path(digest)).write_bytes(b"inst")
    blobs.put(b"instances")
    assert blobs.get(digest) == b"instances"


def test_while_nobody_knows_the_tenants_no_blob_is_deleted(redis: Redis, blobs: BlobStore, tmp_path: Path) -> None:
    """The instances of a tenant's job would count as needed by nobody."""
    redis.set(keys.TENANTS, "text")
    housekeeping = Housekeeping(redis, blobs, keep_jobs_s=60)
    with pytest.raises(ResponseError):
        housekeeping._without_needed(["a" * 64])


def test_access_keys_are_looked_at_once_a_minute_by_a_clock_that_does_not_leap(
    redis: Redis, start: Callable[..., Housekeeping], clocks: Clocks
) -> None:
    times: list[int] = []
    housekeeping = start(tend_keys=times.append)
    for _ in range(2):
        step(housekeeping, clocks)
        housekeeping.run()  # a minute has not passed
    set_server_clock(redis, 90)
    step(housekeeping, clocks)
    assert len(times) == 3
    assert times[2] - times[0] <= DAY_MS + 60_000  # a thirtieth of 30 days
