"""CSV and its relatives."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from service.datasets.reading.limits import TableLimits
from service.datasets.reading.options import ReadOptions
from service.datasets.reading.sources.characters import Characters, check_utf8
from service.datasets.reading.sources.content import check_columns, check_rows
from service.datasets.reading.sources.header import find_delimiter, read_header
from service.datasets.reading.sources.records import Cut, Dialect, Record, StrayQuoteError
from service.datasets.reading.sources.source import Array, Block, Heading
from service.http.errors import TableError
from storage.datasets.schema import TableWarning

BLOCK_BYTES = 2**20
_SAMPLE_BYTES = 2**18
MAX_BLOCK_BYTES = 16 * 2**20
_ROWS_OF_WIDE_TABLES = 500
"""A block has so many at least, as far as its largest size allows: each column of each block has a cost."""


class _Text(NamedTuple):
    """Whole records."""

    text: bytes
    line: int
    """of the file, where they begin"""
    offset: int
    """in bytes of the file, as UTF-8"""


@dataclass(frozen=True)
class DelimitedTable:
    """A file of delimited text. Every column is cells."""

    characters: Characters
    options: ReadOptions
    limits: TableLimits

    @cached_property
    def _start(self) -> tuple[bytes, bool]:
        """The start of the file, with the first records, and whether it is the whole file."""
        text = b""
        for chunk in self.characters.chunks():
            text += chunk
            if len(text) >= BLOCK_BYTES and len(text) > self.limits.max_line_bytes:
                return text, False
        return text, True

    @cached_property
    def _dialect(self) -> Dialect:
        text, is_whole = self._start
        newline = b"\r" if b"\r" in text and b"\n" not in text else b"\n"
        delimiter = self.options.delimiter or find_delimiter(
            text, is_whole=is_whole, options=self.options, newline=newline
        )
        return Dialect(delimiter.encode(), newline)

    @cached_property
    def _first_records(self) -> list[Record]:
        """The header, if there is one, and up to 1,000 records after it."""
        text, is_whole = self._start
        check_utf8(text if is_whole else text[: text.rfind(self._dialect.newline) + 1], 1, self.characters.n_mark_bytes)
        records = []
        for record in self._dialect.records(text):
            records.append(record)
            if len(records) > 1_000 or record.start > _SAMPLE_BYTES:
                break
        if not is_whole and len(records) > 1:
            records.pop()  # it may be cut off
        if is_whole and not text.strip():
            raise TableError("empty_file", "the file is empty")
        if not records or (not is_whole and len(records) == 1 and self._dialect.cut(text).end == 0):
            # Its quotes are wrong or it is too long: reading says so.
            for _ in self._texts(_Text(b"", 1, self.characters.n_mark_bytes)):
                pass
            raise TableError("field_too_long", "the first record does not end", line=1)
        return records

    @cached_property
    def heading(self) -> Heading:
        """The names of the header, or c0, c1, ...

        Raises:
            TableError: there is nothing, or the names are no names.
        """
        records = self._first_records
        fields = records[0].fields
        check_columns(len(fields), self.limits)
        warnings = list(self.characters.warnings)
        if self.options.header is False:
            names: tuple[str, ...] = tuple(f"c{i}" for i in range(len(fields)))
        else:
            names, of_names = read_header(fields)
            warnings += of_names
            records = records[1:]
        has_extra_field = bool(records) and all(
            len(record.fields) == len(names) + 1 and record.fields[-1] == b"" for record in records
        )
        if has_extra_field:
            detail = "each record ends with a delimiter, and the header does not: it was left out"
            warnings.append(TableWarning("trailing_delimiter", detail))
            names = (*names, "")
        return Heading(
            names,
            tuple("cells" for _ in names),
            tuple(warnings),
            self._dialect.delimiter.decode(),
            has_extra_field=has_extra_field,
        )

    def blocks(self) -> Iterator[Block]:
        """Read all rows.

        Raises:
            TableError: the file is no text, a record is not as wide as the header, or a quote is not closed.
        """
        n_names = len(self.heading.names)
        columns = [str(i) for i in range(n_names)]
        delimiter = self._dialect.delimiter.decode()
        convert = pa.csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        )
        first_row = 0
        for text in self._texts(self._after_header()):
            check_utf8(*text)
            read = pa.csv.ReadOptions(use_threads=False, block_size=len(text.text) + 1, column_names=columns)
            has_quotes = b'"' in text.text
            parse = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=has_quotes)
            try:
                table = pa.csv.read_csv(pa.py_buffer(text.text), read, parse, convert)
            except pa.ArrowInvalid as error:
                if not any(self._dialect.records(text.text)):
                    continue  # empty lines alone
                self._refuse(text, first_row, error)
            check_rows(first_row + len(table), self.limits)
            arrays = list(map(_one_array, table.columns))
            if has_quotes and len(text.text) > self.limits.max_line_bytes:
                self._check_fields(text, arrays)
            yield Block(arrays, len(table), partial(self._line, text))
            first_row += len(table)

    def _after_header(self) -> _Text:
        """Say where the rows begin; its text is all that comes before them."""
        text, start = self._start[0], 0
        if self.options.header is not False:
            start = self._first_records[0].end
        return _Text(
            text[:start], 1 + text.count(self._dialect.newline, 0, start), self.characters.n_mark_bytes + start
        )

    def _texts(self, before: _Text) -> Iterator[_Text]:
        """Yield all records of the file after the text that is passed over, in blocks."""
        n_skipped, line, offset = len(before.text), before.line, before.offset
        waiting: list[bytes] = []
        n_waiting, n_wanted = 0, BLOCK_BYTES
        chunks = self.characters.chunks()
        for chunk in chunks:
            kept, n_skipped = chunk[n_skipped:], max(0, n_skipped - len(chunk))
            waiting.append(kept)
            n_waiting += len(kept)
            if n_waiting < n_wanted:
                continue
            text = b"".join(waiting)
            cut = self._cut(text, line)
            if cut.end == 0:
                if len(text) > self.limits.max_line_bytes:
                    self._refuse_long(text, line, cut, chunks)
                waiting, n_wanted = [text], n_waiting + 1
                continue
            whole, waiting = text[: cut.end], [text[cut.end :]]
            n_waiting = len(waiting[0])
            self._check_lines(whole, line)
            yield _Text(whole, line, offset)
            n_records = whole.count(self._dialect.newline)
            line += n_records
            offset += len(whole)
            n_wanted = min(max(BLOCK_BYTES, len(whole) // n_records * _ROWS_OF_WIDE_TABLES), MAX_BLOCK_BYTES)
        if text := b"".join(waiting):
            cut = self._cut(text, line)
            if cut.open_quote is not None:
                self._refuse_unclosed(text, line, cut.open_quote)
            self._check_lines(text, line)
            yield _Text(text, line, offset)

    def _cut(self, text: bytes, line: int) -> Cut:
        try:
            return self._dialect.cut(text)
        except StrayQuoteError as error:
            line += text.count(self._dialect.newline, 0, error.position)
            detail = f"text follows a closing quote in line {line}; a quote within quotes must be doubled"
            raise TableError("stray_quote", detail, line=line) from error

    def _check_lines(self, text: bytes, line: int) -> None:
        limit = self.limits.max_line_bytes
        if len(text) <= limit:
            return
        ends = np.flatnonzero(np.frombuffer(text, np.uint8) == self._dialect.newline[0])
        lengths = np.diff(ends, prepend=-1, append=len(text))
        if lengths.max() > limit:
            line += int((lengths > limit).argmax())
            self._refuse_line(line)

    def _check_fields(self, text: _Text, columns: list[Array]) -> None:
        """Check the fields whose lines are short, since they have line breaks within quotes."""
        for column in columns:
            lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
            if lengths.max(initial=0) > self.limits.max_line_bytes:
                self._refuse_line(self._line(text, int((lengths > self.limits.max_line_bytes).argmax())))

    def _refuse_line(self, line: int) -> NoReturn:
        limit = self.limits.max_line_bytes
        detail = f"a record or field may have at most {limit} bytes (MAX_LINE_BYTES); line {line} has more"
        raise TableError("field_too_long", detail, line=line, more={"limit": limit})

    def _refuse_long(self, text: bytes, line: int, cut: Cut, rest: Iterator[bytes]) -> NoReturn:
        """Refuse a record that does not end within the limit: the quote that it opens may never be closed."""
        if cut.open_quote is not None and not any(b'"' in chunk for chunk in rest):
            self._refuse_unclosed(text, line, cut.open_quote)
        self._refuse_line(line)

    def _refuse_unclosed(self, text: bytes, line: int, open_quote: int) -> NoReturn:
        line += text.count(self._dialect.newline, 0, open_quote)
        raise TableError("unclosed_quote", f"the quote that opens a field in line {line} is never closed", line=line)

    def _refuse(self, text: _Text, first_row: int, error: pa.ArrowInvalid) -> NoReturn:
        """Say which record is not as wide as the header."""
        expected = len(self.heading.names)
        for row, (start, _, fields) in enumerate(self._dialect.records(text.text), first_row):
            if len(fields) != expected:
                line = text.line + text.text.count(self._dialect.newline, 0, start)
                detail = f"line {line} has {_fields(len(fields))}, but the header has {expected}: no value is guessed"
                raise TableError(
                    "ragged_row", detail, row=row, line=line, more={"expected": expected, "got": len(fields)}
                ) from error
        raise TableError("malformed_csv", f"near line {text.line}: {error}"[:300], line=text.line) from error

    def _line(self, text: _Text, row: int) -> int:
        start = self._dialect.start_of_record(text.text, row)
        return text.line + text.text.count(self._dialect.newline, 0, start)


def _fields(n: int) -> str:
    return "1 field" if n == 1 else f"{n} fields"


def _one_array(column: pa.ChunkedArray) -> Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def with_delimiter(options: ReadOptions, media_type: str) -> ReadOptions:
    """Give the options for a media type: values that are separated by tabs need no search."""
    if media_type == "text/tab-separated-values" and options.delimiter is None:
        return replace(options, delimiter="\t")
    return options
