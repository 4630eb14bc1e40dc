"""Data frames of pandas and polars, and tables of pyarrow: recognised without importing any of them."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator
from typing import Any

from perceptron_client.errors import InvalidArgument

ARROW_STREAM = "application/vnd.apache.arrow.stream"

_ROWS_AT_ONCE = 65_536


def kind_of_frame(value: Any) -> str | None:
    """Return `pandas`, `polars` or `pyarrow` if the value is a table of one of them."""
    package, _, _ = type(value).__module__.partition(".")
    if package in ("pandas", "polars") and type(value).__name__ == "DataFrame":
        return package
    if package == "pyarrow" and type(value).__name__ in ("Table", "RecordBatch"):
        return package
    # A subclass, such as that of geopandas.
    if any(each.__module__.startswith("pandas.") and each.__name__ == "DataFrame" for each in type(value).__mro__):
        return "pandas"
    return None


def has_pyarrow() -> bool:
    """Tell whether pyarrow can be imported."""
    if "pyarrow" in sys.modules:
        return sys.modules["pyarrow"] is not None
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


def column_names(frame: Any) -> list[str]:
    """Return the names of the columns.

    Raises:
        InvalidArgument: a name is no text, or there are two columns of a name.
    """
    names = frame.schema.names if kind_of_frame(frame) == "pyarrow" else list(frame.columns)
    texts = [str(name) for name in names]
    wrong = next((name for name in names if not isinstance(name, str | int)), None)
    if wrong is not None:
        raise InvalidArgument(f"the name of a column must be a text, not {wrong!r}")
    twice = next((name for name in texts if texts.count(name) > 1), None) if len(set(texts)) < len(texts) else None
    if twice is not None:
        raise InvalidArgument(f"there are two columns {twice!r}")
    return texts


def to_columns(frame: Any) -> dict[str, list[Any]]:
    """Return the cells of each column as Python has them; a missing one, also NaN, is None."""
    names = column_names(frame)
    kind = kind_of_frame(frame)
    if kind != "pandas":
        lists = (
            [column.to_pylist() for column in frame.columns]
            if kind == "pyarrow"
            else [column.to_list() for column in frame.get_columns()]
        )
        without_nan = ([None if cell != cell else cell for cell in cells] for cells in lists)
        return dict(zip(names, without_nan, strict=True))
    columns = {}
    for k, name in enumerate(names):
        series = frame.iloc[:, k]
        cells, is_missing = series.tolist(), series.isna().tolist()
        columns[name] = [None if gap else cell for cell, gap in zip(cells, is_missing, strict=True)]
    return columns


def to_records(frame: Any) -> list[dict[str, Any]]:
    """Return an object by column name for each row."""
    columns = to_columns(frame)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def as_arrow(frame: Any) -> Any:
    """Return what `arrow_parts` writes: a table of pyarrow, or a frame of polars, which writes itself.

    Raises:
        InvalidArgument: a column cannot be written as Arrow.
    """
    names, kind = column_names(frame), kind_of_frame(frame)
    if kind == "polars":
        wrong = next((name for name, dtype in frame.schema.items() if str(dtype) == "Object"), None)
        if wrong is not None:
            raise InvalidArgument(f"column {wrong!r} has Python objects")
        return frame
    import pyarrow as pa

    if kind == "pandas":
        try:
            table = pa.Table.from_pandas(frame.set_axis(names, axis=1), preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise InvalidArgument(f"this data frame cannot be sent: {error}") from error
    else:
        table = frame if type(frame).__name__ == "Table" else pa.Table.from_batches([frame])
    # One dictionary for each column: the stream must not replace them.
    return table.unify_dictionaries().replace_schema_metadata(None)


def arrow_parts(table: Any) -> Iterator[bytes]:
    """Yield the parts of the Arrow IPC stream of what `as_arrow` returned."""
    sink = io.BytesIO()
    if kind_of_frame(table) == "polars":
        import polars as pl

        table.write_ipc_stream(sink, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
        yield sink.getvalue()
        return
    import pyarrow as pa

    with pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            writer.write_batch(batch)
            yield _taken(sink)
    yield _taken(sink)


def can_be_arrow(frame: Any) -> bool:
    """Tell whether the packages that `as_arrow` needs are there."""
    return kind_of_frame(frame) in ("polars", "pyarrow") or has_pyarrow()


def _taken(sink: io.BytesIO) -> bytes:
    content = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return content


def csv_of_pandas(frame: Any) -> tuple[bytes, dict[str, str]]:
    """Return a pandas frame as CSV, where there is no pyarrow, and the types that CSV cannot tell.

    Texts that look like numbers stay texts. A missing value and an empty text are the same in CSV.
    """
    names = column_names(frame)
    types = {}
    for k, name in enumerate(names):
        cells = frame.iloc[:, k]
        if any(isinstance(cell, str) for cell in cells):
            types[name] = "categorical"
        elif any(isinstance(cell, float) and math.isinf(cell) for cell in cells):
            raise InvalidArgument(f"column {name!r} has an infinity")
    return frame.set_axis(names, axis=1).to_csv(index=False, lineterminator="\n").encode(), types
