"""Parquet files and Arrow streams: columns that have types."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from service.datasets.reading.limits import TableLimits
from service.datasets.reading.sources.arrow_messages import check_messages
from service.datasets.reading.sources.content import check_bytes, check_columns, check_rows
from service.datasets.reading.sources.header import checked_names
from service.datasets.reading.sources.source import Array, Block, Heading, Kind
from service.http.errors import TableError
from storage.datasets.schema import TableWarning

_BLOCK_VALUES = 2**17
_MAX_BLOCK_ROWS = 2**14
_MIN_BLOCK_ROWS = 64
_MAGIC = b"PAR1"
_PANDAS_INDEX = re.compile(r"__index_level_[0-9]+__")
"""What pandas calls an index without a name, which it writes beside the columns unless it is 0, 1, 2, ..."""


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file. Texts are read as dictionaries: a few bytes may stand for the same long text a million times."""

    path: Path
    limits: TableLimits

    @cached_property
    def _schema(self) -> pa.Schema:
        if self.path.stat().st_size == 0:
            raise TableError("empty_file", "the file is empty")
        with self.path.open("rb") as file:
            starts_well = file.read(4) == _MAGIC
            file.seek(max(0, self.path.stat().st_size - 4))
            if starts_well and file.read(4) != _MAGIC:
                raise TableError("truncated", "the Parquet file is cut off: it has no footer")
        with _damage_of("Parquet file"):
            file = pq.ParquetFile(self.path)
            metadata = file.metadata
            check_rows(metadata.num_rows, self.limits)
            check_bytes(sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)), self.limits)
            return file.schema_arrow

    @cached_property
    def heading(self) -> Heading:
        """The names and kinds of the columns.

        Raises:
            TableError: it is no Parquet file, or has columns of lists and the like.
        """
        return _heading(self._schema, self.limits)

    def blocks(self) -> Iterator[Block]:
        """Read all rows.

        Raises:
            TableError: the file is damaged, or expands beyond the limit.
        """
        texts = [field.name for field in self._schema if _is_text(field.type)]
        n_rows = min(max(_BLOCK_VALUES // max(len(self._schema), 1), _MIN_BLOCK_ROWS), _MAX_BLOCK_ROWS)
        with _damage_of("Parquet file"):
            file = pq.ParquetFile(self.path, read_dictionary=texts, buffer_size=2**20, pre_buffer=False)
            batches = file.iter_batches(n_rows, use_threads=False)
        yield from _blocks(batches, "Parquet file", self.limits)


@dataclass(frozen=True)
class ArrowStream:
    """An Arrow IPC stream."""

    path: Path
    limits: TableLimits

    @cached_property
    def heading(self) -> Heading:
        """The names and kinds of the columns.

        Raises:
            TableError: it is no stream, or has columns of lists and the like.
        """
        if self.path.stat().st_size == 0:
            raise TableError("empty_file", "the file is empty")
        with self.path.open("rb") as messages:
            check_messages(messages, self.limits)
        with pa.OSFile(str(self.path)) as file, _damage_of("Arrow stream"):
            return _heading(pa.ipc.open_stream(file).schema, self.limits)

    def blocks(self) -> Iterator[Block]:
        """Read all rows.

        Raises:
            TableError: the stream is cut off or damaged, or expands beyond the limit.
        """
        with pa.OSFile(str(self.path)) as file:
            with _damage_of("Arrow stream"):
                stream = pa.ipc.open_stream(file)
            yield from _blocks(iter(stream), "Arrow stream", self.limits)


def _blocks(batches: Iterator[pa.RecordBatch], what: str, limits: TableLimits) -> Iterator[Block]:
    n_rows = n_bytes = 0
    while True:
        with _damage_of(what):
            batch = next(batches, None)
            if batch is None:
                return
            batch.validate(full=True)
            for start in range(0, len(batch), _MAX_BLOCK_ROWS):
                rows = batch.slice(start, _MAX_BLOCK_ROWS)
                columns = [_normal(rows.column(i)) for i in _without_index(batch.schema)]
                n_rows += len(rows)
                n_bytes += sum(map(_decoded_bytes, columns))
                check_rows(n_rows, limits)
                check_bytes(n_bytes, limits)
                yield Block(columns, len(rows))


@contextmanager
def _damage_of(what: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the bytes
            raise
        text = " ".join(str(error).split())[:200]
        is_cut = "expected to read" in text.lower() or "expected to be able to read" in text.lower()
        code, state = ("truncated", "cut off") if is_cut else ("damaged_file", "damaged, or no such file")
        raise TableError(code, f"the {what} is {state}: {text}") from error


def _heading(schema: pa.Schema, limits: TableLimits) -> Heading:
    check_columns(len(schema), limits)
    fields = [schema.field(i) for i in _without_index(schema)]
    unsupported = [field for field in fields if _kind(field.type) is None]
    if unsupported:
        columns, types = [field.name for field in unsupported], [_type_name(field.type) for field in unsupported]
        shown = ", ".join(f"{name!r} ({of_type})" for name, of_type in zip(columns[:10], types, strict=False))
        detail = f"a column holds numbers, booleans, texts or dates, but not so {shown[:500]}"
        raise TableError("unsupported_type", detail, more={"columns": columns[:100], "types": types[:100]})
    names, warnings = checked_names([field.name for field in fields])
    if len(fields) < len(schema):
        warnings.append(TableWarning("index_column", "the index of pandas has no name: left out"))
    kinds = tuple(kind for field in fields if (kind := _kind(field.type)) is not None)
    return Heading(names, kinds, tuple(warnings))


def _without_index(schema: pa.Schema) -> list[int]:
    return [i for i, name in enumerate(schema.names) if not _PANDAS_INDEX.fullmatch(name)]


def _kind(of_type: pa.DataType) -> Kind | None:
    is_ = pa.types
    if is_.is_dictionary(of_type):
        return _kind(of_type.value_type)
    if _is_text(of_type) or is_.is_null(of_type) or is_.is_time(of_type):
        return "text"
    if is_.is_integer(of_type) or is_.is_floating(of_type):
        return "number"
    if is_.is_boolean(of_type):
        return "boolean"
    if is_.is_decimal(of_type):
        return "cells"  # their texts are exact
    return "date" if is_.is_date(of_type) or is_.is_timestamp(of_type) else None


def _is_text(of_type: pa.DataType) -> bool:
    is_ = pa.types
    return bool(is_.is_string(of_type) or is_.is_large_string(of_type) or is_.is_string_view(of_type))


def _type_name(of_type: pa.DataType) -> str:
    is_ = pa.types
    if is_.is_list(of_type) or is_.is_large_list(of_type) or is_.is_fixed_size_list(of_type):
        return f"list<{_type_name(of_type.value_type)}>"
    return str(of_type)[:200]


def _normal(values: Array) -> Array:
    """Give values in a type that the rules know: see `Kind`."""
    is_ = pa.types
    if is_.is_dictionary(values.type):
        if not _is_text(values.type.value_type):
            return _normal(values.dictionary_decode())
        return pa.DictionaryArray.from_arrays(values.indices, pc.cast(values.dictionary, pa.string()))
    if is_.is_timestamp(values.type) and values.type.tz is not None:
        instants = pc.cast(pc.cast(values, pa.timestamp(values.type.unit)), pa.string())
        return pc.binary_join_element_wise(instants, "Z", "")
    if is_.is_integer(values.type) or is_.is_boolean(values.type):
        return values
    return pc.cast(values, pa.float64() if is_.is_floating(values.type) else pa.string())


def _decoded_bytes(values: Array) -> int:
    if not pa.types.is_dictionary(values.type):
        return int(values.nbytes)
    lengths = np.append(pc.fill_null(pc.binary_length(values.dictionary), 0).to_numpy(zero_copy_only=False), 0)
    codes = pc.fill_null(pc.cast(values.indices, pa.int64()), -1).to_numpy(zero_copy_only=False)
    return int(lengths[codes].sum()) + 4 * len(codes)
