"""The file of answers: the prediction and the outputs of each row, written as they come."""

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from cli.rows.taken import RowsError

FORMATS = ("csv", "tsv", "jsonl", "parquet", "arrow", "npy")


class Answers:
    """Writes blocks of answers, all with the same columns.

    Args:
        file: is left open.
        kind: one of `FORMATS`; `npy` has the outputs alone, and needs a file with a position.
        outputs: the names of the columns of outputs.
    """

    def __init__(self, file: IO[bytes], kind: str, outputs: Sequence[str]) -> None:
        self._file, self._kind, self._outputs = file, kind, outputs
        self._writer: Any = None
        self.n_rows = 0

    def write(self, columns: dict[str, Any]) -> None:
        """Write some rows: arrays of Arrow by name."""
        table = pa.table(columns)
        if self._kind == "npy":
            self._write_matrix(np.column_stack([columns[name].to_numpy() for name in self._outputs]))
        elif self._kind in ("csv", "tsv"):
            self._write_text(table)
        elif self._kind == "jsonl":
            self._write_lines(table)
        else:
            self._write_table(table)
        self.n_rows += len(table)

    def finish(self) -> None:
        """Write what belongs to the end."""
        if self._kind == "npy" and self.n_rows:
            self._file.seek(self._start)
            self._write_header(self.n_rows)
            self._file.seek(0, io.SEEK_END)
        elif self._writer is not None:
            self._writer.close()
        self._file.flush()

    def _write_text(self, table: Any) -> None:
        delimiter = "," if self._kind == "csv" else "\t"
        if self.n_rows == 0:
            header = io.StringIO()
            csv.writer(header, delimiter=delimiter, lineterminator="\n").writerow(table.column_names)
            self._file.write(header.getvalue().encode())
        # "needed" puts quotes around every text, so it is used only where one needs them.
        style = "needed" if _has_marks(table, delimiter) else "none"
        options = pa.csv.WriteOptions(include_header=False, delimiter=delimiter, quoting_style=style)
        pa.csv.write_csv(table, self._file, options)

    def _write_lines(self, table: Any) -> None:
        lines = [json.dumps(row) for row in table.to_pylist()]
        self._file.write(("\n".join(lines) + "\n").encode())

    def _write_table(self, table: Any) -> None:
        if self._writer is None:
            self._writer = self._new_writer(table.schema)
        self._writer.write_table(table)

    def _new_writer(self, schema: Any) -> Any:
        if self._kind == "arrow":
            return pa.ipc.new_stream(self._file, schema)
        import pyarrow.parquet as pq  # only for such a file: it takes time to load

        return pq.ParquetWriter(self._file, schema)

    def _write_matrix(self, outputs: NDArray[np.float64]) -> None:
        if self.n_rows == 0:
            self._start, self._width = self._file.tell(), outputs.shape[1]
            self._write_header(0)
        self._file.write(np.ascontiguousarray(outputs).tobytes())

    def _write_header(self, n_rows: int) -> None:
        # NumPy leaves room in it for a larger number of rows.
        header = {"descr": "<f8", "fortran_order": False, "shape": (n_rows, self._width)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _has_marks(table: Any, delimiter: str) -> bool:
    """Whether a text of the table needs quotes; there are as many as classes."""
    for column in table.columns:
        if pa.types.is_string(column.type):
            for text in column.unique().to_pylist():
                if text is not None and (not text or any(mark in text for mark in (delimiter, '"', "\n", "\r"))):
                    return True
    return False


@contextmanager
def opened_for_answers(name: str, kind: str) -> Iterator[IO[bytes]]:
    """Open the file of answers; `-` is standard output. A file appears, or is replaced, when all is written.

    Raises:
        RowsError: standard output has no position, which npy needs.
        OSError: it cannot be written.
    """
    if name == "-":
        if sys.stdout is None:
            raise OSError(9, os.strerror(9))
        if kind == "npy":
            raise RowsError("npy needs a file: name it with -o")
        yield sys.stdout.buffer
        return
    path = Path(name)
    is_file = path.is_file() or not path.exists()  # and no pipe or device
    path = path.resolve()  # of a link, the file that it names
    part: str | None = None
    try:
        if is_file:
            number, part = tempfile.mkstemp(prefix=".perceptron-", dir=path.parent)
        with open(number if is_file else path, "wb") as file:
            yield file
        if part is not None:
            Path(part).chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
            Path(part).replace(path)
    except BaseException as error:
        if part is not None:
            with suppress(OSError):
                Path(part).unlink()
        if isinstance(error, OSError) and (error.filename is None or str(error.filename).startswith(str(path.parent))):
            error.filename = name
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
