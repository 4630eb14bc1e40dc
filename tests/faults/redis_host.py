"""A host for Redis whose network, disk and clock a test can make fail, as far as this machine allows it."""

import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self, TypeVar

from redis import RedisError

from standalone import EmbeddedServer
from standalone.disk_guard import REFUSING, DiskGuard
from storage.connection import connect

CLOCK_LIBRARIES = "*/faketime/libfaketime.so.1"

T = TypeVar("T")


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


class Network:
    """A network namespace with its own end of a cable. Needs root.

    Raises:
        OSError: `ip` is not installed.
        CalledProcessError: It is not allowed.
    """

    def __init__(self, on_exit: ExitStack) -> None:
        number = os.getpid() % 50_000  # several test runs share a machine
        self.namespace, self.cable = f"perceptron-{number}", f"perc-{number}"
        ours, theirs = (f"10.{100 + number // 250}.{number % 250}.{end}" for end in (1, 2))
        run("ip", "netns", "add", self.namespace)
        on_exit.callback(run, "ip", "netns", "del", self.namespace)
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        on_exit.callback(run, "ip", "link", "del", self.cable)
        run("ip", "addr", "add", f"{ours}/24", "dev", self.cable)
        run("ip", "link", "set", self.cable, "up")
        run("ip", "-n", self.namespace, "addr", "add", f"{theirs}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            run("ip", "-n", self.namespace, "link", "set", device, "up")
        self.prefix = ("ip", "netns", "exec", self.namespace)
        """Makes a command run on the other host."""
        self.url = f"redis://{theirs}:6379/0"

    def drop(self, *match: str) -> None:
        """Drop packets to Redis: all of them, or those that a rule of iptables matches."""
        run(*self.prefix, "iptables", "-A", "INPUT", "-i", "eth0", *match, "-j", "DROP")

    def lose(self, share: float) -> None:
        """Drop this share of the packets to Redis, at random."""
        self.drop("-m", "statistic", "--mode", "random", "--probability", str(share))

    def slow_down(self) -> None:
        """Let 50 kB a second pass to Redis; packets wait up to 0.4 s."""
        bucket = ("tbf", "rate", "400kbit", "burst", "10kb", "latency", "400ms")
        run("tc", "qdisc", "add", "dev", self.cable, "root", *bucket)

    def heal(self) -> None:
        run(*self.prefix, "iptables", "-F", "INPUT")
        with suppress(subprocess.CalledProcessError):  # it was not slow
            run("tc", "qdisc", "del", "dev", self.cable, "root")


class Disk:
    """A small file system. Needs root.

    Raises:
        OSError: `mount` is not installed.
        CalledProcessError: It is not allowed.
    """

    def __init__(self, path: Path, n_mb: int, on_exit: ExitStack) -> None:
        path.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={n_mb}m", "tmpfs", path)
        on_exit.callback(run, "umount", "--lazy", path)
        self.path = path

    def fill(self) -> None:
        """Fill it to the last byte."""
        for size in (1_000_000, 512, 1):
            with (self.path / f"ballast.{size}").open("wb", buffering=0) as file, suppress(OSError):
                while file.write(b"x" * size):
                    pass

    def make_room(self) -> None:
        for ballast in self.path.glob("ballast.*"):
            ballast.unlink()


class Clock:
    """A clock that can be set, for the processes whose command begins with `prefix`.

    Raises:
        FileNotFoundError: libfaketime is not installed.
    """

    def __init__(self, file: Path) -> None:
        libraries = [*Path("/usr/lib").glob(CLOCK_LIBRARIES)]
        if not libraries:
            raise FileNotFoundError("libfaketime is not installed")
        self._file = file
        self.prefix = (
            "env",
            f"LD_PRELOAD={libraries[0]}",
            f"FAKETIME_TIMESTAMP_FILE={file}",
            "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        self.set("+0")

    def set(self, offset: str) -> None:
        """Set the clock to the right time and this: `-1h`. It takes a second to be seen."""
        new = self._file.with_suffix(".new")
        new.write_text(offset)
        new.rename(self._file)


class RedisHost(EmbeddedServer):
    """The embedded server as the supervisor runs it, on such a host. Its `url` is reached while the network is cut.

    Args:
        folder: the blobs lie on the same disk.
        on_exit: gives the network and the disk back; the server must have ended.
    """

    def __init__(self, folder: Path, on_exit: ExitStack) -> None:
        super().__init__(folder)
        self.left_out: list[str] = []
        """What this machine cannot do, and why."""
        self.network = self._if_possible("its own network for Redis", lambda: Network(on_exit))
        self.disk = self._if_possible("a small disk", lambda: Disk(folder / "disk", 1000, on_exit))
        self.clock = self._if_possible("a clock that is set", lambda: Clock(folder / "clock"))
        self._guard: DiskGuard | None = None
        if self.disk is not None:
            for name in ("redis", "blobs"):
                (self.disk.path / name).mkdir()
                (folder / name).symlink_to(self.disk.path / name)

    def _if_possible(self, what: str, make: Callable[[], T]) -> T | None:
        try:
            return make()
        except (OSError, subprocess.CalledProcessError) as error:
            self.left_out.append(f"{what} ({(getattr(error, 'stderr', None) or str(error)).strip()})")
            return None

    @property
    def command(self) -> list[str]:
        prefix = [word for part in (self.network, self.clock) if part is not None for word in part.prefix]
        options = {} if self.network is None else {"port": "6379", "protected-mode": "no"}
        options |= {} if self.disk is None else REFUSING
        return [*prefix, *super().command, *(word for name in options for word in (f"--{name}", options[name]))]

    def prepare(self) -> None:
        """Prepare once, as the supervisor does: the lock file cannot be written on a full disk."""
        if self._runtime_dir is None:
            super().prepare()

    def start(self, timeout_s: float = 30.0) -> Self:
        super().start(timeout_s)
        if self.disk is not None and self._guard is None:
            self._guard = DiskGuard(self.directory, connect(self.url, timeout_s=1.0, n_retries=0))
            self._guard.tend()
            self._guard.start()
        return self

    def kill(self) -> None:
        pid = None if self._process is None else self._process.pid
        super().kill()
        for left_behind in Path("/dev/shm").glob(f"*faketime_*_{pid}"):
            left_behind.unlink()

    def stop(self, timeout_s: float = 10.0) -> None:
        if self._guard is not None:
            self._guard.stop()
        super().stop(timeout_s)

    def fill(self) -> None:
        """Let the disk be full; without a small disk, the memory."""
        if self.disk is not None:
            self.disk.fill()
        else:
            self._set_memory_limit("1")

    def make_room(self) -> None:
        if self.disk is not None:
            self.disk.make_room()
        else:
            self._set_memory_limit("0")

    def _set_memory_limit(self, n_bytes: str) -> None:
        with connect(self.url, timeout_s=1.0, n_retries=0) as redis, suppress(RedisError):
            redis.config_set("maxmemory", n_bytes)
