"""Jobs compared with a bare RQ worker on the same Redis, every write synced: the targets J1 and J2.

J1: the time from `POST /jobs` (breast_cancer, 569 x 30 inline, 100 epochs) until `/predict` answers with the new
version, on an idle stack of one API process and one worker as `./run up` starts it. J2: small jobs drained by one
training worker, compared with no-op jobs drained by RQ's own fork worker with its default settings.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
from redis import Redis
from rq import Queue
from sklearn.datasets import load_breast_cancer

from benchmarks._table import Row, machine, report, row, shown
from standalone import EmbeddedServer
from standalone.stack import API_COMMAND, WORKER_COMMAND, WORKER_READY_LINE
from storage import keys
from storage.blobs import BlobStore
from storage.identity import StoreIdentity
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.builders import training_spec

ROOT = Path(__file__).parents[1]
N_LATENCIES = 60
N_JOBS = 100
N_ROUNDS = 5


@contextmanager
def process(command: tuple[str, ...], log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of the service's processes, or RQ's, until the block ends."""
    with log.open("wb") as output:
        running = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(30)


def wait_for(text: str, log: Path) -> None:
    deadline = time.monotonic() + 30
    while text not in log.read_text():
        if time.monotonic() > deadline:
            raise TimeoutError(log.read_text())
        time.sleep(0.01)


def latencies(url: str) -> list[float]:
    """Train and predict again and again. Returns the seconds from the first byte sent to the new version's answer."""
    features, classes = load_breast_cancer(return_X_y=True)
    job = {
        "model": "cancer",
        "data": {"features": features.tolist(), "targets": classes.tolist()},
        "training": {"max_epochs": 100},
    }
    one_row = {"model": "cancer", "instances": features[:1].tolist()}
    times = []
    with httpx.Client(base_url=url, timeout=30) as http:
        for _ in range(N_LATENCIES + 5):
            start = time.perf_counter()
            answer = http.post("/jobs", json=job).raise_for_status()
            done = http.get(answer.headers["Location"], headers={"Prefer": "wait=20"}).raise_for_status().json()
            version = done["result"]["version"]
            prediction = http.post("/predict", json={**one_row, "version": version}).raise_for_status().json()
            times.append(time.perf_counter() - start)
            time.sleep(0.1)  # wait until the stack is idle: RQ is still cleaning up after the previous job
            assert prediction["version"] == version
    return times[5:]


def drain_rate(redis: Redis, server: EmbeddedServer, folder: Path) -> float:
    """Let one training worker drain small jobs. Returns jobs per second from the first start to the last end."""
    queue = TrainingQueue(redis)
    jobs, blobs = JobStore(redis, queue), BlobStore((folder / "blobs").as_uri())
    spec = training_spec(blobs, max_epochs=10)
    StoreIdentity(blobs).check_blobs(redis)  # before there are jobs, which a worker would take for another store's
    ids = [jobs.submit("or", spec, metadata={}).id for _ in range(N_JOBS)]
    log = folder / "worker.log"
    with process(WORKER_COMMAND, log, REDIS_URL=server.url, DATA_DIR=str(folder)):
        deadline = time.monotonic() + 120
        while any(redis.zcard(keys.jobs_with_status(status)) for status in ("queued", "running")):
            if time.monotonic() > deadline:
                raise TimeoutError(log.read_text())
            time.sleep(0.01)
    records = [jobs.get(job_id) for job_id in ids]
    assert all(record.status == "succeeded" for record in records)
    started = min(record.started_at_ms or 0 for record in records)
    ended = max(record.finished_at_ms or 0 for record in records)
    return N_JOBS / (ended - started) * 1000


def rq_rate(redis: Redis, server: EmbeddedServer, folder: Path) -> float:
    """Let RQ's fork worker with its default settings drain jobs that do nothing."""
    queue = Queue("baseline", connection=redis)
    jobs = [queue.enqueue("time.time") for _ in range(N_JOBS)]
    command = (sys.executable, "-m", "rq.cli", "worker", "baseline", "--url", server.url, "--burst")
    with process(command, folder / "rq.log") as worker:
        worker.wait(120)
    for job in jobs:
        job.refresh()
        assert job.is_finished, (folder / "rq.log").read_text()
    started, ended = min(job.started_at for job in jobs), max(job.ended_at for job in jobs)
    return N_JOBS / (ended - started).total_seconds()


def j1(folder: Path) -> Row:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer(folder))
        settings = {"REDIS_URL": server.url, "DATA_DIR": str(folder), "PORT": str(port), "API_PROCESSES": "1"}
        stack.enter_context(process(API_COMMAND, folder / "api.log", **settings))
        stack.enter_context(process(WORKER_COMMAND, folder / "worker.log", **settings))
        wait_for(WORKER_READY_LINE, folder / "worker.log")
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            with suppress(httpx.TransportError):
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            time.sleep(0.05)
        times = latencies(url)
    goal = 0.080
    ratios = [goal / time for time in times]
    what = "POST /jobs (569 x 30, 100 epochs) to /predict with the new version, p50 against 80 ms"
    return Row("J1", what, shown(times), "80 ms", goal / median(times), min(ratios), max(ratios), 1.0)


def j2(folder: Path) -> Row:
    ours, bare = [], []
    for k in range(N_ROUNDS):
        with EmbeddedServer(folder / str(k)) as server:
            redis = Redis.from_url(server.url)
            ours.append(drain_rate(redis, server, folder / str(k)))
            bare.append(rq_rate(redis, server, folder / str(k)))
    what = f"{N_JOBS} small jobs drained by one worker vs a bare RQ fork worker's no-ops, appendfsync always"
    return row("J2", what, ours, bare, 0.8, unit="jobs/s")


def main() -> None:
    rows = []
    for benchmark in (j1, j2):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(benchmark(Path(folder)))
        print(f"{rows[-1].target} {rows[-1].what}: {rows[-1].ratio:.3g} (goal {rows[-1].goal:g})", file=sys.stderr)
    report("jobs", "Jobs", rows, machine("numpy", "rq", "redis", "gunicorn", "uvicorn"))


if __name__ == "__main__":
    main()
