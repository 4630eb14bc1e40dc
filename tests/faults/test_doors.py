"""What comes in and goes out: a log that nobody reads, heads without end, answers nobody reads, very large requests.

Short forms of R32, R33 and R34. On commit 15a4f66 each of these tests fails; its docstring says how.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest

from tests.faults.rig import ROOT, children_of, send, wait_for
from tests.free_port import free_port

OR = {"model": "or", "data": {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}}


class Unread:
    """`perceptron up` whose log goes into a pipe of 4 KiB that nobody reads once the service is ready."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self.reader, False)
        command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data-dir", str(folder)]
        with (folder / "stdout").open("wb") as stdout:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=writer, start_new_session=True)
        os.close(writer)
        wait_for(self._is_ready, 60)

    def _is_ready(self) -> bool:
        self.read()
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/readyz").status_code == 200
        return False

    def read(self) -> bytes:
        with suppress(BlockingIOError):
            return os.read(self.reader, 65_536)
        return b""

    def fill(self) -> None:
        """Let the API log until the pipe is full: each request that is no HTTP is a line."""
        host, port = self.url.removeprefix("http://").split(":")
        for _ in range(200):
            with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
                connection.sendall(b"\x00bad\r\n\r\n")
                assert connection.recv(100)

    def end(self) -> None:
        pids = [self.process.pid]
        for pid in pids:
            pids += children_of(pid)
        for pid in reversed(pids):
            send(pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.reader)


@pytest.fixture
def unread(tmp_path: Path) -> Iterator[Unread]:
    unread = Unread(tmp_path)
    yield unread
    unread.end()


def test_a_log_that_nobody_reads_holds_nobody_up(unread: Unread, times: int) -> None:
    """R32; `--times 6` is the long form: a minute. On 15a4f66 the API answered nothing any more, nor did SIGTERM help.

    The pipe is full all the time, so each line that a process writes would block it.
    """
    unread.fill()
    deadline = time.monotonic() + 10 * times
    n_jobs = 0
    while time.monotonic() < deadline or n_jobs == 0:
        job = httpx.post(f"{unread.url}/jobs", json=OR).json()
        answer = httpx.get(f"{unread.url}/jobs/{job['id']}", headers={"Prefer": "wait=20"}, timeout=30).json()
        assert answer["status"] == "succeeded", answer
        assert httpx.post(f"{unread.url}/predict", json={"model": "or", "instances": [[0, 1]]}).status_code == 200
        unread.fill()
        n_jobs += 1
    started = time.monotonic()
    unread.process.terminate()
    assert unread.process.wait(25) == 0
    assert time.monotonic() - started < 25


def test_a_log_that_is_read_again_says_what_was_lost(unread: Unread) -> None:
    unread.fill()
    assert unread.read()
    unread.fill()
    assert b"pieces of the log were lost, because nobody read it" in unread.read()
