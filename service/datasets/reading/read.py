"""Reads a table, whatever its file is, into one Parquet file and its schema."""

import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from service.datasets.reading.ahead import ahead
from service.datasets.reading.column_types import Verdict, decide, reading_of
from service.datasets.reading.columns import ColumnReader, Reading, Rules
from service.datasets.reading.describe import describe
from service.datasets.reading.levels import LevelMemory, LevelTable
from service.datasets.reading.limits import TableLimits
from service.datasets.reading.options import ReadOptions
from service.datasets.reading.output import OutputColumn
from service.datasets.reading.parquet import write_parquet
from service.datasets.reading.sources.choose import open_source
from service.datasets.reading.sources.source import Array, Heading, Source
from service.datasets.reading.spill import Spill
from service.http.errors import TableError
from storage.datasets.schema import TableSchema, TableWarning

_MAX_COUNTED = 10_000
_MAX_COUNTED_TOGETHER = 1_000_000
"""Up to so many different values are counted: of one column, and of all of them."""


def read_table(
    source: Path,
    *,
    media_type: str,
    content_encoding: str,
    options: ReadOptions,
    limits: TableLimits,
    destination: Path,
) -> TableSchema:
    """Read a file as it was uploaded and write it as Parquet.

    The same table gives the same bytes, whether it has a byte order mark or compression. A column of numbers is
    float64, one of booleans bool, one of categories a dictionary of its sorted levels, the same one in every row group.
    Dates, and categories that are too many, are text; a column without values is null. Temporary files are made in the
    folder of the destination.

    Raises:
        TableError: the file is no table that we take; the destination may be there then, and is of no use.
        InvalidRequestError: an option names a column that is not there, or a character set that does not exist.
        UnsupportedMediaTypeError: no media type or coding that we read.
    """
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix="reading-") as folder:
        table = open_source(
            source,
            media_type=media_type,
            content_encoding=content_encoding,
            options=options,
            limits=limits,
            folder=Path(folder),
        )
        try:
            return _read(table, options, limits, Path(folder), destination)
        except TableError as error:
            _add_line(error, table)
            raise


class _Pass(NamedTuple):
    columns: list[ColumnReader]
    verdicts: list[Verdict]

    @property
    def needed(self) -> list[Reading | None]:
        """How each column must be read."""
        return [reading_of(*each) for each in zip(self.verdicts, self.columns, strict=True)]

    @property
    def is_final(self) -> bool:
        """Whether each column was read as its type needs."""
        readings = zip(self.needed, self.columns, strict=True)
        return all(needed in (None, column.reading) for needed, column in readings)


def _read(table: Source, options: ReadOptions, limits: TableLimits, folder: Path, destination: Path) -> TableSchema:
    heading = table.heading
    options.check_columns([name for name in heading.names if name])
    with Spill(folder / "first") as spill:
        first = _read_once(table, options, limits, spill, [None] * len(heading.names))
        if first.is_final:
            return _write(heading, first, spill, limits, destination)
    with Spill(folder / "second") as spill:
        second = _read_once(table, options, limits, spill, first.needed)
        return _write(heading, second, spill, limits, destination)


def _read_once(
    table: Source, options: ReadOptions, limits: TableLimits, spill: Spill, readings: Sequence[Reading | None]
) -> _Pass:
    """Read all rows, and keep them unless a column turns out to be another one than its first values said."""
    heading = table.heading
    max_levels = _max_counted(len(heading.names), limits)
    memory = LevelMemory()
    decimal = options.decimal if heading.delimiter else "."
    columns = [
        ColumnReader(
            Rules(kind, options.types.get(name), decimal, options.null_values),
            LevelTable(max_levels, memory),
            reading,
        )
        for name, kind, reading in zip(heading.names, heading.kinds, readings, strict=True)
    ]
    n_rows = 0
    middle = len(columns) // 2

    def keep(halves: Sequence[Future[list[Array]]]) -> None:
        read = [array for half in halves for array in half.result()]
        if read and not any(column.is_contradicted for column in columns):
            spill.append(read)

    # One block is parsed, the one before it is read, and the one before that is written, all at the same time.
    with closing(ahead(table.blocks())) as blocks, ThreadPoolExecutor(1) as left, ThreadPoolExecutor(1) as right:
        last: Sequence[Future[list[Array]]] = ()
        for block in blocks:
            n_rows += block.n_rows
            now = (
                left.submit(_add, columns[:middle], block.columns[:middle]),
                right.submit(_add, columns[middle:], block.columns[middle:]),
            )
            keep(last)
            last = now
        keep(last)
    if n_rows == 0:
        raise TableError("no_rows", "the table has columns and no row")
    for column in columns:
        column.finish()
    verdicts = [
        decide(name or f"number {i}", column, limits, heading.mixtures.get(i))
        for i, (name, column) in enumerate(zip(heading.names, columns, strict=True))
    ]
    return _Pass(columns, verdicts)


def _add(columns: Sequence[ColumnReader], values: Sequence[Array]) -> list[Array]:
    return [column.add(of_column) for column, of_column in zip(columns, values, strict=True)]


def _write(heading: Heading, read: _Pass, spill: Spill, limits: TableLimits, destination: Path) -> TableSchema:
    kept, warnings = _named_columns(heading, read)
    columns = [OutputColumn(heading.names[i], read.verdicts[i], read.columns[i], limits) for i in kept]
    n_rows = read.columns[0].n_rows
    blocks = ([block[i] for i in kept] for block in spill.blocks())
    max_distinct = _max_counted(len(heading.names), limits)
    statistics = write_parquet(destination, columns, blocks, n_rows, max_distinct)
    return TableSchema(
        rows=n_rows,
        columns=tuple(describe(*each) for each in zip(columns, statistics, strict=True)),
        warnings=(*heading.warnings, *warnings),
        delimiter=heading.delimiter,
    )


def _named_columns(heading: Heading, read: _Pass) -> tuple[list[int], list[TableWarning]]:
    """Give the columns to keep: one without a name must be an index or empty."""
    warnings = []
    last = len(heading.names) - 1
    for i, (name, verdict, column) in enumerate(zip(heading.names, read.verdicts, read.columns, strict=True)):
        if name:
            continue
        if heading.has_extra_field and i == last:
            if verdict.type != "empty":
                _refuse_extra_field(column, last)
        elif verdict.type == "empty":
            warnings.append(TableWarning("unnamed_empty_column", f"column {i} has no name and no values: left out"))
        elif i == 0 and verdict.type == "numeric" and column.is_index and column.n_nulls == 0:
            warnings.append(TableWarning("index_column", "the first column has no name and counts the rows: left out"))
        else:
            detail = f"the column at position {i} (from 0) has values and no name"
            raise TableError("empty_name", detail, line=1, more={"position": i})
    kept = [i for i, name in enumerate(heading.names) if name]
    if not kept:
        raise TableError("empty_name", "no column has a name", line=1, more={"position": 0})
    return kept, warnings


def _refuse_extra_field(column: ColumnReader, n_columns: int) -> None:
    row = column.first_row or 0
    detail = f"row {row} has {n_columns + 1} fields, but the header has {n_columns}: no value is guessed"
    raise TableError("ragged_row", detail, row=row, more={"expected": n_columns, "got": n_columns + 1})


def _add_line(error: TableError, table: Source) -> None:
    """Add the line of the file to an error that knows its row."""
    row = error.members.get("row")
    if row is None or "line" in error.members:
        return
    for block in table.blocks():
        if row < block.n_rows:
            if block.line_of is not None:
                error.members["line"] = block.line_of(row)
            return
        row -= block.n_rows


def _max_counted(n_columns: int, limits: TableLimits) -> int:
    return max(limits.max_categories, min(_MAX_COUNTED, _MAX_COUNTED_TOGETHER // n_columns))
