"""The promise: every accepted job ends once and publishes at most once, and a published version stays."""

import hashlib
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from storage.blobs import BlobStore
from storage.jobs.record import DONE_STATUSES
from storage.jobs.spec import TrainingSpec
from tests.builders import training_spec
from tests.faults.chaos import Plan, run
from tests.faults.dying_worker import POINTS
from tests.faults.rig import Rig, wait_for

JOB = {"model": "or", "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}}


def some_seconds_of_training(blobs: BlobStore, seconds: float = 3.0) -> TrainingSpec:
    """Training that runs until its time limit: an epoch takes microseconds."""
    return training_spec(blobs, max_epochs=1_000_000, tolerance=0.0, time_limit_s=seconds)


@pytest.mark.long
def test_nothing_is_lost_or_published_twice_under_random_faults(tmp_path: Path) -> None:
    """R1 and R23 in 12 s; the long form is `./run chaos`."""
    plan = Plan(minutes=0.2, seed=7, n_jobs=60, redis_fault_every_s=5.0, host_fault_every_s=2.5)
    outcome = run(plan, tmp_path)
    assert outcome.verdict.violations == [], "\n".join(outcome.history.notes)
    assert outcome.drain.n_open == 0
    assert outcome.verdict.figures["accepted"] == 60
    assert sum(outcome.verdict.figures[status] for status in DONE_STATUSES) == 60


def test_a_worker_killed_at_any_point_leaves_one_end_and_one_version(start_rig: Callable[..., Rig]) -> None:
    """R5."""
    rig = start_rig(n_workers=0, api_processes=0)
    spec = training_spec(rig.blobs, max_epochs=50, tolerance=0.0)
    dying = []
    for point in POINTS:
        # One at a time, so each worker gets its own job.
        job_id = rig.jobs.submit(point.replace(" ", "-"), spec, metadata={}).id
        worker = rig._start((sys.executable, "-m", "tests.faults.dying_worker", point), f"dying {point}")
        assert worker.wait(30) == -signal.SIGKILL, point
        dying.append((point, job_id))
    killed_at = time.monotonic()
    rig.start_worker(), rig.start_worker()
    for point, job_id in dying:
        wait_for(lambda job_id=job_id: rig.jobs.get(job_id).is_done, 40)
        job = rig.jobs.get(job_id)
        assert (job.status, job.version) == ("succeeded", 1), point
        assert rig.models.get(job.model).versions == (1,), point
    assert time.monotonic() - killed_at < 30


def test_a_redis_that_was_killed_loses_no_job(start_rig: Callable[..., Rig], times: int) -> None:
    """R6: Redis is down for 3 s; with `--times 10` for 30 s."""
    down_s = 1.5 * times if times < 10 else 30.0
    rig = start_rig(n_workers=1)
    job_ids = [rig.jobs.submit("or", some_seconds_of_training(rig.blobs, 4), metadata={}).id for _ in range(2)]
    wait_for(lambda: rig.jobs.get(job_ids[0]).progress)
    answers: list[tuple[int, float]] = []
    is_back = threading.Event()

    def keep_posting() -> None:
        with httpx.Client(base_url=rig.url, timeout=20) as http:
            while not is_back.is_set():
                started = time.monotonic()
                status = http.post("/jobs", json=JOB).status_code
                answers.append((status, time.monotonic() - started))
                time.sleep(0.05)

    posting = threading.Thread(target=keep_posting)
    rig.server.kill()
    posting.start()
    time.sleep(down_s)
    is_back.set()
    posting.join()
    rig.server.start()
    back_at = time.monotonic()
    assert {status for status, _ in answers} == {503}
    assert max(duration for _, duration in answers) < 5
    for job_id in job_ids:
        wait_for(lambda job_id=job_id: (rig.tend(), rig.jobs.get(job_id).is_done)[1], 30)
        assert rig.jobs.get(job_id).status == "succeeded"
    assert time.monotonic() - back_at < 30


def test_what_was_reported_ready_survives_a_kill_of_every_process(start_rig: Callable[..., Rig], times: int) -> None:
    """R7."""
    rig = start_rig(n_workers=2)
    accepted: set[str] = set()
    digests: dict[int, str] = {}
    for _ in range(times):
        with httpx.Client(base_url=rig.url, timeout=30) as http:
            new = [http.post("/jobs", json=JOB).raise_for_status().json()["id"] for _ in range(4)]
            accepted.update(new)
            wait_for(lambda new=new: rig.jobs.get(new[0]).status == "succeeded")
        rig.kill_all()
        rig.server.start()
        rig.tend()
        wait_for(rig.is_ready)
        version = rig.jobs.get(new[0]).version
        assert version is not None
        description, weights = rig.models.load_bytes("or", version)
        digests[version] = hashlib.sha256(weights).hexdigest()
        assert description.description.digests.weights == digests[version]
    wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in accepted), 40)
    assert {rig.jobs.get(job_id).status for job_id in accepted} == {"succeeded"}
    for version, digest in digests.items():
        assert hashlib.sha256(rig.models.load_bytes("or", version)[1]).hexdigest() == digest


def test_two_hundred_posts_with_twenty_keys_make_twenty_jobs(start_rig: Callable[..., Rig]) -> None:
    """R10."""
    rig = start_rig(n_workers=0)

    def post(k: int) -> str:
        headers = {"Idempotency-Key": f"key-{k % 20}"}
        answer = httpx.post(
            f"{rig.url}/jobs", json={**JOB, "metadata": {"k": str(k % 20)}}, headers=headers, timeout=30
        )
        return str(answer.raise_for_status().json()["id"])

    with ThreadPoolExecutor(32) as threads:
        ids = list(threads.map(post, range(200)))
    assert len(set(ids)) == 20
    assert rig.redis.zcard("perceptron:jobs") == 20
    assert all(ids[k] == ids[k % 20] for k in range(200))


def test_a_job_that_is_cancelled_at_any_time_ends_once_and_never_publishes_afterwards(
    start_rig: Callable[..., Rig], times: int
) -> None:
    """R11: with `--times 15` 300 jobs."""
    rig = start_rig(n_workers=2)
    rng = random.Random(1)
    answers: dict[str, Any] = {}
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        for _ in range(20 * times):
            job_id = http.post("/jobs", json={**JOB, "training": {"max_epochs": 300}}).raise_for_status().json()["id"]
            time.sleep(rng.uniform(0, 0.15))
            answers[job_id] = http.post(f"/jobs/{job_id}/cancel")
    wait_for(lambda: all(rig.jobs.get(job_id).is_done for job_id in answers), 30)
    published = {rig.models.get_version("or", number).description.job for number in _versions(rig)}
    for job_id, answer in answers.items():
        job = rig.jobs.get(job_id)
        assert answer.status_code == (200 if job.status == "cancelled" else 409)
        assert (job_id in published) == (job.status == "succeeded")
    assert {rig.jobs.get(job_id).status for job_id in answers} <= {"cancelled", "succeeded"}


def _versions(rig: Rig) -> tuple[int, ...]:
    return next((model.versions for model in rig.models.page(limit=10)[0]), ())
