"""From a table to the body of `POST /datasets`."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, BinaryIO
from zipfile import ZipFile

import numpy as np

from perceptron_client.bodies.frames import (
    ARROW_STREAM,
    arrow_parts,
    as_arrow,
    can_be_arrow,
    csv_of_pandas,
    has_pyarrow,
    kind_of_frame,
    to_records,
)
from perceptron_client.bodies.json_text import to_json
from perceptron_client.errors import InvalidArgument
from perceptron_client.waiting import call_in_thread

BLOCK_BYTES = 1 << 18

READ_BYTES_PER_S = 1e6
"""A slow service still reads a table so fast; most read 60 times as fast (benchmarks/README.md)."""

_ARROW_FILE = b"ARROW1"

READING_S = 1_800.0
"""The most that is waited for the answer to an upload."""

MEDIA_TYPES: Mapping[str, str] = {
    ".csv": "text/csv",
    ".txt": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".tab": "text/tab-separated-values",
    ".parquet": "application/vnd.apache.parquet",
    ".pq": "application/vnd.apache.parquet",
    ".arrow": ARROW_STREAM,
    ".arrows": ARROW_STREAM,
    ".npy": "application/x-npy",
    ".npz": "application/x-npz",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".ndjson": "application/jsonlines",
}
"""By the ending of a file. One more ending, .gz or .zst, may follow: the service sees it in the bytes."""


@dataclass(frozen=True)
class Upload:
    """A table on its way. Its parts are read again for each try."""

    media_type: str
    read: Callable[[], Iterable[bytes]]
    n_bytes: int | None
    """None: not known in advance, so the body is sent in chunks."""
    name: str | None = None
    types: Mapping[str, str] | None = None
    digest: str | None = None
    """The value of Repr-Digest."""
    is_repeatable: bool = True
    """Whether its parts can be read twice."""
    show: Callable[[int], None] = lambda n_bytes: None
    """Told how many bytes were sent, in each try from 0 on."""

    @property
    def reading_s(self) -> float:
        """How long the service may read it before it answers."""
        return READING_S if self.n_bytes is None else min(self.n_bytes / READ_BYTES_PER_S, READING_S)

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to the body."""
        headers = {"Content-Type": self.media_type}
        if self.digest is not None:
            headers["Repr-Digest"] = self.digest
        if self.n_bytes is not None:
            headers["Content-Length"] = str(self.n_bytes)
        return headers

    def parts(self) -> Iterator[bytes]:
        """Read the body."""
        n_sent = 0
        for part in self.read():
            yield part
            n_sent += len(part)
            self.show(n_sent)

    async def aparts(self) -> AsyncIterator[bytes]:
        """Read the body without holding up the event loop."""
        parts = self.parts()
        while part := await call_in_thread(next, parts, b""):
            yield part


def upload_of(table: Any, media_type: str | None) -> Upload:
    """Return what to send for a table.

    Args:
        table: a path, bytes, a binary file, a data frame, an Arrow table, an array, (X, y), a dict of arrays, or
            a list of dicts.
        media_type: of a path, bytes or file; None: from the ending of the path.

    Raises:
        InvalidArgument: it is nothing of this.
        OSError: the file cannot be read.
    """
    is_frame = kind_of_frame(table) is not None
    if isinstance(table, str | os.PathLike):
        return _of_path(Path(table), media_type)
    if isinstance(table, bytes | bytearray | memoryview):
        return _of_bytes(bytes(table), _required(media_type))
    if hasattr(table, "read") and not is_frame:  # a frame may have a column of that name
        return _of_file(table, _required(media_type))
    if media_type is not None:
        raise InvalidArgument("media_type is for a path, bytes or a file; a table has its own")
    if is_frame:
        return _of_frame(table)
    if isinstance(table, np.ndarray | np.generic):
        return _of_bytes(_npy(table), MEDIA_TYPES[".npy"])
    if isinstance(table, Mapping):
        arrays = {str(name): _as_array(values) for name, values in table.items()}
        return _of_bytes(_npz(arrays), MEDIA_TYPES[".npz"])
    if isinstance(table, tuple) and len(table) == 2:
        return _of_bytes(_npz(_columns(*map(_as_array, table))), MEDIA_TYPES[".npz"])
    if isinstance(table, list) and all(isinstance(row, Mapping) for row in table):
        return _of_bytes(to_json(table), MEDIA_TYPES[".json"])
    raise InvalidArgument(
        "a table is a path, bytes, a binary file, a data frame, an Arrow table, an array, a tuple (X, y), a dict of "
        f"arrays or a list of dicts, not {type(table).__name__}"
    )


def query_of_upload(
    upload: Upload, *, name: str | None, types: Mapping[str, str] | None, **options: str | Iterable[str] | None
) -> dict[str, str]:
    """Return the query of an upload; options that are None are left out."""
    chosen = name or upload.name
    query = {} if chosen is None else {"name": chosen}
    for option, value in options.items():
        if value is not None:
            query[option] = value if isinstance(value, str) else json.dumps(list(value))
    all_types = dict(upload.types or {}) | dict(types or {})
    return query | ({"types": json.dumps(all_types)} if all_types else {})


def _required(media_type: str | None) -> str:
    if media_type is None:
        raise InvalidArgument("bytes and files need a media_type, for example 'text/csv'")
    return media_type


def media_type_of(path: str | os.PathLike[str]) -> str | None:
    """Return the media type of a file by its ending; None if that says no format."""
    endings = [ending.lower() for ending in Path(path).suffixes]
    if endings and endings[-1] in (".gz", ".zst", ".zstd"):
        endings.pop()
    return MEDIA_TYPES.get(endings[-1]) if endings else None


def _of_path(path: Path, media_type: str | None) -> Upload:
    chosen = media_type or media_type_of(path)
    if chosen is None:
        known = ", ".join(MEDIA_TYPES)
        raise InvalidArgument(f"the ending of {path.name!r} says no format: name a media_type, or use one of {known}")
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(_ARROW_FILE)) == _ARROW_FILE:
            return _of_arrow_file(path)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").digest()

    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from _blocks(file)

    return Upload(chosen, read, size, name=path.name[:256], digest=_digest(digest))


def _of_arrow_file(path: Path) -> Upload:
    """Send an Arrow file, which the service does not take, as the stream that it holds."""
    if not has_pyarrow():
        raise InvalidArgument(f"{path.name!r} is an Arrow file, not a stream: sending it needs pyarrow")
    import pyarrow as pa

    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowException as error:
        raise InvalidArgument(f"{path.name!r} is a damaged Arrow file: {error}") from error
    return replace(_of_frame(table), name=path.name[:256])


def _of_bytes(content: bytes, media_type: str) -> Upload:
    def read() -> Iterator[bytes]:
        for first in range(0, len(content), BLOCK_BYTES):
            yield content[first : first + BLOCK_BYTES]

    return Upload(media_type, read, len(content), digest=_digest(hashlib.sha256(content).digest()))


def _of_file(file: BinaryIO, media_type: str) -> Upload:
    if isinstance(file, io.TextIOBase):
        raise InvalidArgument("the file must be opened as binary: open(path, 'rb')")
    return Upload(media_type, lambda: _blocks(file), None, is_repeatable=False)


def _of_frame(frame: Any) -> Upload:
    if can_be_arrow(frame):
        try:
            table = as_arrow(frame)
        except InvalidArgument:
            return _of_bytes(to_json(to_records(frame)), MEDIA_TYPES[".json"])  # a column of mixed types
        return Upload(ARROW_STREAM, lambda: arrow_parts(table), None)
    content, types = csv_of_pandas(frame)
    upload = _of_bytes(content, MEDIA_TYPES[".csv"])
    return Upload(upload.media_type, upload.read, upload.n_bytes, types=types, digest=upload.digest)


def _columns(features: Any, targets: Any) -> dict[str, Any]:
    if features.ndim == 1:
        features = features[:, np.newaxis]
    if features.ndim != 2 or targets.ndim > 2:
        raise InvalidArgument(f"X must be a matrix and y a vector, not of shapes {features.shape} and {targets.shape}")
    columns = {f"x{j}": features[:, j] for j in range(features.shape[1])}
    if targets.ndim == 2:
        return columns | {f"y{k}": targets[:, k] for k in range(targets.shape[1])}
    return columns | {"y": targets}


def _npy(array: Any) -> bytes:
    """Return an array as NumPy saves it; arrays of Python texts become arrays of text."""
    sink = io.BytesIO()
    _write_npy(sink, array)
    return sink.getvalue()


def _npz(arrays: Mapping[str, Any]) -> bytes:
    """Return arrays as np.savez saves them, which has arguments of its own and so does not take any name."""
    sink = io.BytesIO()
    with ZipFile(sink, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                _write_npy(entry, array)
    return sink.getvalue()


def _write_npy(sink: IO[bytes], array: Any) -> None:
    try:
        np.lib.format.write_array(sink, np.asanyarray(_storable(array)), allow_pickle=False)
    except ValueError as error:
        raise InvalidArgument(f"this array cannot be sent: {error}") from error


def _as_array(values: Any) -> Any:
    return values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)  # which forgets the mask


def _storable(array: Any) -> Any:
    if isinstance(array, np.ma.MaskedArray):
        raise InvalidArgument("a masked array cannot be sent: fill its gaps, with NaN where a value is missing")
    if array.dtype.kind != "O":
        return array if array.dtype.kind != "T" else array.astype(str)
    if all(isinstance(value, str) for value in array.flat):
        return array.astype(str)
    raise InvalidArgument("an array of Python objects cannot be sent: use numbers, booleans or texts, or a data frame")


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block


def _digest(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"
