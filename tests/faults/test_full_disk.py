"""R26: the disk of the data directory is full, with jobs running. On 15a4f66 the embedded server ended and was started
again every 2 s, reads and cancels were 503, and running jobs failed."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.redis_host import Disk
from tests.faults.rig import wait_for
from tests.faults.test_stores import JOB
from tests.stack import Stack

LONG = {
    **JOB,
    "model": "long",
    "training": {"max_epochs": 1_000_000, "tolerance": 0, "learning_rate": 1e-6},
    "network": {"hidden_layers": [20, 20]},
}


def server_pid(stack: Stack) -> int:
    return next(pid for pid in stack.tree() if "-server" in Path(f"/proc/{pid}/comm").read_text())


def worker_pid(stack: Stack) -> int:
    """The parent of all children that train: the oldest process of the worker."""
    return min(pid for pid in stack.tree() if b"worker.main" in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.serial
def test_a_full_disk_stops_new_jobs_and_nothing_else(small_disk: Disk, times: int) -> None:
    stack = Stack(small_disk.path / "data").start()
    try:
        http = stack.http
        first = http.post("/jobs", json=JOB).raise_for_status().json()["id"]
        wait_for(lambda: http.get(f"/jobs/{first}").json()["done"])
        ends = http.post("/jobs", json={**LONG, "training": {**LONG["training"], "time_limit_s": 4}}).json()["id"]
        cancelled = http.post("/jobs", json=LONG).json()["id"]
        wait_for(lambda: http.get(f"/jobs/{ends}").json()["status"] == "running")
        server, worker = server_pid(stack), worker_pid(stack)
        small_disk.fill()
        # The guard looks five times a second; until it does, jobs go into the reserve.
        wait_for(lambda: http.post("/jobs", json=JOB).status_code == 503, 2)
        answers: Counter[tuple[str, int]] = Counter()
        until = time.monotonic() + 4 * times
        while time.monotonic() < until:
            answers["post", http.post("/jobs", json=JOB).status_code] += 1
            for path in ("/jobs", f"/jobs/{ends}", "/models/or", "/readyz"):
                answers["get", http.get(path).status_code] += 1
            predict = http.post("/predict", json={"model": "or", "instances": [[0, 1]]})
            answers["predict", predict.status_code] += "stale" not in predict.json()
            time.sleep(0.05)
        assert set(answers) == {("post", 503), ("get", 200), ("predict", 200)}
        assert http.post(f"/jobs/{cancelled}/cancel").json()["status"] == "cancelled"
        assert http.get(f"/jobs/{ends}").json()["status"] == "running"  # trained, and waits for room
        assert (server_pid(stack), worker_pid(stack)) == (server, worker)
        os.kill(server, signal.SIGKILL)  # one that is started on a full disk refuses new data, too
        wait_for(lambda: http.get("/jobs").status_code == 200)
        time.sleep(2)
        assert http.post("/jobs", json=JOB).status_code == 503
        assert http.get(f"/jobs/{cancelled}").json()["status"] == "cancelled"
        assert worker_pid(stack) == worker
        small_disk.make_room()
        wait_for(lambda: http.get(f"/jobs/{ends}").json()["done"], 30)
        assert http.get(f"/jobs/{ends}").json()["status"] == "succeeded"
        wait_for(lambda: http.post("/jobs", json=JOB).status_code == 202, 5)
        assert {job["status"] for job in http.get("/jobs").json()["data"]} <= {
            "succeeded",
            "cancelled",
            "queued",
            "running",
        }
    finally:
        stack.kill()
