"""The API as it is shipped, as a process on a Redis of its own, and no worker."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from standalone import EmbeddedServer
from standalone.stack import API_COMMAND
from storage.connection import connect
from storage.jobs.store import JobStore
from storage.queue import TrainingQueue
from tests.free_port import free_port

ROOT = Path(__file__).parents[1]


@dataclass
class Api:
    """A running API: gunicorn's arbiter is `process`, its one worker serves."""

    url: str
    http: httpx.Client
    jobs: JobStore
    server: EmbeddedServer
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def running_api(folder: Path, **more: str) -> Iterator[Api]:
    port = free_port()
    log = folder / "api.log"
    with EmbeddedServer(folder) as server:
        settings = {"REDIS_URL": server.url, "DATA_DIR": str(folder), "PORT": str(port), "API_PROCESSES": "1", **more}
        with log.open("wb") as output:
            process = subprocess.Popen(
                API_COMMAND, cwd=ROOT, env={**os.environ, **settings}, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        try:
            http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
            deadline = time.monotonic() + 30
            while not _is_ready(http.base_url):
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            redis = connect(server.url, timeout_s=5, n_retries=1)
            yield Api(f"http://127.0.0.1:{port}", http, JobStore(redis, TrainingQueue(redis)), server, process, log)
        finally:
            http.close()
            process.terminate()
            process.wait(30)


def _is_ready(url: httpx.URL) -> bool:
    """Ask over several connections: each may reach another process, and each process answers for itself."""
    with httpx.Client(base_url=url, limits=httpx.Limits(max_keepalive_connections=0)) as http:
        try:
            return all(http.get("/readyz").status_code == 200 for _ in range(6))
        except httpx.TransportError:
            return False
