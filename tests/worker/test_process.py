"""Real workers: processes that are killed, stopped and given forged jobs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis
from rq.utils import import_attribute

from standalone import EmbeddedServer
from storage import keys
from storage.blobs import BlobStore
from storage.identity import StoreIdentity
from storage.jobs.record import JobStatus
from storage.jobs.spec import TrainingSpec
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TRAIN_TASK, TrainingQueue
from tests.builders import training_spec

ROOT = Path(__file__).parents[2]
WorkerProcess = subprocess.Popen[bytes]


def wait_for(what: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def start_worker(server: EmbeddedServer, redis: Redis, tmp_path: Path) -> Iterator[Callable[[], WorkerProcess]]:
    """Start a worker and wait until it listens; what is left of it is killed after the test."""
    started: list[WorkerProcess] = []
    StoreIdentity(BlobStore((tmp_path / "blobs").as_uri())).check_blobs(redis)  # as the API does before the first job
    env = os.environ | {"REDIS_URL": server.url, "BLOB_URL": (tmp_path / "blobs").as_uri()}

    def start() -> WorkerProcess:
        log = (tmp_path / f"worker-{len(started)}.log").open("w+b")
        worker = subprocess.Popen([sys.executable, "-m", "worker.main"], cwd=ROOT, env=env, stdout=log, stderr=log)
        log.close()
        started.append(worker)
        wait_for(lambda: b"ready for training jobs" in (tmp_path / f"worker-{len(started) - 1}.log").read_bytes())
        return worker

    yield start
    for worker in started:
        for pid in (*children_of(worker.pid), worker.pid):
            kill(pid)
        worker.wait()


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def status_of(jobs: JobStore, job_id: str) -> JobStatus:
    return jobs.get(job_id).status


def long_training(blobs: BlobStore) -> TrainingSpec:
    """Minutes of work, an epoch of which takes less than a millisecond."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 20))
    targets = [float(target) for target in rng.integers(0, 2, 2000)]
    return training_spec(blobs, features=features.tolist(), targets=targets, max_epochs=1_000_000, tolerance=0.0)


def start_long_job(jobs: JobStore, blobs: BlobStore) -> str:
    job_id = jobs.submit("long", long_training(blobs), metadata={}).id
    wait_for(lambda: jobs.get(job_id).progress)
    return job_id


def test_the_task_that_the_queue_names_exists() -> None:
    assert import_attribute(TRAIN_TASK).__name__ == "train_model"


def test_a_worker_trains_what_is_in_the_queue(
    jobs: JobStore, models: ModelStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    waiting = jobs.submit("or", training_spec(blobs), metadata={}).id
    start_worker()
    wait_for(lambda: jobs.get(waiting).is_done)
    job = jobs.get(waiting)
    assert (job.status, job.version, job.attempt) == ("succeeded", 1, 1)
    assert models.get("or").versions == (1,)


def test_a_worker_says_in_the_record_why_a_job_failed(
    jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    diverging = training_spec(
        blobs, features=[[1e6], [2e6], [3e6]], targets=[10.0, 20.0, 30.0], learning_rate=10.0, standardize=False
    )
    damaged = training_spec(blobs)
    damaged = replace(damaged, data=replace(damaged.data, blob=blobs.put(b"no data set")))
    ids = [jobs.submit("m", spec, metadata={}).id for spec in (diverging, damaged)]
    start_worker()
    wait_for(lambda: all(jobs.get(job_id).is_done for job_id in ids))
    errors = [jobs.get(job_id).error for job_id in ids]
    assert [error.code for error in errors if error] == ["diverged", "internal"]
    assert errors[0] is not None and "learning_rate" in errors[0].detail


def test_a_cancelled_job_frees_its_worker(
    jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    start_worker()
    job_id = start_long_job(jobs, blobs)
    jobs.cancel(job_id)
    following = jobs.submit("or", training_spec(blobs), metadata={}).id
    wait_for(lambda: jobs.get(following).is_done, timeout_s=10)
    job = jobs.get(job_id)
    assert (job.status, job.version) == ("cancelled", None)
    assert job.progress is not None


def test_a_job_whose_queue_entry_was_lost_is_trained_all_the_same(
    jobs: JobStore, blobs: BlobStore, redis: Redis, start_worker: Callable[[], WorkerProcess]
) -> None:
    job_id = jobs.submit("or", training_spec(blobs), metadata={}).id
    redis.delete("rq:queue:training")
    start_worker()
    wait_for(lambda: jobs.get(job_id).is_done, timeout_s=40)
    assert status_of(jobs, job_id) == "succeeded"


def test_sigterm_ends_an_idle_worker_at_once_with_status_0(start_worker: Callable[[], WorkerProcess]) -> None:
    worker = start_worker()
    worker.terminate()
    assert worker.wait(10) == 0


def test_a_child_that_has_trained_waits_for_the_next_job(
    start_worker: Callable[[], WorkerProcess], jobs: JobStore, blobs: BlobStore, redis: Redis
) -> None:
    worker = start_worker()
    children = set()
    for _ in range(3):
        job_id = jobs.submit("or", training_spec(blobs), metadata={}).id
        wait_for(lambda job_id=job_id: status_of(jobs, job_id) == "succeeded")
        children |= set(children_of(worker.pid))
    assert len(children) == 1  # no fork for the second and the third
    wait_for(lambda: children_of(worker.pid) == [])
    assert [key for key in redis.keys("rq:job:*")] == []  # it leaves nothing of RQ's behind


def test_sigterm_ends_a_worker_whose_child_waits_at_once(
    start_worker: Callable[[], WorkerProcess], jobs: JobStore, blobs: BlobStore
) -> None:
    worker = start_worker()
    job_id = jobs.submit("or", training_spec(blobs), metadata={}).id
    wait_for(lambda: status_of(jobs, job_id) == "succeeded")
    worker.terminate()
    assert worker.wait(25) == 0
    later = jobs.submit("or", training_spec(blobs), metadata={}).id
    assert status_of(jobs, later) == "queued"  # nobody is left who would take it


def test_sigterm_hands_a_long_job_back_within_25_seconds(
    jobs: JobStore, blobs: BlobStore, queue: TrainingQueue, start_worker: Callable[[], WorkerProcess]
) -> None:
    worker = start_worker()
    job_id = start_long_job(jobs, blobs)
    worker.terminate()
    assert worker.wait(25) == 0
    job = jobs.get(job_id)
    assert (job.status, job.attempt) == ("queued", 1)
    assert job_id in queue.waiting_job_ids()


def forged_records(marker: Path) -> dict[str, dict[str, Any]]:
    """RQ's records of entries that somebody who can write to Redis has made up, by what they try."""
    touch = json.dumps(["os.system", None, [f"touch {marker}"], {}])
    train = json.dumps([TRAIN_TASK, None, ["job_0"], {}])
    by_name = {f"{name}_callback_name": "tests.worker.test_process.touch" for name in ("success", "failure", "stopped")}
    return {
        "function": {"data": touch},
        "callbacks": {"data": train, **by_name},
        "callbacks of a failure": {"data": touch, **by_name},
        "webhook": {"data": train, "webhooks": json.dumps([{"url": f"file://{marker}", "statuses": ["finished"]}])},
        "dependency": {"data": touch, "dependency_ids": '["nothing"]'},
        "repeats": {"data": touch, "repeats_left": 9, "repeat_intervals": "[0]", "retries_left": 9},
        "rate limit": {"data": touch, "rate_limit_key": "k", "rate_limit_concurrency": 1},
        "huge": {"data": "x" * 20_000_000},
        "broken data": {"data": b"\xff\xfe"},
        "broken numbers": {"data": train, "timeout": "soon", "result_ttl": "never", "created_at": "then"},
        "broken status": {"data": train, "status": "unheard of"},
        "nothing": {},
    }


def touch(*_: object) -> None:
    """What a forged callback would run."""
    Path(os.environ["FORGED"]).touch()


def test_nothing_that_a_forged_queue_entry_names_runs_and_the_worker_goes_on(
    redis: Redis,
    jobs: JobStore,
    blobs: BlobStore,
    tmp_path: Path,
    start_worker: Callable[[], WorkerProcess],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """R37. On 15a4f66 the callbacks ran, and an entry that could not be read ended the worker."""
    marker = tmp_path / "forged"
    monkeypatch.setenv("FORGED", str(marker))
    honest = [jobs.submit("or", training_spec(blobs), metadata={}).id for _ in range(2)]
    (mine,) = (key for key in redis.keys(f"rq:job:{honest[0]}-*"))
    redis.hset(mine, mapping=forged_records(marker)["callbacks of a failure"])
    for k, record in enumerate(forged_records(marker).values()):
        for entry in (f"forged-{k}", f"job_{k:032x}-1"):
            redis.lpush("rq:queue:training", entry)
            if record:
                redis.hset(f"rq:job:{entry}", mapping={"origin": "training", "status": "queued", **record})
    for entry in (b"\xff\x00", b"", b"x" * 1_000_000, f"{honest[1]}:events-1".encode()):
        redis.lpush("rq:queue:training", entry)
    redis.set("rq:job:job_" + "f" * 32 + "-2", "a text where a hash belongs")
    redis.lpush("rq:queue:training", "job_" + "f" * 32 + "-2")
    redis.zadd("rq:wip:training", {"forged-1:x": 1})
    redis.lpush("rq:queue:training:intermediate", "forged-1")
    worker = start_worker()
    for command in ("shutdown", "kill-horse"):
        redis.publish(
            f"rq:pubsub:{redis.keys('rq:worker:*')[0].decode().rpartition(':')[2]}", f'{{"command": "{command}"}}'
        )
    wait_for(lambda: all(jobs.get(job_id).is_done for job_id in honest))
    assert [status_of(jobs, job_id) for job_id in honest] == ["succeeded"] * 2
    assert worker.poll() is None
    assert not marker.exists()
    assert '"exception"' not in (tmp_path / "worker-0.log").read_text()
    assert redis.llen("rq:queue:training") == 0
    assert set(redis.keys("rq:job:*")) <= {b"rq:job:forged-1"}  # each record went with its entry


def test_a_queue_of_the_wrong_type_ends_no_worker(
    redis: Redis, jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    redis.set("rq:queue:training", "a text where a list belongs")
    worker = start_worker()
    time.sleep(2)
    redis.delete("rq:queue:training")
    job_id = jobs.submit("or", training_spec(blobs), metadata={}).id
    wait_for(lambda: jobs.get(job_id).is_done)
    assert worker.poll() is None


def test_a_lease_and_a_registration_of_the_wrong_type_keep_no_worker_from_its_jobs(
    redis: Redis, jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess], tmp_path: Path
) -> None:
    redis.rpush(keys.RECONCILER_LEASE, "x")
    redis.set("rq:workers:training", "a text where a set belongs")
    start_worker()
    job_id = jobs.submit("or", training_spec(blobs), metadata={}).id
    wait_for(lambda: jobs.get(job_id).is_done)
    assert "ALARM: what is stored is damaged: rq:workers:training" in (tmp_path / "worker-0.log").read_text()


def test_a_job_waits_while_a_key_that_its_version_needs_is_damaged(
    redis: Redis, jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    redis.rpush(keys.digests("or"), "x")
    start_worker()
    job_id = jobs.submit("or", training_spec(blobs), metadata={}).id
    reason = f"WRONGTYPE {keys.digests('or')} is a list"
    wait_for(lambda: any(reason in str(event.data) for event in jobs.events(job_id, limit=100)[0]))
    redis.delete(keys.digests("or"))
    wait_for(lambda: jobs.get(job_id).is_done)
    assert status_of(jobs, job_id) == "succeeded" and jobs.get(job_id).version == 1


def test_without_a_setting_the_worker_says_which_one() -> None:
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    command = [sys.executable, "-m", "worker.main"]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert "REDIS_URL" in ended.stderr and "Traceback" not in ended.stderr


def slow_training(blobs: BlobStore) -> TrainingSpec:
    """Epochs that each take far longer than an attempt may be silent."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600_000, 1))
    targets = [float(target) for target in rng.integers(0, 2, 600_000)]
    return training_spec(
        blobs, features=features.tolist(), targets=targets, optimizer="adam", batch_size=1, max_epochs=2, tolerance=0.0
    )


@pytest.mark.long
def test_an_attempt_in_a_long_epoch_stays_alive_and_ends_when_cancelled(
    jobs: JobStore, blobs: BlobStore, redis: Redis, start_worker: Callable[[], WorkerProcess]
) -> None:
    job_id = jobs.submit("slow", slow_training(blobs), metadata={}).id
    worker = start_worker()
    start_worker()  # whose reconciler looks on
    wait_for(lambda: status_of(jobs, job_id) == "running")
    time.sleep(14)
    job = jobs.get(job_id)
    assert (job.status, job.attempt, job.progress) == ("running", 1, None)
    jobs.cancel(job_id)
    wait_for(lambda: not any(children_of(pid) for pid in (worker.pid,)), timeout_s=12)


def test_sigterm_in_a_long_epoch_hands_the_job_back_in_time(
    jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    worker = start_worker()
    job_id = jobs.submit("slow", slow_training(blobs), metadata={}).id
    wait_for(lambda: status_of(jobs, job_id) == "running")
    worker.terminate()
    assert worker.wait(22) == 0
    assert status_of(jobs, job_id) == "queued"


def test_sigterm_right_after_a_job_was_enqueued_still_hands_it_back(
    jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    worker = start_worker()
    job_id = jobs.submit("long", long_training(blobs), metadata={}).id
    worker.terminate()
    assert worker.wait(25) == 0
    assert status_of(jobs, job_id) == "queued"


def test_a_time_limit_of_rq_ends_no_training(
    redis: Redis, jobs: JobStore, blobs: BlobStore, start_worker: Callable[[], WorkerProcess]
) -> None:
    """A8. On 15a4f66 RQ's seven days ended a job that had no limit, as `time_limit`; here they are two seconds."""
    job_id = jobs.submit("m", long_training(blobs), metadata={}).id
    (entry,) = redis.keys("rq:job:*")
    assert redis.hget(entry, "timeout") == b"-1"
    redis.hset(entry, "timeout", 2)
    start_worker()
    wait_for(lambda: (progress := jobs.get(job_id).progress) and progress.epoch > 10)
    time.sleep(3)
    assert status_of(jobs, job_id) == "running"
    assert jobs.cancel(job_id).attempt == 1
