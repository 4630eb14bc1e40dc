"""Workers that are killed, stopped for a while, hang or are told to stop."""

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from storage.blobs import BlobStore
from storage.jobs.spec import TrainingSpec
from tests.builders import training_spec
from tests.faults.rig import Process, Rig, children_of, send, wait_for

StartRig = Callable[..., Rig]


def training(blobs: BlobStore, **more: Any) -> TrainingSpec:
    """Minutes of work, an epoch of which takes less than a millisecond."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 20)).tolist()
    targets = [float(target) for target in rng.integers(0, 2, 2000)]
    more = {"max_epochs": 1_000_000, "tolerance": 0.0, **more}
    return training_spec(blobs, features=features, targets=targets, **more)


def start_job(rig: Rig, **more: Any) -> str:
    """Submit a job and wait until it trains."""
    job_id = rig.jobs.submit("m", training(rig.blobs, **more), metadata={}).id
    wait_for(lambda: rig.jobs.get(job_id).progress)
    return job_id


def with_a_horse(rig: Rig) -> tuple[Process, int]:
    """Give the worker that trains now, and the process that it forked for it."""
    return next((worker, horse) for worker in rig.workers for horse in children_of(worker.pid))


def messages_of(rig: Rig, job_id: str) -> list[str]:
    return [event.data["message"] for event in rig.jobs.events(job_id, limit=2000)[0] if event.type == "log"]


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_job_goes_on_within_15_seconds_on_a_spare_worker_and_from_its_checkpoint(
    start_rig: StartRig, times: int
) -> None:
    """R2: parent and horse killed, with `--times 20` ten times."""
    rig = start_rig(n_workers=2, api_processes=1)
    for _ in range(times // 2):
        job_id = start_job(rig)
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).checkpoint)
        checkpoint = rig.jobs.get(job_id).checkpoint
        worker, _ = with_a_horse(rig)
        rig.kill_worker(worker)
        killed_at = time.monotonic()
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).attempt == 2, 20)
        assert time.monotonic() - killed_at <= 15
        assert checkpoint is not None
        went_on = f"resuming from the checkpoint after {checkpoint.total_epochs} epochs"
        wait_for(lambda job_id=job_id, went_on=went_on: went_on in messages_of(rig, job_id), 5)
        rig.jobs.cancel(job_id)
        wait_for(lambda: not any(children_of(worker.pid) for worker in rig.workers))
        rig.tend()


def test_a_horse_does_not_outlive_its_parent(start_rig: StartRig, times: int) -> None:
    """R3: only the parent killed, with `--times 10`."""
    rig = start_rig(n_workers=1, api_processes=1)
    for _ in range(times):
        job_id = start_job(rig)
        worker, horse = with_a_horse(rig)
        rig.kill_worker(worker, with_horse=False)
        wait_for(lambda horse=horse: not is_alive(horse), 1.0)
        rig.jobs.cancel(job_id)
        rig.tend()


def test_a_worker_that_wakes_up_too_late_publishes_nothing(start_rig: StartRig, times: int) -> None:
    """R4: SIGSTOP for longer than an attempt may be silent, then SIGCONT, with `--times 10` five times."""
    rig = start_rig(n_workers=2, api_processes=1)
    for k in range(times // 2):
        job_id = start_job(rig, time_limit_s=12.0)
        worker, horse = with_a_horse(rig)
        for pid in (worker.pid, horse):
            send(pid, signal.SIGSTOP)
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).attempt == 2, 30)
        time.sleep(1)
        for pid in (worker.pid, horse):
            send(pid, signal.SIGCONT)
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).is_done, 30)
        job = rig.jobs.get(job_id)
        assert (job.status, job.attempt, job.version) == ("succeeded", 2, k + 1)
        wait_for(lambda horse=horse: not is_alive(horse), 20)
        assert rig.jobs.get(job_id) == job
        assert len(rig.models.get("m").versions) == k + 1


def test_a_time_limit_holds_where_an_epoch_does_not_end(start_rig: StartRig) -> None:
    """R12: an epoch that hangs in one call, and one that swallows every exception."""
    rig = start_rig(n_workers=0, api_processes=1)
    for how in ("hangs", "swallows"):
        rig.workers.append(rig._start((sys.executable, "-m", "tests.faults.hanging_worker", how), how))
    wait_for(lambda: rig.queue.n_workers() == 2)
    job_ids = [rig.jobs.submit("m", training(rig.blobs, time_limit_s=2.0), metadata={}).id for _ in range(2)]
    wait_for(lambda: all(rig.jobs.get(job_id).status == "running" for job_id in job_ids))
    began_at = time.monotonic()
    wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in job_ids), 20)
    assert time.monotonic() - began_at <= 2.0 + 10.0
    for job_id in job_ids:
        job = rig.jobs.get(job_id)
        assert job.error is not None
        assert (job.status, job.error.code, job.attempt) == ("failed", "time_limit", 1)


def test_a_worker_told_to_stop_leaves_in_time_and_its_job_ends_with_the_same_bytes(start_rig: StartRig) -> None:
    """R13: SIGTERM, again and again, with 10 s to leave."""
    rig = start_rig(n_workers=1, api_processes=1, TRAINING_THREADS="1")
    spec = training(rig.blobs, optimizer="adam", max_epochs=60_000)
    undisturbed = rig.jobs.submit("m", spec, metadata={}).id
    wait_for(lambda: rig.jobs.get(undisturbed).is_done, 120)
    disturbed = rig.jobs.submit("m", spec, metadata={}).id
    for _ in range(2):
        wait_for(lambda: rig.jobs.get(disturbed).status == "running")
        time.sleep(0.7)
        worker, _ = with_a_horse(rig)
        worker.terminate()
        assert worker.wait(10) == 0
        assert rig.jobs.get(disturbed).status == "queued"
        rig.tend()
    wait_for(lambda: rig.jobs.get(disturbed).is_done, 120)
    assert rig.jobs.get(disturbed).attempt == 3
    (_, first), (_, second) = (rig.models.load_bytes("m", number) for number in (1, 2))
    assert first == second
    messages = messages_of(rig, disturbed)
    assert len([message for message in messages if "resuming from the checkpoint" in message]) == 2
