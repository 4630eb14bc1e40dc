"""Keeps the embedded server alive on a full disk.

With `appendfsync always` the server ends when it cannot append to its file. So there is always some room behind the end
of that file that only the server can use; and when the disk is nearly full, the server refuses new data but still
answers, cancels jobs and takes heartbeats, for which this room lasts for days.
"""

import ctypes
import errno
import os
import re
import shutil
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from standalone.log_lines import log

RESERVE_BYTES = 16_000_000
"""Room that only the server can use."""

LOW_BYTES = 64_000_000
"""With less free space than this, new data is refused."""

EVERY_S = 0.2

_KEEP_SIZE = 1  # <linux/falloc.h>: FALLOC_FL_KEEP_SIZE
_INCREMENT = re.compile(r"appendonly\.aof\.(\d+)\.incr\.aof")

# How the supervised server starts, until the guard has seen that there is room: refusing new data, and not ending when
# it cannot write. `everysec` acknowledges what may be lost in a power cut; all that it takes then are cancels and
# heartbeats.
REFUSING = {"maxmemory": "1", "appendfsync": "everysec"}
ACCEPTING = {"maxmemory": "0", "appendfsync": "always"}


class DiskGuard:
    """Reserves room for the server and tells it whether to accept new data, several times a second, in a thread.

    Args:
        directory: where the server keeps its files.
        connection: answers within a second or raises.
    """

    def __init__(self, directory: Path, connection: redis.Redis) -> None:
        self._directory = directory
        self._connection: Any = connection
        self._is_over = threading.Event()
        self._is_refusing = False
        self.is_in_force = False
        """Whether the server has been told once."""
        self._reserved: tuple[Path, int] | None = None
        """The file that has room behind its end, and where the room ends."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="disk guard", daemon=True).start()

    def stop(self) -> None:
        self._is_over.set()

    def tend(self) -> None:
        """Look at the disk once, and set what the server does."""
        reserve_bytes = self._reserve()
        free_bytes = shutil.disk_usage(self._directory).free
        has_reserve = reserve_bytes >= RESERVE_BYTES // 4
        is_low = not has_reserve or free_bytes < LOW_BYTES * (1.25 if self._is_refusing else 1)
        # Without a reserve, the server must not end when it cannot write.
        settings = {**(REFUSING if is_low else ACCEPTING), "appendfsync": "always" if has_reserve else "everysec"}
        with suppress(redis.RedisError, OSError):  # it starts or ends; the next round sets it
            for name, value in settings.items():
                self._connection.config_set(name, value)
            self.is_in_force = True
        if is_low != self._is_refusing:
            self._is_refusing = is_low
            log(
                f"the disk of {self._directory} has {free_bytes // 1_000_000} MB free: "
                + (f"no new jobs until there are {LOW_BYTES * 1.25 / 1e6:g} MB" if is_low else "new jobs are accepted")
            )

    def _run(self) -> None:
        while not self._is_over.wait(EVERY_S):
            with suppress(OSError):
                self.tend()

    def _reserve(self) -> int:
        """Keep room behind the end of the file that the server appends to; return how much there is."""
        path = self._append_only_file()
        if path is None or sys.platform != "linux":
            return RESERVE_BYTES  # nothing is written yet; or the free space alone must do
        with path.open("rb+") as file:
            size = os.fstat(file.fileno()).st_size
            reserved = self._reserved[1] - size if self._reserved and self._reserved[0] == path else 0
            if reserved < RESERVE_BYTES // 2:
                if not _allocate(file.fileno(), size, RESERVE_BYTES):
                    return max(reserved, 0)
                self._reserved, reserved = (path, size + RESERVE_BYTES), RESERVE_BYTES
        return reserved

    def _append_only_file(self) -> Path | None:
        folder = self._directory / "appendonlydir"
        numbers = [int(match[1]) for name in _names(folder) if (match := _INCREMENT.fullmatch(name))]
        if numbers:
            return folder / f"appendonly.aof.{max(numbers)}.incr.aof"
        old = self._directory / "appendonly.aof"  # before Redis 7
        return old if old.exists() else None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _allocate(fd: int, offset: int, n_bytes: int) -> bool:
    """Allocate space beyond the end of a file without making it longer, as `posix_fallocate` would.

    Returns:
        False if the disk is full. True also where the file system cannot do it.
    """
    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return fallocate(fd, _KEEP_SIZE, offset, n_bytes) == 0 or ctypes.get_errno() not in (errno.ENOSPC, errno.EDQUOT)
