"""The real processes of the service, for tests that kill them: Redis, the API and workers."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from standalone import EmbeddedServer
from standalone.stack import API_COMMAND, WORKER_COMMAND, WORKER_READY_LINE
from storage.blobs import BlobStore
from storage.connection import connect
from storage.identity import StoreIdentity
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from tests.free_port import free_port

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[bytes]


def wait_for(what: Callable[[], object], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s"
        time.sleep(0.02)


@contextmanager
def repeated(action: Callable[[], object], every_s: float) -> Iterator[None]:
    """Do something again and again, in a thread."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(every_s):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def children_of(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def memory_mb(pid: int, what: str = "VmRSS") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) // 1024


def send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def answers(http: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return http.get("/livez").is_success
    return False


class Rig:
    """A Redis of its own, workers, and an API of some processes, or none for tests that need no HTTP.

    All files lie in `folder`; logs are `<name>.log`. A killed process stays away until `tend` starts it again.

    Args:
        acl: what the service may do in Redis, as rules of ACL SETUSER; it then has a user of its own.
        login: `user:password@` for REDIS_URL.
        server: instead of an embedded server in `folder`; then REDIS_URL is among the settings if it is not its url.
    """

    def __init__(
        self,
        folder: Path,
        *,
        n_workers: int,
        api_processes: int = 2,
        acl: Sequence[str] = (),
        login: str = "",
        server: EmbeddedServer | None = None,
        **settings: str,
    ) -> None:
        self.folder = folder
        self.server = server or EmbeddedServer(folder)
        self._n_workers = n_workers
        self._has_api = api_processes > 0
        self._acl = acl
        self._login = login
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.settings = {"DATA_DIR": str(folder), "API_PROCESSES": str(api_processes), **settings}
        self.workers: list[Process] = []
        self.api: Process | None = None
        self.replicas: list[Process] = []
        """more of the API, on ports of their own"""
        self.n_started = 0
        """workers, over all time"""

    def start(self) -> "Rig":
        self.server.start()
        self.redis = connect(self.server.url, timeout_s=5, n_retries=20)
        self.queue = TrainingQueue(self.redis)
        self.jobs, self.models = JobStore(self.redis, self.queue), ModelStore(self.redis)
        self.blobs = BlobStore((self.folder / "blobs").as_uri())
        if "BLOB_URL" not in self.settings:
            StoreIdentity(self.blobs).check_blobs(self.redis)  # as the API does before the first job
        if self._acl:
            self.redis.execute_command("ACL", "SETUSER", "service", "on", ">secret", *self._acl)
            self._login = "service:secret@"
        redis_url = self.server.url.replace("://", f"://{self._login}")
        self.settings = {"REDIS_URL": redis_url, "PORT": str(self.port), **self.settings}
        self.tend()
        if self._has_api:
            wait_for(self.is_ready)
        return self

    def is_ready(self) -> bool:
        """Ask on several connections: each may reach another process, and each process answers for itself."""
        with suppress(httpx.TransportError):
            return all(httpx.get(f"{self.url}/readyz").status_code == 200 for _ in range(6))
        return False

    def tend(self) -> None:
        """Start whatever does not run, as a supervisor would."""
        if self._has_api and (self.api is None or self.api.poll() is not None):
            self.api = self._start(API_COMMAND, "api")
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < self._n_workers:
            self.start_worker()

    def start_worker(self, *, is_awaited: bool = False, **settings: str) -> Process:
        log = self.folder / f"worker-{self.n_started}.log"
        worker = self._start(WORKER_COMMAND, log.stem, **settings)
        self.n_started += 1
        self.workers.append(worker)
        if is_awaited:
            wait_for(lambda: WORKER_READY_LINE in log.read_text())
        return worker

    def start_replica(self, port: int, **settings: str) -> Process:
        """Start another process of the API, which nobody tends."""
        self.replicas.append(self._start(API_COMMAND, f"api-{port}", PORT=str(port), **settings))
        return self.replicas[-1]

    @contextmanager
    def other_api(self, **settings: str) -> Iterator[httpx.Client]:
        """Another API with other settings."""
        port = free_port()
        process = self.start_replica(port, API_PROCESSES="1", **settings)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            try:
                wait_for(lambda: answers(http))
                yield http
            finally:
                process.terminate()
                process.wait(30)

    def _start(self, command: tuple[str, ...], name: str, **settings: str) -> Process:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **self.settings, **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_worker(self, worker: Process, *, with_child: bool = True) -> None:
        """Kill -9 the worker, and the child that trains for it."""
        children = children_of(worker.pid)
        send(worker.pid, signal.SIGKILL)
        if with_child:
            for child in children:
                send(child, signal.SIGKILL)
        worker.wait()

    def kill_redis(self, down_s: float = 0.0) -> None:
        """Kill -9 the server, and start it again after some time."""
        self.server.kill()
        time.sleep(down_s)
        self.server.start()

    def kill_all(self) -> None:
        """Kill -9 every process, as a power cut would."""
        for worker in self.workers:
            self.kill_worker(worker)
        if self.api is not None:
            for pid in (*children_of(self.api.pid), self.api.pid):
                send(pid, signal.SIGKILL)
            self.api.wait()
        self.server.kill()

    def stop(self) -> None:
        started = (*self.workers, *self.replicas, self.api)
        running = [process for process in started if process is not None and process.poll() is None]
        for process in running:
            send(process.pid, signal.SIGCONT)
            process.terminate()
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            for pid in (*children_of(process.pid), process.pid):
                send(pid, signal.SIGKILL)
        self.server.stop()


@contextmanager
def running_rig(folder: Path, **options: Any) -> Iterator[Rig]:
    rig = Rig(folder, **options)
    try:
        yield rig.start()
    finally:
        rig.stop()
