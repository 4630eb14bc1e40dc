"""Workers that are killed, suspended, hang or get SIGTERM."""

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from storage.blobs import BlobStore
from storage.jobs.spec import TrainingSpec
from tests.builders import training_spec
from tests.faults.rig import Process, Rig, children_of, send, wait_for

StartRig = Callable[..., Rig]


def training(blobs: BlobStore, **more: Any) -> TrainingSpec:
    """Minutes of work; one epoch takes less than a millisecond."""
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


def busy_worker(rig: Rig) -> tuple[Process, int]:
    """Return the worker that trains now, and the pid of its child."""
    return next((worker, child) for worker in rig.workers for child in children_of(worker.pid))


def messages_of(rig: Rig, job_id: str) -> list[str]:
    return [event.data["message"] for event in rig.jobs.events(job_id, limit=2000)[0] if event.type == "log"]


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.serial
def test_a_job_resumes_within_15_seconds_on_a_spare_worker_from_its_checkpoint(start_rig: StartRig, times: int) -> None:
    """R2: kill worker and child; ten times with `--times 20`."""
    rig = start_rig(n_workers=2, api_processes=0)
    for _ in range(times // 2):
        job_id = start_job(rig)
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).checkpoint)
        checkpoint = rig.jobs.get(job_id).checkpoint
        worker, _ = busy_worker(rig)
        rig.kill_worker(worker)
        killed_at = time.monotonic()
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).attempt == 2, 20)
        assert time.monotonic() - killed_at <= 15
        assert checkpoint is not None
        resumed = f"resuming from the checkpoint after {checkpoint.total_epochs} epochs"
        wait_for(lambda job_id=job_id, resumed=resumed: resumed in messages_of(rig, job_id), 5)
        rig.jobs.cancel(job_id)
        wait_for(lambda: not any(children_of(worker.pid) for worker in rig.workers))
        rig.tend()


def test_a_worker_child_does_not_outlive_its_parent(start_rig: StartRig, times: int) -> None:
    """R3: kill only the parent; ten times with `--times 10`."""
    rig = start_rig(n_workers=1, api_processes=0)
    for _ in range(times):
        job_id = start_job(rig)
        worker, child = busy_worker(rig)
        rig.kill_worker(worker, with_child=False)
        wait_for(lambda child=child: not is_alive(child), 1.0)
        rig.jobs.cancel(job_id)
        rig.tend()


def test_a_worker_that_wakes_up_too_late_publishes_nothing(start_rig: StartRig, times: int) -> None:
    """R4: suspend it for longer than an attempt may be silent, then continue; five times with `--times 10`."""
    rig = start_rig(n_workers=2, api_processes=0)
    for k in range(times // 2):
        job_id = start_job(rig, time_limit_s=12.0)
        worker, child = busy_worker(rig)
        for pid in (worker.pid, child):
            send(pid, signal.SIGSTOP)
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).attempt == 2, 30)
        time.sleep(1)
        for pid in (worker.pid, child):
            send(pid, signal.SIGCONT)
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).is_done, 30)
        job = rig.jobs.get(job_id)
        assert (job.status, job.attempt, job.version) == ("succeeded", 2, k + 1)
        wait_for(lambda child=child: not is_alive(child), 20)
        assert rig.jobs.get(job_id) == job
        assert len(rig.models.get("m").versions) == k + 1


def test_a_time_limit_holds_where_an_epoch_does_not_end(start_rig: StartRig) -> None:
    """R12: one epoch hangs in a C call, another one catches every exception."""
    rig = start_rig(n_workers=0, api_processes=0)
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


def test_a_worker_told_to_stop_exits_in_time_and_its_job_ends_with_the_same_bytes(start_rig: StartRig) -> None:
    """R13: two SIGTERMs during one job, each with 10 s to exit; the other worker trains the same without a stop."""
    rig = start_rig(n_workers=2, api_processes=0, TRAINING_THREADS="1")
    # After SIGTERM a training goes on for 2 s: the job must take far longer than twice that.
    spec = training(rig.blobs, optimizer="adam", max_epochs=120_000)
    undisturbed = rig.jobs.submit("undisturbed", spec, metadata={}).id
    wait_for(lambda: rig.jobs.get(undisturbed).progress)
    steady, _ = busy_worker(rig)
    disturbed = rig.jobs.submit("disturbed", spec, metadata={}).id
    for attempt in (1, 2):
        wait_for(lambda attempt=attempt: rig.jobs.get(disturbed).attempt == attempt)
        wait_for(lambda: rig.jobs.get(disturbed).progress)
        (worker,) = (one for one in rig.workers if one is not steady)
        worker.terminate()
        assert worker.wait(10) == 0
        assert rig.jobs.get(disturbed).status == "queued"
        rig.tend()
    wait_for(lambda: rig.jobs.get(disturbed).is_done and rig.jobs.get(undisturbed).is_done, 120)
    assert (rig.jobs.get(undisturbed).attempt, rig.jobs.get(disturbed).attempt) == (1, 3)
    undisturbed_weights, disturbed_weights = (
        rig.models.load_bytes(model, 1)[1] for model in ("undisturbed", "disturbed")
    )
    assert undisturbed_weights == disturbed_weights
    messages = messages_of(rig, disturbed)
    assert len([message for message in messages if "resuming from the checkpoint" in message]) == 2


def test_a_training_that_takes_too_much_memory_fails_once_and_harms_nobody(start_rig: StartRig) -> None:
    """R28: at 15a4f66 such a job was killed four times, and `out_of_memory` never came."""
    rig = start_rig(n_workers=1, api_processes=0, MAX_TRAINING_BYTES=str(150_000_000))
    (worker,) = rig.workers
    too_large = {"optimizer": "lbfgs", "hidden_layers": (2000, 1000), "max_epochs": 3}  # 16 MB a vector, 80 of them
    job_ids = [rig.jobs.submit("m", training(rig.blobs, **more), metadata={}).id for more in (too_large, {}, too_large)]
    job_ids.append(rig.jobs.submit("m", training(rig.blobs, max_epochs=3), metadata={}).id)
    rig.jobs.cancel(job_ids[1])
    wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in job_ids), 60)
    ends = [rig.jobs.get(job_id) for job_id in job_ids]
    assert [(job.status, job.attempt) for job in ends[::2]] == [("failed", 1)] * 2
    assert [job.error and job.error.code for job in ends[::2]] == ["out_of_memory"] * 2
    assert ends[3].status == "succeeded"
    assert is_alive(worker.pid)
