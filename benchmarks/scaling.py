"""What one API process, one training worker and one Redis carry, and take while idle: the figures of docs/scaling.md.

Run it as `./run bench scaling`. The API is one process on the first core, the load comes from the second core. The
training worker, the API that takes its jobs, and Redis share both cores. Redis writes every change to disk before it
answers, as `perceptron up` runs it.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import orjson
from redis import Redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._contestants import load, require_wrk, script
from benchmarks._stage import MANY_ROWS, Stage, cpu_s
from benchmarks._table import machine, report_figures
from storage import keys
from tests.faults.nginx import running_nginx
from tests.faults.rig import Rig, children_of, running_rig
from tests.free_port import free_port

N_ROUNDS = 3
N_JOBS = 200
IDLE_S = 10
OR = {
    "model": "or",
    "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]},
    "training": {"max_epochs": 10},
}

Figures = Iterator[tuple[str, str]]
"""What was measured, and the result."""


def redis_cpu_s(redis: Redis) -> float:
    info: dict[str, Any] = redis.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def predictions(stage: Stage) -> Figures:
    url, pid = stage.start_ours()
    memory_mb = int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    yield "an API process after its start: resident memory", f"{memory_mb:.0f} MB"
    n_clients = len(stage.redis.client_list())
    yield "connections to Redis of an idle API process", f"{n_clients - 1}"
    yield from idle("API process", stage.redis, lambda: cpu_s(pid))

    def under_load(lua: Path, connections: int = 32) -> tuple[float, float, float]:
        """Return requests a second, p99 in seconds, and the CPU seconds of the API for a request."""
        rates, tails, costs = [], [], []
        for _ in range(N_ROUNDS):
            before_s = cpu_s(pid)
            rate, p99 = load(f"{url}/predict", lua, connections=connections)
            rates.append(rate)
            tails.append(p99)
            costs.append((cpu_s(pid) - before_s) / (2 * rate))
        return median(rates), median(tails), median(costs)

    one_row = stage_script(stage, 1)
    for n_rows in (1, 10, 100, 1000):
        rate, p99, cost = under_load(stage_script(stage, n_rows))
        what = f"predict, {n_rows} x 30 as JSON, 32 connections"
        yield what, f"{rate:,.0f} requests/s, {rate * n_rows:,.0f} rows/s, p99 {p99 * 1e3:.1f} ms, {cost * 1e6:.0f} us"
    for n_connections in (1, 256):
        rate, p99, cost = under_load(one_row, n_connections)
        what = f"predict, 1 x 30, {n_connections} connection{'s' * (n_connections > 1)}"
        yield what, f"{rate:,.0f} requests/s, p99 {p99 * 1e3:.1f} ms, {cost * 1e6:.0f} us"
    rate, p99, cost = under_load(stage_script(stage, 1, Connection="close"))
    yield "predict, 1 x 30, a new connection for each", f"{rate:,.0f} requests/s, {cost * 1e6:.0f} us"

    n_commands, before_s = stage.redis.info("stats")["total_commands_processed"], redis_cpu_s(stage.redis)
    rate, _ = load(f"{url}/predict", one_row, duration_s=5)
    n_commands = stage.redis.info("stats")["total_commands_processed"] - n_commands
    cost = redis_cpu_s(stage.redis) - before_s
    yield "the same for 5 s: what Redis did", f"{n_commands} commands for {5 * rate:,.0f} predictions, {cost:.3f} s"
    yield from through_nginx(stage, url, one_row)


def stage_script(stage: Stage, n_rows: int, **headers: str) -> Path:
    body = orjson.dumps({"model": "churn", "instances": MANY_ROWS[:n_rows]}, option=orjson.OPT_SERIALIZE_NUMPY)
    return script(stage.folder, [body], **headers)


def through_nginx(stage: Stage, url: str, lua: Path) -> Figures:
    """Measure what a prediction costs the front."""
    folder = stage.folder / "nginx"
    folder.mkdir()
    before = set(children_of(os.getpid()))
    with running_nginx(folder, int(url.rpartition(":")[2]), free_port()) as port:
        (master,) = (pid for pid in children_of(os.getpid()) if pid not in before and is_nginx(pid))
        workers = children_of(master)
        before_s = sum(map(cpu_s, workers))
        rate, p99 = load(f"http://127.0.0.1:{port}/predict", lua, duration_s=5)
        cost = (sum(map(cpu_s, workers)) - before_s) / (5 * rate)
    yield (
        "nginx in front of it: CPU of nginx for a prediction of 1 row",
        f"{cost * 1e6:.0f} us (p99 {p99 * 1e3:.1f} ms)",
    )


def is_nginx(pid: int) -> bool:
    return "nginx" in Path(f"/proc/{pid}/comm").read_text()


def idle(what: str, redis: Redis, process_s: Callable[[], float]) -> Figures:
    """Measure what a process that has nothing to do takes, of its own core and of that of Redis."""
    time.sleep(3)
    redis_before_s, own_before_s = redis_cpu_s(redis), process_s()
    time.sleep(IDLE_S)
    own, of_redis = process_s() - own_before_s, redis_cpu_s(redis) - redis_before_s
    yield f"an idle {what}: of a core, and of that of Redis", f"{own / IDLE_S:.2%}, {of_redis / IDLE_S:.2%}"


def with_children_s(pid: int) -> float:
    """Return the CPU time of a process with its children, ended ones included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(map(with_children_s, children_of(pid)))


def training(folder: Path) -> Figures:
    with running_rig(folder, n_workers=0, api_processes=1) as rig:
        yield from accepting(rig)
        n_clients = len(rig.redis.client_list())
        for n_workers in (1, 2):
            worker = rig.start_worker(is_awaited=n_workers == 1)
            if n_workers == 1:
                drained(rig)  # what accepting() left
                yield "connections to Redis of an idle worker", f"{len(rig.redis.client_list()) - n_clients}"
                yield from idle("training worker", rig.redis, lambda pid=worker.pid: with_children_s(pid))  # type: ignore[misc]
            yield from training_small_jobs(rig, n_workers)


def submit(rig: Rig, n_jobs: int) -> float:
    """Post jobs from 4 threads; return how long it took."""
    with httpx.Client(base_url=rig.url, timeout=30) as http, ThreadPoolExecutor(4) as threads:
        start = time.perf_counter()
        list(threads.map(lambda _: http.post("/jobs", json=OR).raise_for_status(), range(n_jobs)))
        return time.perf_counter() - start


def accepting(rig: Rig) -> Figures:
    assert rig.api is not None
    submit(rig, 20)
    api_before_s, redis_before_s = with_children_s(rig.api.pid), redis_cpu_s(rig.redis)
    rate = N_JOBS / submit(rig, N_JOBS)
    of_api = (with_children_s(rig.api.pid) - api_before_s) / N_JOBS
    of_redis = (redis_cpu_s(rig.redis) - redis_before_s) / N_JOBS
    what = f"{rate:,.0f}/s; {of_api * 1e3:.2f} ms of the API, {of_redis * 1e3:.2f} ms of Redis each"
    yield "POST /jobs of 4 rows inline, 4 clients, nobody trains", what


def drained(rig: Rig) -> float:
    """Wait until no job is queued or running; return how long that took."""
    start = time.perf_counter()
    while any(rig.redis.zcard(keys.jobs_with_status(status)) for status in ("queued", "running")):
        time.sleep(0.01)
    return time.perf_counter() - start


def training_small_jobs(rig: Rig, n_workers: int) -> Figures:
    for worker in rig.workers:
        os.kill(worker.pid, 0)
    log = rig.redis.info("persistence")["aof_current_size"]
    rates, of_workers, of_redis = [], [], []
    for _ in range(N_ROUNDS):
        workers_before_s = sum(with_children_s(worker.pid) for worker in rig.workers)
        redis_before_s = redis_cpu_s(rig.redis)
        start = time.perf_counter()
        submit(rig, N_JOBS)
        drained(rig)
        rates.append(N_JOBS / (time.perf_counter() - start))
        of_workers.append((sum(with_children_s(worker.pid) for worker in rig.workers) - workers_before_s) / N_JOBS)
        of_redis.append((redis_cpu_s(rig.redis) - redis_before_s) / N_JOBS)
    log = (rig.redis.info("persistence")["aof_current_size"] - log) / (N_ROUNDS * N_JOBS)
    cost = f"{median(of_workers) * 1e3:.1f} ms of the workers, {median(of_redis) * 1e3:.2f} ms of Redis each"
    what = f"jobs of 4 rows and 10 epochs, from POST to the version, {n_workers} worker{'s' * (n_workers > 1)}"
    yield what, f"{median(rates):.0f}/s; {cost}"
    if n_workers == 1:
        job = rig.jobs.get(rig.redis.zrange(keys.jobs_with_status("succeeded"), 0, 0)[0].decode())
        assert job.version is not None
        of_job = rig.redis.memory_usage(keys.job(job.id)) + rig.redis.memory_usage(keys.events(job.id))
        of_version = rig.redis.memory_usage(keys.version("or", job.version))
        yield "memory of Redis for such a job, and for its version", f"{of_job / 1e3:.1f} kB, {of_version / 1e3:.1f} kB"
        yield "its bytes in the append-only log of Redis", f"{log / 1e3:.1f} kB"


def sync(redis: Redis) -> Figures:
    times = []
    for k in range(500):
        start = time.perf_counter()
        redis.set("benchmark", k)
        times.append(time.perf_counter() - start)
    yield "one write to Redis that is on disk", f"{median(times) * 1e6:.0f} us, p99 {sorted(times)[494] * 1e3:.1f} ms"


def main() -> None:
    require_wrk()
    found = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stage = Stage(stack, Path(folder))
        for figures in (predictions(stage), sync(stage.redis), training(Path(folder, "jobs"))):
            for figure in figures:
                found.append(figure)
                print(": ".join(figure), file=sys.stderr, flush=True)
    report_figures("scaling", "Scaling", found, machine("numpy", "gunicorn", "uvicorn", "rq", "redis"))


if __name__ == "__main__":
    main()
