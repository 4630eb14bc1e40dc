"""The servers that `serving` compares, and the models in them."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from redis import Redis

from benchmarks._contestants import (
    FASTAPI,
    MLSERVER,
    ROOT,
    environment,
    free_port,
    load,
    script,
    server,
)
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


class WithKeys(NamedTuple):
    """An API that asks for access keys."""

    url: str
    pid: int
    key: str
    """One that may predict."""
    access: AccessKeyStore


class Stage:
    """The servers of the run, each started when a row first needs it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder
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
        self,
        redis_url: str = "",
        folder: Path | None = None,
        n_processes: int = 1,
        app: str = "service.asgi:app",
        **settings: str,
    ) -> tuple[str, int]:
        """Start the API as it is shipped, or another app in its place; return its address and the pid of its worker."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [PYTHON, "-m", "gunicorn", "--config", "python:service.server.gunicorn_config", app]
        env = {
            "REDIS_URL": redis_url or self.redis_server.url,
            "DATA_DIR": str(folder or self.folder),
            "PORT": str(port),
            "API_PROCESSES": str(n_processes),
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        process = self._stack.enter_context(server(command, self.folder, f"{url}/readyz", env))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return url, int(children.read_text().split()[0])

    def start_ours_with_keys(self, n_processes: int = 1, **settings: str) -> "WithKeys":
        """Start the API on a Redis of its own with 100 access keys."""
        folder = self.folder / f"keys-{n_processes}"
        redis_url = self._stack.enter_context(EmbeddedServer(folder / "redis")).url
        redis = connect(redis_url, timeout_s=30, n_retries=1)
        StoreIdentity(BlobStore((folder / "blobs").as_uri())).check_blobs(redis)
        store(redis, ["churn"], alias="production")
        access = AccessKeyStore(redis)
        for _ in range(99):
            access.create(["read"])
        key = access.create(["predict"])[1]
        return WithKeys(*self.start_ours(redis_url, folder, n_processes, **settings), key, access)

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
        folder = self.folder / "mlserver"
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
            self._stack.enter_context(server(command, self.folder, url + ready, env))
            self._urls[name] = url
        return self._urls[name]

    def rate(self, url: str, body: dict[str, object] | None, *, duration_s: int = 2) -> Callable[[], float]:
        lua = None if body is None else script(self.folder, [orjson.dumps(body)])
        return lambda: load(url, lua, duration_s=duration_s)[0]


def cpu_per_request(url: str, pid: int, lua: Path, *, duration_s: int = 2) -> float:
    """Return the CPU time in seconds that a process takes for a predict, under as many as it answers."""
    before_s = cpu_s(pid)
    rate = load(f"{url}/predict", lua, duration_s=duration_s)[0]
    return (cpu_s(pid) - before_s) / (duration_s * rate)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, in user mode and in the kernel."""
    fields_after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields_after_name[11]) + int(fields_after_name[12])) / os.sysconf("SC_CLK_TCK")
