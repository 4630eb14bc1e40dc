"""npy and npz, the arrays of NumPy. Headers are checked before anything is allocated, and nothing is unpickled."""

import ast
import errno
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.datasets.reading.limits import TableLimits
from service.datasets.reading.sources.content import CHUNK_BYTES, check_bytes, check_columns, check_rows, read_exactly
from service.datasets.reading.sources.header import checked_names
from service.datasets.reading.sources.source import Array, Block, Heading, Kind
from service.http.errors import TableError

_BLOCK_BYTES = 2**20
_MAX_HEADER_BYTES = 2**16
_KINDS: dict[str, Kind] = {
    "f": "number",
    "i": "number",
    "u": "number",
    "b": "boolean",
    "U": "text",
    "S": "text",
    "M": "date",
}


class _Layout(NamedTuple):
    """Where the values of an array are in its file."""

    path: Path
    start: int
    dtype: np.dtype[Any]
    n_rows: int
    width: int
    """how many values a row has"""
    is_by_column: bool
    """whether all values of a column come one after the other"""

    @property
    def dtypes(self) -> list[np.dtype[Any]]:
        """Those of the columns."""
        if self.dtype.fields is None:
            return [self.dtype] * self.width
        return [self.dtype[name] for name in self.dtype.names or ()]

    def rows(self, file: IO[bytes], first: int, n_rows: int) -> list[NDArray[Any]]:
        """Read some rows, column by column."""
        size = self.dtype.itemsize
        if self.is_by_column:
            columns = []
            for j in range(self.width):
                file.seek(self.start + (j * self.n_rows + first) * size)
                columns.append(np.frombuffer(read_exactly(file, n_rows * size, "the array"), self.dtype))
            return columns
        file.seek(self.start + first * self.width * size)
        values = np.frombuffer(read_exactly(file, n_rows * self.width * size, "the array"), self.dtype)
        if self.dtype.names is not None:
            return [values[name] for name in self.dtype.names]
        return list(values.reshape(n_rows, self.width).T)


@dataclass(frozen=True)
class Arrays:
    """Arrays of the same number of rows, side by side."""

    names: tuple[str, ...]
    layouts: tuple[_Layout, ...]
    limits: TableLimits

    @cached_property
    def heading(self) -> Heading:
        """The names and kinds of the columns.

        Raises:
            TableError: there are arrays of something else than numbers, booleans, texts and dates.
        """
        dtypes = [dtype for layout in self.layouts for dtype in layout.dtypes]
        check_columns(len(dtypes), self.limits)
        kinds = [_KINDS.get(dtype.kind) if dtype.subdtype is None else None for dtype in dtypes]
        wrong = [
            (name, str(dtype)) for name, dtype, kind in zip(self.names, dtypes, kinds, strict=True) if kind is None
        ]
        if wrong:
            detail = f"a column holds numbers, booleans, texts or dates, but {wrong[0][0]!r} holds {wrong[0][1][:100]}"
            columns, types = ([each[i] for each in wrong[:100]] for i in range(2))
            raise TableError("unsupported_type", detail, more={"columns": columns, "types": types})
        names, warnings = checked_names(self.names)
        return Heading(names, tuple(kind for kind in kinds if kind is not None), tuple(warnings))

    def blocks(self) -> Iterator[Block]:
        """Read all rows.

        Raises:
            TableError: a text is not text.
        """
        n_rows = self.layouts[0].n_rows
        n_row_bytes = sum(layout.width * layout.dtype.itemsize for layout in self.layouts)
        step = max(1, _BLOCK_BYTES // max(n_row_bytes, 1))
        for first in range(0, n_rows, step):
            n = min(step, n_rows - first)
            columns: list[Array] = []
            for layout in self.layouts:
                with layout.path.open("rb") as file:
                    columns += map(_as_arrow, layout.rows(file, first, n))
            yield Block(columns, n)


def open_npy(path: Path, limits: TableLimits) -> Arrays:
    """Open one array: its columns are x0, x1, ... or the fields of its records.

    Raises:
        TableError: it holds Python objects, is cut off, or has more than two dimensions.
    """
    if path.stat().st_size == 0:
        raise TableError("empty_file", "the file is empty")
    layout = _layout(path, "the array", limits)
    names = layout.dtype.names or [f"x{j}" for j in range(layout.width)]
    return Arrays(tuple(names), (layout,), limits)


def open_npz(path: Path, folder: Path, limits: TableLimits) -> Arrays:
    """Open an archive of arrays: one for each column, or several columns name0, name1, ... from a matrix.

    Raises:
        TableError: an array holds Python objects, is cut off, or has another number of rows than the first one.
    """
    names: list[str] = []
    layouts: list[_Layout] = []
    for name, array in _extracted(path, folder, limits):
        layout = _layout(array, f"the array {name[:100]!r}", limits)
        if layouts and layout.n_rows != layouts[0].n_rows:
            detail = f"the array {name[:100]!r} has {layout.n_rows} rows, the first one {layouts[0].n_rows}"
            raise TableError("unequal_lengths", detail, column=name[:100])
        layouts.append(layout)
        names += _names_of(layout, name)
    if not layouts:
        raise TableError("empty_file", "the archive has no array")
    return Arrays(tuple(names), tuple(layouts), limits)


# Besides its own error, zipfile lets through what it meets in a damaged directory or in packed bytes.
_DAMAGED_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,
    NotImplementedError,
    ValueError,  # a name that is not in the encoding that it announces
)


def _extracted(path: Path, folder: Path, limits: TableLimits) -> Iterator[tuple[str, Path]]:
    """Yield name and file of each array; the sizes that the archive announces are not believed."""
    n_bytes = 0
    try:
        with zipfile.ZipFile(path) as archive:
            check_columns(len(archive.infolist()), limits)
            for i, entry in enumerate(archive.infolist()):
                array = folder / f"array{i}"
                with archive.open(entry) as packed, array.open("wb") as file:
                    while chunk := packed.read(CHUNK_BYTES):
                        n_bytes += len(chunk)
                        check_bytes(n_bytes, limits)
                        file.write(chunk)
                yield entry.filename.removesuffix(".npy"), array
    except (*_DAMAGED_ARCHIVE, OSError) as error:
        # EINVAL is for a place before the file's start, and bz2 raises an OSError without a number for its own damage.
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, None):
            raise
        raise TableError("malformed_encoding", f"the archive is damaged, or no npz: {error}"[:300]) from error


def _layout(path: Path, what: str, limits: TableLimits) -> _Layout:
    with path.open("rb") as file:
        try:
            shape, is_fortran, dtype = _read_header(file)
        except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
            raise TableError("damaged_file", f"{what} has no valid header of npy: {error}"[:300]) from error
        start = file.tell()
    if dtype.hasobject:
        detail = f"{what} holds Python objects (dtype object), which only pickle could read: save numbers or texts"
        raise TableError("pickled_objects", detail)
    if len(shape) not in (1, 2) or (len(shape) == 2 and dtype.names is not None) or math.prod(shape[1:]) == 0:
        raise TableError("unsupported_shape", f"{what} must have rows and columns, not the shape {shape}"[:300])
    n_rows, width = shape[0], shape[1] if len(shape) == 2 else 1
    check_rows(n_rows, limits)
    check_columns(width, limits)
    n_bytes, n_left = math.prod(shape) * dtype.itemsize, path.stat().st_size - start
    check_bytes(n_bytes, limits)
    if n_left < n_bytes:
        raise TableError("truncated", f"{what} is cut off: its header says {n_bytes} bytes, and there are {n_left}")
    if n_left > n_bytes:
        raise TableError("damaged_file", f"{what} is followed by {n_left - n_bytes} bytes that are not part of it")
    return _Layout(path, start, dtype, n_rows, width, is_fortran and width > 1)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read what NumPy's own reader reads, but for the headers of Python 2, of which that one warns."""
    magic = file.read(8)
    if magic[:6] != b"\x93NUMPY" or magic[6:] not in (b"\x01\0", b"\x02\0", b"\x03\0"):
        raise ValueError("it does not begin with the magic bytes of npy")
    n_bytes = int.from_bytes(file.read(2 if magic[6] == 1 else 4), "little")
    if n_bytes > _MAX_HEADER_BYTES:
        raise ValueError(f"it may have {_MAX_HEADER_BYTES} bytes, not {n_bytes}")
    header = ast.literal_eval(file.read(n_bytes).decode("utf-8" if magic[6] == 3 else "latin-1"))
    shape, is_fortran = header["shape"], header["fortran_order"]
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("the shape is none")
    return shape, bool(is_fortran), np.lib.format.descr_to_dtype(header["descr"])


def _as_arrow(values: NDArray[Any]) -> Array:
    try:
        match values.dtype.kind:
            case "f":
                return pa.array(values.astype(np.float64))
            case "S":
                return pc.cast(pa.array(values), pa.string())
            case "M":
                texts = np.datetime_as_string(values)
                return pa.array(texts.astype(object), pa.string(), mask=np.isnat(values))
        return pa.array(values.astype(values.dtype.newbyteorder("=")))
    except (pa.ArrowException, ValueError) as error:
        raise TableError("not_utf8", f"an array has texts that are no text: {error}"[:300]) from error


def _names_of(layout: _Layout, name: str) -> Sequence[str]:
    return layout.dtype.names or ([name] if layout.width == 1 else [f"{name}{j}" for j in range(layout.width)])
