"""A file that keeps the columns between reading and writing: the levels of a column are known only after its last row.

Plain writes and reads, no memory map: pages of a map count as memory of the process.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from service.datasets.reading.sources.source import Array


class Spill:
    """Blocks of rows on disk. The type of a column may change from one block to the next."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = pa.OSFile(str(path), "wb")
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None
        self._types: list[pa.DataType] = []
        self._schema = pa.schema([])
        self._n_streams = 0

    def __enter__(self) -> "Spill":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def append(self, columns: Sequence[Array]) -> None:
        """Write some rows."""
        types = [column.type for column in columns]
        if self._writer is None or types != self._types:
            self._end_stream()
            self._schema = pa.schema([(str(i), of_column) for i, of_column in enumerate(types)])
            self._writer, self._types = pa.ipc.new_stream(self._file, self._schema), types
            self._n_streams += 1
        self._writer.write_batch(pa.record_batch(list(columns), schema=self._schema))

    def blocks(self) -> Iterator[list[Array]]:
        """Yield the columns of each block, in order, after the last one was written."""
        self._end_stream()
        self._file.flush()
        with pa.OSFile(str(self._path)) as file:
            for _ in range(self._n_streams):
                for batch in pa.ipc.open_stream(file):
                    yield batch.columns

    def _end_stream(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
