"""The whole service as a user starts it: `perceptron up` on a free port, with real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.free_port import free_port

ROOT = Path(__file__).parents[1]
SETTINGS = ("REDIS_URL", "DATA_DIR", "BLOB_URL", "HOST", "PORT", "API_PROCESSES", "WEB_CONCURRENCY", "WORKERS")


class Stack:
    """A running service, its address and its process tree."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_dir = data_dir
        self._options = options

    def start(self) -> "Stack":
        log = self.data_dir.with_suffix(".log")
        command = [sys.executable, "-m", "cli", "up", "--port", str(self.port), "--data-dir", str(self.data_dir)]
        env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, *self._options], cwd=ROOT, env=env, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while f"Ready at {self.url}" not in log.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        self.http = httpx.Client(base_url=self.url, timeout=30)
        return self

    def tree(self) -> list[int]:
        """The pids of the supervisor and all its descendants."""
        pids = [self.process.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            pids += [int(child) for child in children.read_text().split()] if children.exists() else []
        return pids

    def kill(self) -> None:
        """Kill -9 every process at once, as a power cut would."""
        self.http.close()
        for pid in self.tree():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self.data_dir.with_suffix(".log").write_text("")

    def stop(self) -> int:
        self.http.close()
        self.process.terminate()
        return self.process.wait(30)

    def finished(self, job: dict[str, Any]) -> dict[str, Any]:
        """Poll a job until it is done."""
        deadline = time.monotonic() + 60
        while not job["done"]:
            assert time.monotonic() < deadline, job
            time.sleep(0.02)
            job = self.http.get(f"/jobs/{job['id']}").json()
        return job
