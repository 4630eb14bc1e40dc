"""What nobody needs goes, and nothing else."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from redis import Connection, Redis, UnixDomainSocketConnection

from storage import keys
from storage.blobs import BlobStore
from storage.codec import decode_dataset, encode_dataset
from storage.errors import JobNotFoundError, UnavailableError, WrongBlobStoreError
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import OR_TARGETS, claimed, publish, training_spec
from tests.clock import Clock

DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def housekeeping(redis: Redis, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch) -> Housekeeping:
    """Looks at all blobs each time, and keeps jobs for a day."""
    monkeypatch.setattr("storage.jobs.housekeeping.FOLDERS_AT_ONCE", 256)
    monkeypatch.setattr("storage.jobs.housekeeping.BLOBS_S", 10**6)
    return Housekeeping(redis, blobs, keep_jobs_s=24 * 3600, clock=iter(range(0, 10**6, 60)).__next__)


def make_old(redis: Redis, job_id: str, days: float, *, finished_days: float | None = None) -> None:
    """Pretend that a job was made, and ended, so many days ago."""
    now = int(time.time() * 1000)
    created = now - int(days * DAY_MS)
    redis.hset(keys.job(job_id), "created_at_ms", created)
    for index in (keys.JOBS, *(keys.jobs_with_status(status) for status in ("succeeded", "failed", "cancelled"))):
        redis.zadd(index, {job_id: created}, xx=True)
    if finished_days is not None:
        redis.hset(keys.job(job_id), "finished_at_ms", now - int(finished_days * DAY_MS))


def test_a_job_is_forgotten_some_time_after_its_end_and_its_version_stays(
    redis: Redis, jobs: JobStore, models: ModelStore, housekeeping: Housekeeping
) -> None:
    publish(jobs)
    (old,), _ = jobs.page(limit=1)
    make_old(redis, old.id, 3, finished_days=1.01)
    ended_lately = claimed(jobs)
    ended_lately.fail(JobError("diverged", ""))
    make_old(redis, ended_lately.job.id, 3, finished_days=0.99)
    running = claimed(jobs).job.id
    make_old(redis, running, 9)
    housekeeping.run()
    with pytest.raises(JobNotFoundError):
        jobs.get(old.id)
    assert {job.id for job in jobs.page(limit=10)[0]} == {ended_lately.job.id, running}
    assert jobs.page(limit=10, status="succeeded") == ([], False)
    assert not redis.exists(keys.events(old.id))
    assert models.get("or").versions == (1,)


def test_jobs_are_forgotten_in_batches_past_those_that_ended_lately(
    redis: Redis, jobs: JobStore, housekeeping: Housekeeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.jobs.housekeeping.JOBS_AT_ONCE", 2)
    for k in range(7):
        job_id = claimed(jobs).job.id
        jobs.cancel(job_id)
        make_old(redis, job_id, 20 - k, finished_days=0.5 if k < 3 else 5)
    for _ in range(4):
        housekeeping.run()
    assert len(jobs.page(limit=10)[0]) == 3


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
        store.put(encode_dataset(decode_dataset(store.get(digest))))  # between the look and the deletion
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


def test_nothing_is_deleted_in_a_blob_store_that_is_not_ours(redis: Redis, blobs: BlobStore) -> None:
    digest = blobs.put(b"of another installation")
    age(blobs, digest)

    def refuse() -> None:
        raise WrongBlobStoreError(None)

    clock = iter(range(0, 10**6, 60)).__next__
    housekeeping = Housekeeping(redis, blobs, keep_jobs_s=1, check_blobs=refuse, clock=clock)
    for _ in range(64):
        housekeeping.run()
    assert exists(blobs, digest)


def test_a_slow_blob_store_holds_up_the_reconciler_for_two_seconds(redis: Redis, blobs: BlobStore) -> None:
    clock = Clock()
    looked_at: list[str] = []

    def slow(folder: str, older_than: float) -> list[str]:
        looked_at.append(folder)
        clock.now += 0.5
        return []

    blobs.old = slow  # type: ignore[method-assign]
    housekeeping = Housekeeping(redis, blobs, keep_jobs_s=1, clock=clock)
    for _ in range(3):
        housekeeping.run()
        clock.now += 60
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
