"""CSV and its relatives, cut into blocks of whole records that pyarrow reads as text."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from cli.rows.blocks import MAX_ROWS, Block
from cli.rows.cells import BadCellError, values_of
from cli.rows.records import (
    MAX_RECORD_BYTES,
    decoded,
    end_of_records,
    first_records,
    has_record,
    is_all_text,
    line_of_record,
)
from cli.rows.taken import RowsError, Taken
from storage.datasets.categories import trim

BLOCK_BYTES = 2**22
DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class TextOptions:
    """How a file of text is to be read; None: it is found out."""

    delimiter: str | None = None
    decimal: str = "."
    has_header: bool | None = None
    charset: str | None = None


@dataclass(frozen=True)
class _Start:
    """What the beginning of a file says about all of it."""

    delimiter: str
    newline: bytes
    names: Sequence[str]
    """of all columns of the file"""
    n_header_bytes: int


class DelimitedRows:
    """The rows of a file of text, for one version.

    Args:
        file: is read once, from its beginning to its end.
        source: the name of the file, for messages.
    """

    def __init__(self, file: IO[bytes], source: str, taken: Taken, options: TextOptions) -> None:
        self._source, self._taken, self._options = source, taken, options
        self._chunks = decoded(file, source, options.charset, BLOCK_BYTES)
        self._head = b""
        for chunk in self._chunks:
            self._head += chunk
            if len(self._head) >= BLOCK_BYTES and (has_record(self._head) or len(self._head) > MAX_RECORD_BYTES):
                break
        if not self._head.strip():
            raise RowsError(f"{source} is empty")
        self._start = self._look_at_start()
        self._places = taken.places_in(self._start.names, source)
        self.ignored = taken.ignored_in(self._start.names)
        """The columns that the model does not read."""

    def __iter__(self) -> Iterator[Block]:
        """Yield the rows in blocks.

        Raises:
            RowsError: the file is no such text, or a cell is no value of its column; the message names the line.
        """
        row, line = 0, 1 + self._head.count(self._start.newline, 0, self._start.n_header_bytes)
        is_plain = True  # every number so far is one that pyarrow reads by itself
        for text in self._texts():
            values = self._numbers(text) if is_plain else None
            if values is None:
                is_plain = False
                table = self._read(text, line)
                values = None if table is None else self._values(table, text, row, line)
            if values is not None:
                for start in range(0, len(values), MAX_ROWS):
                    yield Block(values.slice(start, MAX_ROWS), row + start)
                row += len(values)
            line += text.count(self._start.newline)

    def _look_at_start(self) -> _Start:
        newline = b"\r" if b"\r" in self._head and b"\n" not in self._head else b"\n"
        known = {*self._taken.names, self._taken.target}
        best: _Start | None = None
        best_key = (-1, False, 0)
        for delimiter in [self._options.delimiter] if self._options.delimiter else DELIMITERS:
            first, second, n_bytes = first_records(self._head, delimiter, newline, self._source)
            cells = [trim(cell) for cell in first]
            n_known = sum(cell in known for cell in cells)
            has_header = self._options.has_header
            if has_header is None:
                has_header = n_known > 0 or (not self._taken.is_table and is_all_text(cells))
            names = cells if has_header else self._names_without_header(len(cells))
            if second is not None and len(second) == len(names) + 1 and second[-1] == "":
                names = [*names, ""]  # each record ends with a delimiter
            key = (n_known, len(cells) == len(self._taken.columns), len(cells))
            if key > best_key:
                best, best_key = _Start(delimiter, newline, names, n_bytes if has_header else 0), key
        assert best is not None, "there is a delimiter"
        return best

    def _names_without_header(self, width: int) -> list[str]:
        """Return names for the columns of a file that has none."""
        counted = [f"c{k}" for k in range(width)]  # as the service names them when such a file is uploaded
        if set(self._taken.names) <= set(counted):
            return counted
        return self._taken.names if width == len(self._taken.columns) else counted

    def _texts(self) -> Iterator[bytes]:
        """Yield whole records, in blocks."""
        rest = self._head[self._start.n_header_bytes :]
        for chunk in self._chunks:
            if len(rest) >= BLOCK_BYTES:
                end = end_of_records(rest, self._start.newline)
                if end:
                    yield rest[:end]
                    rest = rest[end:]
                elif len(rest) > MAX_RECORD_BYTES:
                    raise RowsError(
                        f"{self._source} has a record of more than {MAX_RECORD_BYTES // 2**20} MB: "
                        "a quote that is never closed may be the reason"
                    )
            rest += chunk
        while len(rest) > 2 * BLOCK_BYTES and (end := end_of_records(rest[: 2 * BLOCK_BYTES], self._start.newline)):
            yield rest[:end]
            rest = rest[end:]
        if rest:
            yield rest

    def _numbers(self, text: bytes) -> Any:
        """Read records with their numbers in one step; None if a cell is missing or anything is wrong."""
        if any(column.kind == "boolean" for column in self._taken.columns):
            return None
        kinds = [pa.float64() if column.kind == "numeric" else pa.string() for column in self._taken.columns]
        try:
            table = self._table(text, kinds)
        except pa.ArrowInvalid:
            return None
        arrays = [_one_array(column) for column in table.columns]
        for array in arrays:
            if array.type == pa.float64() and not pc.all(pc.is_finite(array), skip_nulls=False).as_py():
                return None
        return pa.record_batch(arrays, names=self._taken.names)

    def _read(self, text: bytes, line: int) -> Any:
        """Read records as a table of text; None if all lines are empty."""
        try:
            return self._table(text, [pa.string()] * len(self._places))
        except pa.ArrowInvalid as error:
            if not text.strip(b"\r\n"):
                return None
            self._refuse(text, line, error)

    def _table(self, text: bytes, kinds: Sequence[Any]) -> Any:
        columns = [str(k) for k in range(len(self._start.names))]
        wanted = [str(k) for k in self._places]
        read = pa.csv.ReadOptions(column_names=columns, block_size=max(len(text) // 2, 2**16))
        parse = pa.csv.ParseOptions(delimiter=self._start.delimiter, newlines_in_values=b'"' in text)
        convert = pa.csv.ConvertOptions(
            column_types=dict(zip(wanted, kinds, strict=True)),
            include_columns=wanted,
            decimal_point=self._options.decimal,
        )
        return pa.csv.read_csv(pa.py_buffer(text), read, parse, convert)

    def _refuse(self, text: bytes, line: int, error: Exception) -> NoReturn:
        """Say which line pyarrow cannot read."""
        try:
            text.decode()
        except UnicodeDecodeError as of_text:
            at = line + text.count(self._start.newline, 0, of_text.start)
            remedy = "name its charset, for example --charset latin-1"
            raise RowsError(f"{self._source}, line {at}, is not UTF-8: {remedy}") from error
        width = len(self._start.names)
        with suppress(csv.Error):
            file = io.StringIO(text.decode(), newline="")
            reader = csv.reader(file, delimiter=self._start.delimiter)
            before = 0
            for record in reader:
                if record and len(record) != width:
                    what = f"{len(record)} value{'' if len(record) == 1 else 's'}, and not {width}"
                    raise RowsError(f"{self._source}, line {line + before}, has {what}") from error
                before = reader.line_num
        raise RowsError(f"{self._source}, near line {line}: {str(error)[:200]}") from error

    def _values(self, table: Any, text: bytes, first_row: int, line: int) -> Any:
        arrays = []
        for column, cells in zip(self._taken.columns, table.columns, strict=True):
            try:
                arrays.append(values_of(_one_array(cells), column, self._options.decimal))
            except BadCellError as error:
                at = line + line_of_record(text, error.row, self._start.delimiter)
                where = f"line {at} (row {first_row + error.row + 1})"
                raise RowsError(f"{self._source}, {where}: {error.reason}") from error
        return pa.record_batch(arrays, names=self._taken.names)


def _one_array(column: Any) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
