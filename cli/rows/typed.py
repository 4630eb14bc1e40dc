"""Files whose numbers and texts have types: Parquet, Arrow and npy."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from cli.rows.blocks import MAX_ROWS, Block
from cli.rows.taken import RowsError, Taken

_BLOCK_BYTES = 2**22


class MatrixRows:
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


class ArrowRows:
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
