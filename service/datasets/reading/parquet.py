"""Writes the Parquet file of a table, part by part, and computes its statistics on the way."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from service.datasets.reading.ahead import ahead
from service.datasets.reading.output import OutputColumn, as_floats, rows_of_parts
from service.datasets.reading.sources.source import Array
from service.datasets.reading.statistics import NumberStatistics, RowSample


def write_parquet(
    destination: Path,
    columns: Sequence[OutputColumn],
    blocks: Iterator[Sequence[Array]],
    n_rows: int,
    max_distinct: int,
) -> list[NumberStatistics | None]:
    """Write a table whose bytes depend on its content alone.

    Row groups are parts of one size. A column of categories has all of them, sorted, as the dictionary of each part.

    Args:
        columns: those of the table.
        blocks: their values as read, in any number of rows.

    Returns:
        Statistics of the columns of numbers and booleans.
    """
    schema = pa.schema([(column.name, column.type) for column in columns])
    with_levels = [column.name for column in columns if column.categories is not None]
    statistics = [
        NumberStatistics(max_distinct) if column.verdict.type in ("numeric", "boolean") else None for column in columns
    ]
    sample = RowSample(n_rows, sum(each is not None for each in statistics))

    def count(part: Sequence[Array], first_row: int) -> None:
        sampled = sample.of(first_row, len(part[0]))
        for of_column, values in zip(statistics, part, strict=True):
            if of_column is not None:
                of_column.add(as_floats(values), sampled)

    n_rows_of_part = rows_of_parts(columns, n_rows)
    first_row = 0
    with (
        closing(ahead(_parts(blocks, columns, n_rows_of_part))) as parts,
        ThreadPoolExecutor(1) as thread,
        pq.ParquetWriter(
            destination,
            schema,
            version="2.6",
            compression="lz4",
            use_dictionary=with_levels or False,
            dictionary_pagesize_limit=2**30,  # beyond it, codes would become texts
            write_statistics=False,
        ) as writer,
    ):
        for part in parts:
            counting = thread.submit(count, part, first_row)
            writer.write_table(pa.Table.from_arrays(part, schema=schema), row_group_size=len(part[0]))
            counting.result()
            first_row += len(part[0])
    return statistics


def _parts(
    blocks: Iterator[Sequence[Array]], columns: Sequence[OutputColumn], n_rows_of_part: int
) -> Iterator[list[Array]]:
    """Yield the converted columns in parts of a fixed number of rows, each in one piece."""
    waiting: list[list[Array]] = [[] for _ in columns]
    n_waiting = 0
    for block in blocks:
        start, n_rows = 0, len(block[0])
        while start < n_rows:
            n = min(n_rows - start, n_rows_of_part - n_waiting)
            for chunks, column, values in zip(waiting, columns, block, strict=True):
                chunks.append(column.convert(values.slice(start, n)))
            n_waiting += n
            start += n
            if n_waiting == n_rows_of_part:
                yield [pa.concat_arrays(chunks) for chunks in waiting]
                waiting, n_waiting = [[] for _ in columns], 0
    if n_waiting:
        yield [pa.concat_arrays(chunks) for chunks in waiting]
