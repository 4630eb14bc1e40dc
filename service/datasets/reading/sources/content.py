"""The bytes of a file, with its compression undone and counted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa

from service.datasets.reading.limits import TableLimits
from service.http.errors import TableError, UnsupportedEncodingError

CHUNK_BYTES = 2**20

_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"} | {
    bytes([first]) + b"\x2a\x4d\x18": "zstd"
    for first in range(0x50, 0x60)  # frames that are skipped: pzstd begins with one
}


@dataclass(frozen=True)
class Content:
    """A file and how it is compressed: several gzip members or zstd frames count as one stream."""

    path: Path
    coding: str | None
    limits: TableLimits

    @classmethod
    def of(cls, path: Path, content_encoding: str, limits: TableLimits) -> "Content":
        """Find the compression: that of the header, or else that which the first bytes show.

        Raises:
            UnsupportedEncodingError: the header names another one.
            TableError: the bytes are not what the header says.
        """
        named = content_encoding.strip().lower().removeprefix("x-")
        if named not in ("", "identity", "gzip", "zstd"):
            raise UnsupportedEncodingError(f"the Content-Encoding must be gzip or zstd, not {named[:64]}")
        with path.open("rb") as file:
            start = file.read(4)
        shown = next((coding for magic, coding in _MAGIC.items() if start.startswith(magic)), None)
        if named in ("gzip", "zstd") and shown != named:
            raise TableError("malformed_encoding", f"the Content-Encoding is {named}, but the body does not begin so")
        return cls(path, shown, limits)

    def chunks(self, size: int | None = None) -> Iterator[bytes]:
        """Yield the bytes, in chunks of at most `size`.

        Raises:
            TableError: the compressed bytes are cut off or damaged, or there are more than the limit allows.
        """
        n_bytes = 0
        with pa.OSFile(str(self.path)) as raw:
            file = raw if self.coding is None else pa.CompressedInputStream(raw, self.coding)
            while True:
                try:
                    chunk: bytes = file.read(size or CHUNK_BYTES)
                except OSError as error:
                    if error.errno is not None:  # of the disk, not of the bytes
                        raise
                    raise TableError("malformed_encoding", f"the body is not valid {self.coding}: {error}") from error
                if not chunk:
                    return
                n_bytes += len(chunk)
                check_bytes(n_bytes, self.limits)
                yield chunk

    def uncompressed(self, folder: Path) -> Path:
        """Give a file of the uncompressed bytes, which may be in a new file in the folder."""
        if self.coding is None:
            check_bytes(self.path.stat().st_size, self.limits)
            return self.path
        path = folder / "uncompressed"
        with path.open("wb") as file:
            for chunk in self.chunks():
                file.write(chunk)
        return path


def check_bytes(n_bytes: int, limits: TableLimits) -> None:
    """Check how many bytes a table has.

    Raises:
        TableError: more than the limit allows.
    """
    if n_bytes > limits.max_dataset_bytes:
        raise too_large("bytes when uncompressed", "max_dataset_bytes", limits)


def check_rows(n_rows: int, limits: TableLimits) -> None:
    """Check how many rows a table has.

    Raises:
        TableError: more than the limit allows.
    """
    if n_rows > limits.max_dataset_rows:
        raise too_large("rows", "max_dataset_rows", limits)


def check_columns(n_columns: int, limits: TableLimits) -> None:
    """Check how many columns a table has.

    Raises:
        TableError: more than the limit allows.
    """
    if n_columns > limits.max_dataset_columns:
        raise too_large("columns", "max_dataset_columns", limits)


def too_large(what: str, setting: str, limits: TableLimits) -> TableError:
    """Give the error for a table beyond a limit."""
    limit = getattr(limits, setting)
    return TableError(
        "too_large", f"a table may have at most {limit} {what} ({setting.upper()})", more={"limit": limit}
    )


def read_exactly(file: IO[bytes], n_bytes: int, what: str) -> bytes:
    """Read so many bytes.

    Raises:
        TableError: the file ends before.
    """
    found = file.read(n_bytes)
    if len(found) < n_bytes:
        raise TableError("truncated", f"the file ends within {what}: {n_bytes} bytes expected, {len(found)} left")
    return found
