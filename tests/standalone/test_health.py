"""The health check of a container: `python -m cli.health`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.health import WORKER_SILENT_S
from standalone import EmbeddedServer
from tests.free_port import free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def health_file(tmp_path: Path) -> Path:
    return tmp_path / "health"


def check(health_file: Path, *arguments: str) -> tuple[int, str]:
    """Return the exit status of the check, and what it said."""
    env = {"HEALTH_FILE": str(health_file), "PORT": "1"}
    done = subprocess.run([sys.executable, "-m", "cli.health", *arguments], cwd=ROOT, env=env, capture_output=True)
    return done.returncode, done.stderr.decode()


def wait_until(condition: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(
    command: str, server: EmbeddedServer, health_file: Path, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "REDIS_URL": server.url, "DATA_DIR": str(health_file.parent), "HEALTH_FILE": str(health_file)}
    with health_file.with_suffix(".log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", command, *options], cwd=ROOT, env=env, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(30)


def test_the_api_is_checked_on_the_port_that_an_option_names(tmp_path: Path, health_file: Path) -> None:
    with (
        EmbeddedServer(tmp_path) as server,
        running("serve", server, health_file, "--port", str(free_port())) as api,
    ):
        wait_until(lambda: check(health_file, "--ready")[0] == 0)
        server.kill()
        assert check(health_file) == (0, "")
        status, said = check(health_file, "--ready")
        assert status == 1 and "/readyz answered 503" in said
        api.terminate()
        api.wait(30)
        status, said = check(health_file)
        assert status == 1 and "ConnectionRefusedError" in said


@pytest.mark.long
def test_a_worker_shows_signs_of_life_also_while_redis_is_away(tmp_path: Path, health_file: Path) -> None:
    def is_touched_again() -> None:
        before = health_file.stat().st_mtime_ns
        wait_until(lambda: health_file.stat().st_mtime_ns > before)

    with EmbeddedServer(tmp_path) as server, running("worker", server, health_file) as worker:
        wait_until(health_file.exists)
        for _ in range(3):
            is_touched_again()
        server.kill()
        for _ in range(3):
            is_touched_again()
        assert check(health_file) == (0, "")
        worker.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        before = health_file.stat().st_mtime_ns
        time.sleep(4)
        assert health_file.stat().st_mtime_ns == before


def test_a_worker_that_is_silent_for_long_is_not_healthy(health_file: Path) -> None:
    health_file.write_text("")
    assert check(health_file) == (0, "")
    long_ago = time.time() - WORKER_SILENT_S - 1
    os.utime(health_file, (long_ago, long_ago))
    status, said = check(health_file)
    assert status == 1 and said.startswith("the worker gave no sign of life for 12")


def test_a_file_that_is_not_there_is_named(health_file: Path) -> None:
    assert check(health_file) == (1, f"HEALTH_FILE {health_file}: No such file or directory\n")


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "health"
    with EmbeddedServer(tmp_path) as server:
        env = {**os.environ, "REDIS_URL": server.url, "DATA_DIR": str(tmp_path), "HEALTH_FILE": str(nowhere)}
        worker = subprocess.Popen(
            [sys.executable, "-m", "cli", "worker"], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert worker.stdout is not None
        try:
            warning = worker.stdout.readline().decode()
            assert (
                f"HEALTH_FILE {nowhere} cannot be written (No such file or directory): mount a tmpfs there" in warning
            )
            while b"ready for training jobs" not in (line := worker.stdout.readline()):
                assert line
        finally:
            worker.terminate()
            worker.communicate(timeout=30)
