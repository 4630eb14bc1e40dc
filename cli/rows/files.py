"""Which format a file has, and its rows in that format."""

import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol

import numpy as np
import pyarrow as pa

from cli.rows.blocks import MAX_ROWS, Block
from cli.rows.delimited import DelimitedRows, TextOptions
from cli.rows.taken import RowsError, Taken

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
_MAX_LINE_BYTES = 2**24
_MAX_JSON_BYTES = 2**28


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
            return _JsonRows(file, source, is_list=kind == "json")
        case "npy":
            return _MatrixRows(seekable(file, on_exit), source)
    return _ArrowRows(seekable(file, on_exit), source, taken, is_parquet=kind == "parquet")


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


class _JsonRows:
    """Records or lists of values, one on each line, or all in one list."""

    ignored: list[str] = []  # the service counts them in its warnings  # noqa: RUF012

    def __init__(self, file: IO[bytes], source: str, *, is_list: bool) -> None:
        self._file, self._source, self._is_list = file, source, is_list

    def __iter__(self) -> Iterator[Block]:
        rows: list[Any] = []
        first, n_bytes = 0, 0
        for row, n_row_bytes in self._in_list() if self._is_list else self._in_lines():
            rows.append(row)
            n_bytes += n_row_bytes
            if n_bytes >= _BLOCK_BYTES or len(rows) >= MAX_ROWS:
                yield Block(rows, first)
                first, rows, n_bytes = first + len(rows), [], 0
        if rows:
            yield Block(rows, first)

    def _in_lines(self) -> Iterator[tuple[Any, int]]:
        number = 0
        while line := self._file.readline(_MAX_LINE_BYTES):
            number += 1
            if len(line) >= _MAX_LINE_BYTES:
                raise RowsError(f"{self._source}, line {number}, has more than {_MAX_LINE_BYTES // 2**20} MB")
            if line.strip():
                yield self._checked(self._parsed(line, f"line {number}"), f"line {number}"), len(line)

    def _in_list(self) -> Iterator[tuple[Any, int]]:
        text = self._file.read(_MAX_JSON_BYTES + 1)
        if len(text) > _MAX_JSON_BYTES:
            raise RowsError(
                f"{self._source} has more than {_MAX_JSON_BYTES // 2**20} MB of JSON: write one record on each line, "
                "and say --format jsonl"
            )
        rows = self._parsed(text, "it")
        if not isinstance(rows, list):
            raise RowsError(f"{self._source} must be a list of records")
        for number, row in enumerate(rows, 1):
            yield self._checked(row, f"row {number}"), len(text) // len(rows)

    def _parsed(self, text: bytes, where: str) -> Any:
        def refuse(token: str) -> NoReturn:
            raise ValueError(f"{token} is no JSON")

        try:
            return json.loads(text, parse_constant=refuse)
        except (ValueError, RecursionError) as error:
            raise RowsError(f"{self._source}: {where} is no JSON: {str(error)[:200]}") from error

    def _checked(self, row: Any, where: str) -> Any:
        if not isinstance(row, dict | list):
            raise RowsError(f"{self._source}: {where} must be a record or a list of values")
        return row


class _MatrixRows:
    """A matrix of NumPy."""

    ignored: list[str] = []  # noqa: RUF012

    def __init__(self, file: Any, source: str) -> None:
        try:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, is_columns, dtype = read_header[version](file)
        except (ValueError, KeyError) as error:
            raise RowsError(f"{source} is no npy file: {str(error)[:200]}") from error
        if dtype.hasobject or dtype.kind not in "fiub":
            raise RowsError(f"{source} must hold numbers, not {dtype}")
        if len(shape) != 2 or 0 in shape:
            raise RowsError(f"{source} must be a matrix of rows and columns, not of shape {shape}")
        n_expected, start = dtype.itemsize * shape[0] * shape[1], file.tell()
        if file.seek(0, io.SEEK_END) - start < n_expected:
            raise RowsError(f"{source} is cut off: its header announces {n_expected} bytes of numbers")
        self._matrix = np.memmap(file, dtype, mode="r", offset=start, shape=shape, order="F" if is_columns else "C")

    def __iter__(self) -> Iterator[Block]:
        n_rows = max(1, min(MAX_ROWS, _BLOCK_BYTES // (8 * self._matrix.shape[1])))
        for first in range(0, len(self._matrix), n_rows):
            yield Block(np.ascontiguousarray(self._matrix[first : first + n_rows]), first)


class _ArrowRows:
    """Parquet and Arrow files, and Arrow streams."""

    def __init__(self, file: Any, source: str, taken: Taken, *, is_parquet: bool) -> None:
        self._source, self._taken = source, taken
        try:
            self._batches: Iterator[Any]
            if is_parquet:
                import pyarrow.parquet as pq  # only for such a file: it takes time to load

                parquet = pq.ParquetFile(file)
                schema = parquet.schema_arrow
            elif file.read(6) == b"ARROW1":
                reader = pa.ipc.open_file(file)
                schema = reader.schema
                self._batches = (reader.get_batch(k) for k in range(reader.num_record_batches))
            else:
                file.seek(0)
                stream = pa.ipc.open_stream(file)
                schema, self._batches = stream.schema, iter(stream)
        except (pa.ArrowException, OSError, ValueError) as error:
            kind = "Parquet" if is_parquet else "Arrow"
            raise RowsError(f"{source} is no {kind} file: {str(error)[:200]}") from error
        self._places = taken.places_in(schema.names, source)
        self._n_rows = max(1, min(MAX_ROWS, _BLOCK_BYTES // (8 * len(taken.columns))))
        if is_parquet:
            self._places = list(range(len(taken.names)))
            self._batches = (
                batch.select(taken.names) for batch in parquet.iter_batches(self._n_rows, columns=taken.names)
            )
        self.ignored = taken.ignored_in(schema.names)

    def __iter__(self) -> Iterator[Block]:
        first = 0
        while (batch := self._next()) is not None:
            arrays = [_decoded(batch.column(place)) for place in self._places]
            picked = pa.record_batch(arrays, names=self._taken.names)
            for start in range(0, len(picked), self._n_rows):
                block = picked.slice(start, self._n_rows)
                yield Block(block, first)
                first += len(block)

    def _next(self) -> Any:
        try:
            return next(self._batches, None)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise RowsError(f"{self._source} cannot be read: {str(error)[:200]}") from error


def _decoded(array: Any) -> Any:
    """Return plain values: dictionaries may be shared by many batches."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
