"""Which format a file has, and its rows in that format."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from cli.rows.blocks import Block
from cli.rows.delimited import DelimitedRows, TextOptions
from cli.rows.json_rows import JsonRows
from cli.rows.taken import RowsError, Taken
from cli.rows.typed import ArrowRows, MatrixRows

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "arrow", "npy")

ENDINGS = {
    **{".csv": "csv", ".txt": "csv", ".tsv": "tsv", ".tab": "tsv"},
    **{".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json"},
    **{".parquet": "parquet", ".pq": "parquet"},
    **{".arrow": "arrow", ".arrows": "arrow", ".feather": "arrow", ".ipc": "arrow", ".npy": "npy"},
}
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_COMPRESSED_ENDINGS = (".gz", ".zst", ".zstd")

_BLOCK_BYTES = 2**22


class Rows(Protocol):
    """The rows of a file."""

    @property
    def ignored(self) -> list[str]:
        """The columns that the model does not read."""

    def __iter__(self) -> Iterator[Block]: ...


def format_of(name: str, given: str | None) -> str:
    """Return the format that was given, else that of the ending of a file; `-` is CSV.

    Raises:
        RowsError: the ending is unknown.
    """
    if given is not None:
        return given
    if name == "-":
        return "csv"
    path = Path(name)
    ending = (path.with_suffix("") if path.suffix.lower() in _COMPRESSED_ENDINGS else path).suffix.lower()
    if ending not in ENDINGS:
        known = ", ".join(sorted(ENDINGS))
        raise RowsError(f"{name}: its ending says no format (known are {known}). Name it: {', '.join(FORMATS)}")
    return ENDINGS[ending]


def open_rows(name: str, given_format: str | None, taken: Taken, options: TextOptions, on_exit: ExitStack) -> Rows:
    """Open a file, or standard input for `-`, as rows for a version. Compressed files are expanded.

    Args:
        on_exit: closes the file.

    Raises:
        RowsError: it is no file of that format, or lacks a column.
        OSError: it cannot be read.
    """
    source = "standard input" if name == "-" else name
    kind = format_of(name, given_format)
    file = opened(name, on_exit)
    match kind:
        case "csv" | "tsv":
            if kind == "tsv" and options.delimiter is None:
                options = TextOptions("\t", options.decimal, options.has_header, options.charset)
            return DelimitedRows(file, source, taken, options)
        case "jsonl" | "json":
            return JsonRows(file, source, is_list=kind == "json")
        case "npy":
            return MatrixRows(seekable(file, on_exit), source)
    return ArrowRows(seekable(file, on_exit), source, taken, is_parquet=kind == "parquet")


def opened(name: str, on_exit: ExitStack) -> Any:
    """Open a file, or standard input for `-`, to read what is in it when it is expanded.

    Raises:
        OSError: it cannot be read.
    """
    return _expanded(_plain(name, on_exit), name, on_exit)


def _plain(name: str, on_exit: ExitStack) -> Any:
    if name != "-":
        return on_exit.enter_context(Path(name).open("rb"))
    if sys.stdin is None or sys.stdin.closed:
        raise OSError(9, os.strerror(9))
    return sys.stdin.buffer


class _Expanded(io.RawIOBase):
    """What is in a compressed stream."""

    def __init__(self, stream: Any, name: str) -> None:
        self._stream, self._name = stream, name

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what comes next.

        Raises:
            RowsError: it is cut off or damaged.
        """
        try:
            content = self._stream.read(len(buffer))
        except OSError as error:
            raise RowsError(f"{self._name} is cut off or damaged: {error}") from error
        buffer[: len(content)] = content
        return len(content)


def _expanded(file: Any, name: str, on_exit: ExitStack) -> Any:
    start = file.peek(4)
    kind = next((kind for mark, kind in _COMPRESSED.items() if start.startswith(mark)), None)
    if kind is None:
        return file
    return on_exit.enter_context(io.BufferedReader(_Expanded(pa.CompressedInputStream(file, kind), name), _BLOCK_BYTES))


def seekable(file: Any, on_exit: ExitStack) -> Any:
    """Return a file with a position: a copy of what comes from a pipe, or was compressed."""
    if isinstance(getattr(file, "raw", None), io.FileIO) and file.seekable():
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (closed with all others)
    on_exit.callback(copy.close)
    while chunk := file.read(_BLOCK_BYTES):
        copy.write(chunk)
    copy.seek(0)
    return copy
