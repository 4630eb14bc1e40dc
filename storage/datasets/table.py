"""The file of a data set: one Parquet file whose columns have types, read some rows at a time.

A numeric column is one of float64, a boolean one of bool, and a categorical one a dictionary of its sorted levels, the
same in every row group. A date, or a text with too many different values, is a string, and an empty column is null.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from perceptron import UNKNOWN, Column
from storage.blobs import BlobStore
from storage.datasets.categories import canonical_category
from storage.errors import CorruptDataError
from storage.log.faults import describe

_TYPES = {pa.float64(), pa.bool_(), pa.dictionary(pa.int32(), pa.string()), pa.string(), pa.null()}


class Table:
    """An open file of a data set.

    Raises:
        CorruptDataError: it is no such file; any method may raise it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        with _readable():
            self._file = pq.ParquetFile(file)
            schema = self._file.schema_arrow  # made anew each time, in a time that grows with the columns
        if other := set(schema.types) - _TYPES:
            raise CorruptDataError(f"the file of a data set has a column of type {str(other.pop())[:100]}")
        self.n_rows: int = self._file.metadata.num_rows
        if self.n_rows < 0:
            raise CorruptDataError(f"the file of a data set has {self.n_rows} rows")
        self._types: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))
        self.names: tuple[str, ...] = tuple(schema.names)

    @classmethod
    @contextmanager
    def of(cls, blobs: BlobStore, digest: str) -> Iterator["Table"]:
        """Open the blob with this sha256.

        Raises:
            BlobNotFoundError, BlobStoreUnavailableError: there is no such blob, or it cannot be read now.
        """
        with blobs.open(digest) as file:
            yield cls(file)

    def rows(self, limit: int) -> list[dict[str, Any]]:
        """Return the first rows, each as an object of JSON by the name of the column; null is a missing value."""
        found: list[dict[str, Any]] = []
        for batch in self._batches(list(self.names)):
            with _readable():
                found += batch.slice(0, limit - len(found)).to_pylist()
            if len(found) == limit:
                break
        return found

    def matrix(self, columns: Sequence[Column], n_rows: int | None = None) -> NDArray[np.float64]:
        """Return the first rows, by default all, of some columns in the codes of `TableEncoder`, (n_rows, n_columns).

        A column of numbers may be read as one of categories.
        """
        n_rows = self.n_rows if n_rows is None else min(n_rows, self.n_rows)
        matrix = np.empty((n_rows, len(columns)))
        first = 0
        for block in self.blocks(columns):
            part = matrix[first : first + len(block)]
            part[...] = block[: len(part)]
            first += len(part)
            if first == n_rows:
                break
        if first < n_rows:
            raise CorruptDataError(f"the table has {first} rows, not {n_rows}")
        return matrix

    def blocks(self, columns: Sequence[Column]) -> Iterator[NDArray[np.float64]]:
        """Yield all rows as `matrix` gives them, some at a time."""
        levels = [None if column.kind != "categorical" else pa.array(column.levels, pa.string()) for column in columns]
        for batch in self._batches([column.name for column in columns]):
            block = np.empty((len(batch), len(columns)))
            with _readable():
                for k, (values, column) in enumerate(zip(batch.columns, columns, strict=True)):
                    block[:, k] = _codes(values, column, levels[k])
            yield block

    def columns(self, names: Sequence[str], categorical: frozenset[str] = frozenset()) -> tuple[Column, ...]:
        """Return the columns with these names as the file has them.

        Args:
            categorical: columns of numbers to take for categories.
        """
        kinds = {name: self._types[name] for name in names}
        found = self._levels([name for name in names if pa.types.is_dictionary(kinds[name]) or name in categorical])
        return tuple(
            Column(name, "categorical", found[name])
            if name in found
            else Column(name, "boolean" if pa.types.is_boolean(kinds[name]) else "numeric")
            for name in names
        )

    def _levels(self, names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {name: set() for name in names}
        for batch in self._batches(list(names)) if names else ():
            with _readable():
                for name, values in zip(names, batch.columns, strict=True):
                    dictionary = values.dictionary if isinstance(values, pa.DictionaryArray) else values.unique()
                    found[name].update(_texts(dictionary).drop_null().to_pylist())
        return {name: tuple(sorted(levels)) for name, levels in found.items()}

    def _batches(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        with _readable():
            # One row group after the other: over all of them, pyarrow keeps what it has decoded.
            for group in range(self._file.metadata.num_row_groups):
                yield from self._file.iter_batches(batch_size=65_536, row_groups=[group], columns=names)


def _codes(values: pa.Array, column: Column, levels: pa.Array | None) -> NDArray[np.float64]:
    """Give one column of some rows in the codes of `TableEncoder`."""
    if levels is None:
        numbers: NDArray[np.float64] = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False)
        return numbers
    if not isinstance(values, pa.DictionaryArray):
        values = values.dictionary_encode()
    code_of = pc.fill_null(pc.cast(pc.index_in(_texts(values.dictionary), levels), pa.float64()), UNKNOWN)
    codes: NDArray[np.float64] = code_of.take(values.indices).to_numpy(zero_copy_only=False)
    return codes


def _texts(values: pa.Array) -> pa.Array:
    """Give the categories that values stand for."""
    if pa.types.is_string(values.type):
        return values
    return pa.array([canonical_category(value) for value in values.to_pylist()], pa.string())


@contextmanager
def _readable() -> Iterator[None]:
    """Raise CorruptDataError for what pyarrow cannot read."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise  # of the machine, not of the bytes
        raise CorruptDataError(f"the file of a data set cannot be read: {describe(error)}") from error
