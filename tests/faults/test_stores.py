"""A Redis that lost its data, or is full."""

import shutil
import time
from collections.abc import Callable

import httpx
from rq import Worker

from storage import keys
from storage.identity import accept_loss
from tests.faults.rig import Rig, children_of, wait_for
from tests.faults.test_workers import start_job, training

StartRig = Callable[..., Rig]
JOB = {"model": "or", "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}}


def test_a_redis_that_comes_back_empty_is_refused(start_rig: StartRig) -> None:
    """R8: 503 with the reason, no 404 for an accepted job and no 202, until the loss is accepted."""
    rig = start_rig(n_workers=1)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        job_id = http.post("/jobs", json=JOB).raise_for_status().json()["id"]
        wait_for(lambda: http.get(f"/jobs/{job_id}").json()["status"] == "succeeded")
        rig.server.kill()
        shutil.rmtree(rig.server.directory / "appendonlydir")
        rig.server.start()
        answers = []
        until = time.monotonic() + 5
        while time.monotonic() < until:
            answers.append(http.get(f"/jobs/{job_id}"))
            answers.append(http.post("/jobs", json=JOB))
            time.sleep(0.05)
        assert {answer.status_code for answer in answers} == {503}
        assert "perceptron init --accept-loss" in http.get("/readyz").json()["detail"]
        assert rig.redis.get(keys.STORE_IDENTITY) is None  # the worker wrote nothing
        accept_loss(rig.redis, rig.blobs)
        wait_for(rig.is_ready, 5)
        # Each API process learns by itself that the loss was accepted, within a second.
        wait_for(lambda: http.post("/jobs", json=JOB).status_code == 202, 5)
        wait_for(lambda: rig.jobs.page(limit=1)[0][0].is_done, 30)
        # the worker registers again in its next round of upkeep
        wait_for(lambda: http.get("/readyz").json()["workers"] == 1, 20)


def test_a_redis_emptied_under_its_connections_is_refused(start_rig: StartRig) -> None:
    """R8 after FLUSHALL, which breaks no connection."""
    rig = start_rig(n_workers=0, api_processes=1)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        job_id = http.post("/jobs", json=JOB).raise_for_status().json()["id"]
        assert http.get(f"/jobs/{job_id}").status_code == 200  # so the store identity was checked just now
        rig.redis.flushall()
        answers = [http.get(f"/jobs/{job_id}"), http.post("/jobs", json=JOB), http.get("/models/or")]
        assert {answer.status_code for answer in answers} == {503}
        assert rig.redis.keys() == []


def test_a_worker_told_to_stop_while_redis_is_refused_ends_all_the_same(start_rig: StartRig) -> None:
    """R13 while its commands are retried for a minute: the supervisor kills after 22 s."""
    rig = start_rig(n_workers=0, api_processes=0)
    worker = rig.start_worker(is_awaited=True)
    rig.redis.flushall()
    wait_for(lambda: "Redis was emptied" in (rig.folder / "worker-0.log").read_text())
    worker.terminate()
    worker.wait(20)


def test_a_full_redis_accepts_no_job_and_loses_none(start_rig: StartRig) -> None:
    """R9: full at enqueue and at publish; the jobs end within 30 s once there is room."""
    rig = start_rig(n_workers=1)
    with httpx.Client(base_url=rig.url, timeout=30) as http:
        http.post("/jobs", json=JOB).raise_for_status()
        job_id = start_job(rig, time_limit_s=4.0)
        full_keys = set(rig.redis.keys("perceptron:*"))
        rig.redis.config_set("maxmemory", rig.redis.info("memory")["used_memory"] // 2)
        answer = http.post("/jobs", json=JOB)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "Retry-After" in answer.headers
        time.sleep(8)
        assert rig.jobs.get(job_id).status == "running"  # trained, and waits for room to publish
        assert set(rig.redis.keys("perceptron:*")) <= full_keys
        rig.redis.config_set("maxmemory", 0)
        has_room_at = time.monotonic()
        wait_for(lambda: rig.jobs.get(job_id).is_done, 30)
        assert rig.jobs.get(job_id).status == "succeeded"
        after = http.post("/jobs", json=JOB).raise_for_status().json()["id"]
        wait_for(lambda: rig.jobs.get(after).is_done, 30)
        assert time.monotonic() - has_room_at < 30


def test_a_job_can_be_cancelled_while_redis_is_full(start_rig: StartRig) -> None:
    rig = start_rig(n_workers=1, api_processes=1)
    job_id = start_job(rig)
    rig.redis.config_set("maxmemory", rig.redis.info("memory")["used_memory"] // 2)
    answer = httpx.post(f"{rig.url}/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    wait_for(lambda: not any(children_of(worker.pid) for worker in rig.workers), 15)
    time.sleep(1)
    assert rig.workers[0].poll() is None  # it ended when its training did
    rig.redis.config_set("maxmemory", 0)
    next_id = rig.jobs.submit("m", training(rig.blobs, max_epochs=1), metadata={}).id
    wait_for(lambda: rig.jobs.get(next_id).status == "succeeded")


def test_a_worker_starts_and_ends_while_redis_is_full(start_rig: StartRig) -> None:
    """Both ended with a traceback, and the supervisor started the worker every second: RQ registers it in Redis."""
    rig = start_rig(n_workers=1, api_processes=0)
    busy = rig.workers[0]
    start_job(rig)
    rig.redis.config_set("maxmemory", "1")
    idle = rig.start_worker(is_awaited=True)
    for worker in (idle, busy):
        worker.terminate()
        assert worker.wait(20) == 0
    assert '"exception"' not in "".join(log.read_text() for log in rig.folder.glob("worker-*.log"))
    new = rig.start_worker(is_awaited=True)
    rig.redis.config_set("maxmemory", "0")
    wait_for(lambda: new.pid in {worker.pid for worker in Worker.all(rig.redis)})
