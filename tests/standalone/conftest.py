"""Fixtures that start real processes for the tests of the process tree, and end every one of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Supervises what its argument describes, and ends as the `perceptron` command does.
SUPERVISE = """
import json, sys
from standalone import ChildSpec, StandaloneError, Supervisor, Timing
stages, timing = json.loads(sys.argv[1])
def child(name, code):
    return ChildSpec(name, [sys.executable, "-uc", code], ready_line="ready")
stages = [[child(*spec) for spec in stage] for stage in stages]
try:
    on_ready = lambda: print("all ready", flush=True)
    sys.exit(Supervisor(stages, on_ready=on_ready, timing=Timing(**timing)).run())
except StandaloneError as error:
    sys.exit(f"error: {error}")
"""


class Program:
    """A process that a test started, with everything it printed."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str]) -> None:
        self._paths = {name: folder / f"{name}-{time.monotonic_ns()}" for name in ("stdout", "stderr")}
        with self._paths["stdout"].open("wb") as stdout, self._paths["stderr"].open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=env,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        return self._paths["stdout"].read_text()

    @property
    def stderr(self) -> str:
        return self._paths["stderr"].read_text()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, timeout_s: float = 20.0) -> int:
        return self._process.wait(timeout_s)

    def pids(self, name: str) -> list[int]:
        """Return the pids that a supervised child printed, one for each start."""
        words = [line.split() for line in self.stderr.splitlines() if line.startswith(f"[{name}] pid ")]
        return [int(line[2]) for line in words]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def is_alive(pid: int) -> bool:
    """Whether the process runs. A zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return False
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def wait_until(condition: Callable[[], object], timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a Python process of this checkout: `program("-m", "cli", "up", env={...})`."""
    started: list[Program] = []
    for_all = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATA_DIR", "PORT")}

    def start(*arguments: str, env: dict[str, str] | None = None, python: str = sys.executable) -> Program:
        environment = {**for_all, "PYTHONPATH": str(ROOT), **(env or {})}
        started.append(Program([python, *arguments], tmp_path, environment))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.fixture
def supervise(program: Callable[..., Program]) -> Iterator[Callable[..., Program]]:
    """Supervise stages of (name, Python source): `supervise([("server", "...")], [("api", "...")])`."""
    started: list[Program] = []

    def start(*stages: list[tuple[str, str]], **timing: float) -> Program:
        started.append(program("-c", SUPERVISE, json.dumps([stages, timing])))
        return started[-1]

    yield start
    for (
        one
    ) in started:  # SIGTERM first: without parent-death signals, kill -9 would leave the children of a failed test
        if one._process.poll() is None:
            one.signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                one.wait(5.0)
