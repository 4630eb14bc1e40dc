"""Leave out the rows of a table whose target is missing: the service learns from no such row."""

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from cli.rows.files import opened, seekable
from cli.rows.records import MAX_RECORD_BYTES
from cli.rows.taken import RowsError
from perceptron_client.answers.datasets import Dataset
from storage.datasets.categories import NULL_SPELLINGS, trim


def without_gaps(
    path: Path, kind: str, dataset: Dataset, target: str, *, charset: str | None, null_values: str | None
) -> IO[bytes]:
    """Return a copy of a file without the rows whose target is missing, as a temporary file.

    Args:
        kind: csv, tsv, json, jsonl, parquet or arrow.
        dataset: the same file, as the service read it: its delimiter, and the type of the target.
        null_values: the texts that stand for a missing value, with commas; None: those of the rules.

    Raises:
        RowsError: the format has no gaps, or no row is left.
    """
    column = next(each for each in dataset.columns or () if each.name == target)
    copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    with ExitStack() as on_exit:
        file = opened(str(path), on_exit)
        try:
            if kind in ("csv", "tsv"):
                n_left = _copy_text(file, copy, dataset, target, _is_missing(column.type, null_values), charset)
            elif kind in ("json", "jsonl"):
                n_left = _copy_records(file, copy, target, is_list=kind == "json")
            elif kind in ("parquet", "arrow"):
                n_left = _copy_table(seekable(file, on_exit), copy, target, is_parquet=kind == "parquet")
            else:
                raise RowsError(f"{path} is {kind}, which has no missing values")
        except (ValueError, RecursionError, StopIteration, csv.Error, pa.ArrowException) as error:
            reason = str(error)[:200] or type(error).__name__
            raise RowsError(f"{path} cannot be copied without rows whose {target!r} is missing: {reason}") from error
    if n_left == 0:
        raise RowsError(f"{path} has no row with a value of {target!r}")
    copy.seek(0)
    return copy


def _is_missing(of_type: str, null_values: str | None) -> Callable[[str], bool]:
    """Return the rule of the service: a text keeps NA and the like as categories."""
    if null_values is not None:
        named = {"", *map(trim, null_values.split(","))}
        return lambda text: trim(text) in named
    if of_type == "categorical":
        return lambda text: not trim(text)
    return lambda text: not trim(text) or trim(text).lower() in NULL_SPELLINGS


def _copy_text(
    file: Any, copy: IO[bytes], dataset: Dataset, target: str, is_missing: Callable[[str], bool], charset: str | None
) -> int:
    delimiter = str(dataset.raw.get("delimiter") or ",")
    csv.field_size_limit(MAX_RECORD_BYTES)
    reader = csv.reader(io.TextIOWrapper(file, charset or "utf-8-sig", newline=""), delimiter=delimiter)
    text = io.TextIOWrapper(copy, "utf-8", newline="", write_through=True)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    header = next(reader)
    place = [trim(name) for name in header].index(target)
    writer.writerow(header)
    n_left = 0
    for record in reader:
        if record and (len(record) <= place or not is_missing(record[place])):
            writer.writerow(record)
            n_left += 1
    text.detach()
    return n_left


def _copy_records(file: Any, copy: IO[bytes], target: str, *, is_list: bool) -> int:
    records: Iterator[Any] = iter(json.load(file)) if is_list else (json.loads(line) for line in file if line.strip())
    n_left = 0
    copy.write(b"[" if is_list else b"")
    for record in records:
        if isinstance(record, dict) and record.get(target) is None:
            continue
        copy.write((b",\n" if n_left and is_list else b"") + json.dumps(record).encode() + (b"" if is_list else b"\n"))
        n_left += 1
    copy.write(b"]" if is_list else b"")
    return n_left


def _copy_table(file: Any, copy: IO[bytes], target: str, *, is_parquet: bool) -> int:
    """Write an Arrow stream, whatever came."""
    if is_parquet:
        import pyarrow.parquet as pq

        parquet = pq.ParquetFile(file)
        schema, batches = parquet.schema_arrow, parquet.iter_batches()
    else:
        stream = pa.ipc.open_stream(file)
        schema, batches = stream.schema, iter(stream)
    n_left = 0
    with pa.ipc.new_stream(copy, schema) as writer:
        for batch in batches:
            targets = batch.column(target)
            is_gap = pc.is_null(targets, nan_is_null=pa.types.is_floating(targets.type))
            left = batch.filter(pc.invert(is_gap))
            n_left += len(left)
            writer.write_batch(left)
    return n_left
