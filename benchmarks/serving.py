"""Predict compared with Flask, FastAPI and MLServer: the targets S1 to S7 in one table.

Run it as `./run bench serving [S1 S3 ...]`. Every server is one process on the first core, ours as it is shipped
(`service.server.gunicorn_config`). The load comes from the second core. The contestants of a row take turns.
FastAPI and MLServer are installed into their own environments under benchmarks/.environments on the first use.
"""

import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import orjson
import simdjson
from numpy.typing import NDArray
from redis import Redis

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._contestants import (
    FASTAPI,
    MLSERVER,
    ROOT,
    Missing,
    environment,
    free_port,
    installed,
    load,
    require_wrk,
    script,
    server,
)
from benchmarks._table import Row, machine, report, rounds, row
from perceptron import Layer, Network, NetworkConfig, Task, TrainingConfig
from standalone import EmbeddedServer
from storage import keys
from storage.access.store import AccessKeyStore
from storage.blobs import BlobStore
from storage.codec import encode_model
from storage.connection import connect
from storage.identity import StoreIdentity
from storage.jobs.description import DESCRIPTION, Description, Digests
from storage.jobs.reports import Outcome
from tests.builders import RESULT

N_FEATURES = 30
N_MODELS = 10_000
N_ROUNDS = 5
PYTHON = sys.executable

rng = np.random.default_rng(0)
WEIGHTS, BIAS = rng.normal(size=(N_FEATURES, 1)), 0.25
ONE_ROW = rng.normal(size=(1, N_FEATURES)).tolist()
MANY_ROWS = rng.normal(size=(10_000, N_FEATURES))
BENCH_MODEL = {"BENCH_MODEL": json.dumps({"weights": WEIGHTS.tolist(), "bias": BIAS}), "PYTHONPATH": str(ROOT)}


def store(redis: Redis, names: list[str], *, alias: str) -> None:
    """Write models as `JobStore.publish` does, many at once."""
    description = Description(
        **{field.name: getattr(RESULT, field.name) for field in fields(Outcome)},
        job="job_benchmark",
        task=Task("binary_classification", (0, 1), "sigmoid", "mean_squared_error", 1),
        network=NetworkConfig("sigmoid"),
        feature_names=tuple(f"x{k}" for k in range(N_FEATURES)),
        training=TrainingConfig(),
        validation=None,
        start_from=None,
        n_instances=1,
        n_threads=1,
        digests=Digests(weights="", data=""),
    )
    for first in range(0, len(names), 500):
        with redis.pipeline() as transaction:
            for number, name in enumerate(names[first : first + 500], first):
                weights = encode_model(
                    Network((Layer(WEIGHTS * (1 + number / 1e6), np.array([BIAS]), "sigmoid"),)), None
                )
                digests = Digests(weights=hashlib.sha256(weights).hexdigest(), data="")
                text = DESCRIPTION.dump_json(replace(description, digests=digests))
                transaction.hset(
                    keys.version(name, 1), mapping={"weights": weights, "description": text, "created_at_ms": 0}
                )
                transaction.zadd(keys.models(), {name: 0})
                transaction.zadd(keys.versions(name), {"1": 1})
                transaction.hset(keys.aliases(name), alias, 1)
            transaction.execute()


class Stage:
    """The servers of the run, each started when a row first needs it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self._urls: dict[str, str] = {}
        self.redis_server = stack.enter_context(EmbeddedServer(folder / "redis"))
        self.redis = connect(self.redis_server.url, timeout_s=30, n_retries=1)
        blobs = BlobStore((folder / "blobs").as_uri())
        StoreIdentity(blobs).check_blobs(self.redis)  # before there are models, which an API would take for another's
        store(self.redis, ["churn"], alias="production")
        self.notes: list[str] = []

    def ours(self) -> str:
        if "ours" not in self._urls:
            self._urls["ours"], _ = self.start_ours()
        return self._urls["ours"]

    def start_ours(
        self, redis_url: str = "", folder: Path | None = None, n_processes: int = 1, app: str = "service.asgi:app"
    ) -> tuple[str, int]:
        """Start the API as it is shipped, or another app in its place; return its address and the pid of its worker."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [PYTHON, "-m", "gunicorn", "--config", "python:service.server.gunicorn_config", app]
        env = {
            "REDIS_URL": redis_url or self.redis_server.url,
            "DATA_DIR": str(folder or self._folder),
            "PORT": str(port),
            "API_PROCESSES": str(n_processes),
            "PYTHONPATH": str(ROOT),
        }
        process = self._stack.enter_context(server(command, self._folder, f"{url}/readyz", env))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return url, int(children.read_text().split()[0])

    def start_ours_with_keys(self, n_processes: int = 1) -> tuple[str, int, str, AccessKeyStore]:
        """Start the API on a Redis with 100 access keys; return address, pid, a key that predicts, and the keys."""
        folder = self._folder / f"keys-{n_processes}"
        url = self._stack.enter_context(EmbeddedServer(folder / "redis")).url
        redis = connect(url, timeout_s=30, n_retries=1)
        StoreIdentity(BlobStore((folder / "blobs").as_uri())).check_blobs(redis)
        store(redis, ["churn"], alias="production")
        access = AccessKeyStore(redis)
        for _ in range(99):
            access.create(["read"])
        return *self.start_ours(url, folder, n_processes), access.create(["predict"])[1], access

    def flask(self) -> str:
        port = free_port()
        command = [PYTHON, "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "4"]
        command += ["--keep-alive", "75", "--no-control-socket", "benchmarks._flask_app:app"]
        return self._once("flask", command, port, "/hello")

    def fastapi(self) -> str:
        port = free_port()
        python = environment("fastapi", FASTAPI)
        command = [str(python), "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        command += ["--port", str(port), "benchmarks._fastapi_app:app"]
        return self._once("fastapi", command, port, "/openapi.json")

    def mlserver(self) -> str:
        port = free_port()
        python = environment("mlserver", MLSERVER)
        folder = self._folder / "mlserver"
        folder.mkdir(exist_ok=True)
        shutil.copy(Path(__file__).with_name("_mlserver_model.py"), folder / "bench_model.py")
        settings = {
            "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0,
            "debug": False,
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        of_model = {"name": "churn", "implementation": "bench_model.Perceptron"}
        (folder / "model-settings.json").write_text(json.dumps(of_model))
        command = [str(python.with_name("mlserver")), "start", str(folder)]
        env = {**BENCH_MODEL, "PYTHONPATH": str(folder)}
        return self._once("mlserver", command, port, "/v2/models/churn/ready", env)

    def _once(self, name: str, command: list[str], port: int, ready: str, env: dict[str, str] = BENCH_MODEL) -> str:
        if name not in self._urls:
            url = f"http://127.0.0.1:{port}"
            self._stack.enter_context(server(command, self._folder, url + ready, env))
            self._urls[name] = url
        return self._urls[name]

    def rate(self, url: str, body: dict[str, object] | None, *, duration_s: int = 2) -> Callable[[], float]:
        lua = None if body is None else script(self._folder, [orjson.dumps(body)])
        return lambda: load(url, lua, duration_s=duration_s)[0]


def s1_and_s2(stage: Stage) -> Iterator[Row]:
    request: dict[str, object] = {"model": "churn", "instances": ONE_ROW}
    contestants = {
        "ours": stage.rate(f"{stage.ours()}/predict", request),
        "Flask jsonify hello, gthread": stage.rate(f"{stage.flask()}/hello", None),
        "the simple route, gthread": stage.rate(f"{stage.flask()}/predict", request),
    }
    for name, url_of, path, body in (
        ("FastAPI + uvicorn", stage.fastapi, "/predict", request),
        (
            "MLServer",
            stage.mlserver,
            "/v2/models/churn/infer",
            {"inputs": [{"name": "x", "shape": [1, N_FEATURES], "datatype": "FP64", "data": ONE_ROW[0]}]},
        ),
    ):
        try:
            contestants[name] = stage.rate(f"{url_of()}{path}", body)
        except Missing as error:
            stage.notes.append(str(error))
            print(error, file=sys.stderr)
    figures = rounds(contestants, N_ROUNDS)
    goals = {
        "Flask jsonify hello, gthread": ("S1", 6.0),
        "the simple route, gthread": ("S1", 6.0),
        "FastAPI + uvicorn": ("S2", 4.5),
        "MLServer": ("S2", 12.0),
    }
    for name, (target, goal) in goals.items():
        if name in figures:
            yield row(target, f"1 row vs {name}", figures["ours"], figures[name], goal, unit="requests/s")


def seconds_of(url: str, body: bytes, headers: dict[str, str]) -> Callable[[], float]:
    """Time one large request at a time over a kept connection, from its first byte to the last byte of the answer."""
    authority, _, path = url.removeprefix("http://").partition("/")
    host, port = authority.split(":")
    head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def once(connection: socket.socket) -> float:
        start = time.perf_counter()
        connection.sendall(request)
        answer = connection.recv(1 << 20)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1 << 20)
        head_end = answer.index(b"\r\n\r\n") + 4
        length = int(answer[:head_end].lower().split(b"content-length:")[1].split()[0])
        n_left = head_end + length - len(answer)
        while n_left > 0:
            n_left -= len(connection.recv(1 << 20))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
        return time.perf_counter() - start

    def run() -> float:
        with socket.create_connection((host, int(port))) as connection:
            return median(once(connection) for _ in range(7))

    return run


def in_binary(values: NDArray[Any], datatype: str) -> tuple[bytes, dict[str, str]]:
    """Make the body and headers of an infer request as Triton's client sends them by default: binary in and out."""
    size = {"binary_data_size": values.nbytes}
    given = {"name": "input", "shape": values.shape, "datatype": datatype, "parameters": size}
    header = orjson.dumps({"inputs": [given], "parameters": {"binary_data_output": True}})
    return header + values.tobytes(), {"Inference-Header-Content-Length": str(len(header))}


def seconds_of_simdjson(body: bytes) -> Callable[[], float]:
    """Time simdjson alone: from the bytes of a request to its numbers, not even checked for their nesting."""
    parser = simdjson.Parser()

    def once() -> float:
        start = time.perf_counter()
        numbers = np.frombuffer(parser.parse(body)["instances"].as_buffer(of_type="d"))
        assert numbers.size == MANY_ROWS.size
        return time.perf_counter() - start

    return lambda: median(once() for _ in range(7))


def s3_and_s4(stage: Stage) -> Iterator[Row]:
    as_json = orjson.dumps({"model": "churn", "instances": MANY_ROWS}, option=orjson.OPT_SERIALIZE_NUMPY)
    of_json = {"Content-Type": "application/json"}
    ours, simple = f"{stage.ours()}/predict", f"{stage.flask()}/predict"
    contestants = {
        "ours": seconds_of(ours, as_json, of_json),
        "the simple route": seconds_of(simple, as_json, of_json),
        "simdjson alone": seconds_of_simdjson(as_json),
    }
    infer = f"{stage.ours()}/v2/models/churn/infer"
    for datatype, dtype in (("FP32", "<f4"), ("FP64", "<f8")):
        contestants[datatype] = seconds_of(infer, *in_binary(MANY_ROWS.astype(dtype), datatype))
    figures = rounds(contestants, N_ROUNDS)
    for datatype, goal in (("FP32", 100), ("FP64", 75)):
        what = f"10,000 x 30 as a binary tensor of {datatype} vs the simple route in JSON"
        yield row("S4", what, figures[datatype], figures["the simple route"], goal)
    yield row("S3", "10,000 x 30 as JSON vs the simple route", figures["ours"], figures["the simple route"], 10)
    what = "the same vs simdjson alone, without a server: at most 1.6 times its time"
    yield row("S3", what, figures["ours"], figures["simdjson alone"], 1 / 1.6)


def s5(stage: Stage) -> Iterator[Row]:
    url, request = f"{stage.ours()}/predict", {"model": "churn", "instances": ONE_ROW}
    figures = rounds(
        {
            "version": stage.rate(url, {**request, "version": 1}, duration_s=1),
            "latest": stage.rate(url, request, duration_s=1),
            "alias": stage.rate(url, {**request, "alias": "production"}, duration_s=1),
        },
        3 * N_ROUNDS,  # short rounds: the differences are small
    )
    for name in ("latest", "alias"):
        yield row("S5", f"by {name} vs by version", figures[name], figures["version"], 0.95, unit="requests/s")
    yield follow(stage)


def follow(stage: Stage) -> Row:
    """Measure how long after the answer to PUT predictions follow the alias: the worst of 100 moves."""
    times = []
    with httpx.Client(base_url=stage.ours()) as http:
        for k in range(100):
            alias = f"moved-{k}"
            body = {"model": "churn", "instances": ONE_ROW, "alias": alias}
            http.post("/predict", json=body)
            http.put(f"/models/churn/aliases/{alias}", json={"version": 1}).raise_for_status()
            start = time.perf_counter()
            while http.post("/predict", json=body).status_code != 200:
                pass
            times.append(time.perf_counter() - start)
            http.delete(f"/models/churn/aliases/{alias}")
    worst = max(times)
    ratio = 0.05 / worst
    return Row(
        "S5", "a moved alias is followed, worst of 100", f"{worst * 1e3:.3g} ms", "50 ms", ratio, ratio, ratio, 1
    )


def s6(stage: Stage) -> Iterator[Row]:
    names = [f"model-{k:05}" for k in range(N_MODELS)]
    store(stage.redis, names, alias="production")
    url, pid = stage.start_ours()
    bodies = [orjson.dumps({"model": name, "instances": ONE_ROW}) for name in names]
    all_of_them = script(stage._folder, bodies)
    one_of_them = script(stage._folder, bodies[:1] * 2)  # twice, so that wrk cycles through bodies here, too
    with httpx.Client(base_url=url) as http:
        for body in bodies:
            http.post("/predict", content=body, headers={"Content-Type": "application/json"}).raise_for_status()
    figures = rounds(
        {
            "all": lambda: load(f"{url}/predict", all_of_them)[1],
            "one": lambda: load(f"{url}/predict", one_of_them)[1],
        },
        N_ROUNDS,
    )
    status = Path(f"/proc/{pid}/status").read_text()
    resident_mb = int(status.split("VmRSS:")[1].split()[0]) / 1024
    ratio = 300 / resident_mb
    what = "10,000 models of 30 weights: resident memory"
    yield Row("S6", what, f"{resident_mb:.0f} MB", "300 MB", ratio, ratio, ratio, 1)
    yield row("S6", "the same: p99 of all models vs of one", figures["all"], figures["one"], 1 / 1.5)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, in user mode and in the kernel."""
    fields_after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields_after_name[11]) + int(fields_after_name[12])) / os.sysconf("SC_CLK_TCK")


def s7(stage: Stage) -> Iterator[Row]:
    """CPU time, since two servers on one core share what else happens there."""
    body = [orjson.dumps({"model": "churn", "instances": ONE_ROW})]
    open_url, open_pid = stage.start_ours()
    keys_url, keys_pid, key, _ = stage.start_ours_with_keys()

    def per_request(url: str, pid: int, lua: Path, duration_s: int = 3) -> float:
        before_s = cpu_s(pid)
        rate = load(f"{url}/predict", lua, duration_s=duration_s)[0]
        return (cpu_s(pid) - before_s) / (duration_s * rate)

    without, with_key = script(stage._folder, body), script(stage._folder, body, Authorization=f"Bearer {key}")
    figures = rounds(
        {
            "keys": lambda: per_request(keys_url, keys_pid, with_key),
            "open": lambda: per_request(open_url, open_pid, without),
            "ignored": lambda: per_request(open_url, open_pid, with_key),
        },
        N_ROUNDS,
    )
    yield row("S7", "CPU of 1 row with 100 access keys vs without", figures["keys"], figures["open"], 0.96)
    yield row("S7", "the same vs a key that is sent and not asked for", figures["keys"], figures["ignored"], 0.96)
    yield revoke(stage)
    yield counting(stage)


def statuses(connections: Sequence[socket.socket], request: bytes) -> set[bytes]:
    """Send a request over all connections, then read all answers; return their statuses."""
    for connection in connections:
        connection.sendall(request)
    found = set()
    for connection in connections:
        with connection.makefile("rb") as answer:
            found.add(answer.readline().split(b" ")[1])
            head = b"".join(iter(answer.readline, b"\r\n")).lower()
            answer.read(int(head.split(b"content-length:")[1].split()[0]))
    return found


def revoke(stage: Stage) -> Row:
    """Measure how long after a revoke the last of two processes refuses the key: the worst of 20."""
    url, _, _, access = stage.start_ours_with_keys(n_processes=2)
    host, port = url.removeprefix("http://").split(":")
    body = orjson.dumps({"model": "churn", "instances": ONE_ROW})
    times = []
    for _ in range(20):
        key, text = access.create(["predict"])
        head = (
            f"POST /predict HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {text}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        request = head.encode() + body
        with ExitStack() as stack:
            # Enough that each process has some: the system gives them out at random.
            connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(8)]
            assert statuses(connections, request) == {b"200"}, "a new key works at once"
            access.revoke(key.id)
            start = time.perf_counter()
            while statuses(connections, request) != {b"401"}:
                pass
            times.append(time.perf_counter() - start)
    worst = max(times)
    ratio = 0.05 / worst
    what = "a revoked key ends in two processes, worst of 20"
    return Row("S7", what, f"{worst * 1e3:.3g} ms", "50 ms", ratio, ratio, ratio, 1)


def counting(stage: Stage) -> Row:
    """Measure what counting for the metrics costs."""
    request: dict[str, object] = {"model": "churn", "instances": ONE_ROW}
    without, _ = stage.start_ours("benchmarks._without_metrics:app")
    figures = rounds(
        {
            "counted": stage.rate(f"{stage.ours()}/predict", request),
            "not counted": stage.rate(f"{without}/predict", request),
        },
        N_ROUNDS,
    )
    return row("S7", "1 row, counted vs not", figures["counted"], figures["not counted"], 0.95, unit="requests/s")


@contextmanager
def dripping(url: str, n_connections: int) -> Iterator[None]:
    """Send headers and bodies byte by byte over many connections, from the core of the load."""
    host, port = url.removeprefix("http://").split(":")
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n"
    connections = [socket.create_connection((host, int(port))) for _ in range(n_connections)]
    stop = threading.Event()

    def drip() -> None:
        for k, connection in enumerate(connections):
            connection.sendall(head + (b"\r\n{" if k % 2 else b"X-Slow: "))
        while not stop.wait(0.1):
            for connection in connections:
                connection.sendall(b"a")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for connection in connections:
            connection.close()


def r21(stage: Stage) -> Iterator[Row]:
    url = stage.ours()
    lua = script(stage._folder, [orjson.dumps({"model": "churn", "instances": ONE_ROW})])

    def p99() -> float:
        return load(f"{url}/predict", lua, connections=8)[1]

    def p99_among_slow_clients() -> float:
        with dripping(url, 50):
            return p99()

    figures = rounds({"among": p99_among_slow_clients, "alone": p99}, N_ROUNDS)
    yield row("R21", "p99 beside 50 clients that drip vs without", figures["among"], figures["alone"], 0.5)


BENCHMARKS = {"S1": s1_and_s2, "S3": s3_and_s4, "S5": s5, "S6": s6, "S7": s7, "R21": r21}


def main(chosen: list[str]) -> None:
    if unknown := set(chosen) - set(BENCHMARKS):
        sys.exit(f"expected some of {', '.join(BENCHMARKS)} (S2 is part of S1, S4 of S3), got {', '.join(unknown)}")
    require_wrk()
    rows: list[Row] = []
    about = machine("numpy", "gunicorn", "uvicorn", "uvloop", "flask", "orjson", "msgspec", "pysimdjson")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stage = Stage(stack, Path(folder))
        for name in chosen or BENCHMARKS:
            for new in BENCHMARKS[name](stage):
                rows.append(new)
                print(f"{new.target} {new.what}: {new.ratio:.3g} (goal {new.goal:g})", file=sys.stderr, flush=True)
        for name, packages in {"fastapi": ("fastapi", "uvicorn", "pydantic"), "mlserver": ("mlserver",)}.items():
            if name in stage._urls:
                others = installed(environment(name, ()), *packages)
                about |= {f"{package} (of {name})": version for package, version in others.items()}
        about |= {f"note {k}": note for k, note in enumerate(stage.notes, 1)}
    report("serving", "Serving", rows, about)


if __name__ == "__main__":
    main(sys.argv[1:])
