"""The data directory: checked, private, and used by one process tree at a time."""

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from standalone.errors import DataDirectoryError, DataDirectoryInUseError

MIN_FREE_BYTES = 100_000_000


class DataDirectory:
    """An open data directory. Nobody else can open it until this one is closed or its process is gone.

    The lock is the kernel's (flock on `<path>/lock`), so kill -9 leaves nothing to clean up. The content of the
    file only names the owner, for error messages.
    """

    def __init__(self, path: Path, lock_fd: int, *, was_killed: bool) -> None:
        self.path = path
        self.was_killed = was_killed  # the previous owner ended without closing it
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: Path, address: str, *, min_free_bytes: int = MIN_FREE_BYTES) -> Self:
        """Create the directory if it is missing, check it and lock it.

        Raises:
            DataDirectoryInUseError: Another process has it open.
            DataDirectoryError: It is a file, cannot be written, or its disk is full.
        """
        path = path.absolute()
        if path.is_file():
            raise DataDirectoryError(path, f"{path} is a file, not a directory: move it away")
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise DataDirectoryError(path, f"{path} cannot be written ({error.strerror}): put that right") from error
        try:
            owner = _read_owner(lock_fd)
            try:
                fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise DataDirectoryInUseError(path, *owner) from error
            free_bytes = shutil.disk_usage(path).free
            if free_bytes < min_free_bytes:
                raise DataDirectoryError(
                    path,
                    f"the disk of {path} has {free_bytes // 1_000_000} MB free, "
                    f"{min_free_bytes // 1_000_000} MB are needed: make room",
                )
            os.ftruncate(lock_fd, 0)
            os.pwrite(lock_fd, json.dumps({"pid": os.getpid(), "address": address}).encode(), 0)
        except BaseException:
            os.close(lock_fd)
            raise
        return cls(path, lock_fd, was_killed=owner != (None, None))

    def close(self) -> None:
        # The file stays: without it, two processes could lock two files of the same name.
        os.ftruncate(self._lock_fd, 0)
        os.close(self._lock_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True)
class Owner:
    """Who opened a data directory last, and has not closed it."""

    pid: int
    address: str
    """What it was opened for: the address of the API, or the name of a command."""

    @property
    def is_alive(self) -> bool:
        """Whether its process runs; a process of another container counts as ended."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it runs, as another user
            return True
        return True


def owner_of(path: Path) -> Owner | None:
    """Return who has a data directory open, or was killed while it had; None if it was closed or never opened."""
    try:
        lock_fd = os.open(path / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        pid, address = _read_owner(lock_fd)
    finally:
        os.close(lock_fd)
    return None if pid is None or pid <= 0 or address is None else Owner(pid, address)


def _read_owner(lock_fd: int) -> tuple[int | None, str | None]:
    try:
        owner = json.loads(os.pread(lock_fd, 1024, 0))
        return int(owner["pid"]), str(owner["address"])
    except (ValueError, KeyError, TypeError):  # empty, or being written at this moment
        return None, None
