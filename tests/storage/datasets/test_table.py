"""Reading the columns of a data set's file, against numbers worked out by hand."""

import errno
import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perceptron import UNKNOWN, Column
from storage.datasets.table import Table
from storage.errors import CorruptDataError

NAN = float("nan")


def a_table(columns: dict[str, Any], **options: Any) -> Table:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, **options)
    return Table(file)


COLUMNS = {
    "age": pa.array([1.5, None, 3.0, 4.0]),
    "plan": pa.array(["pro", "basic", None, "pro"]).dictionary_encode(),
    "member": pa.array([True, False, None, True]),
    "store": pa.array([10.0, 2.0, None, 10.0]),
}


@pytest.mark.parametrize("row_group_size", [1, 3, 100])
def test_numbers_stay_and_categories_become_codes(row_group_size: int) -> None:
    table = a_table(COLUMNS, row_group_size=row_group_size)
    columns = table.columns(["plan", "age", "member"])
    assert columns == (
        Column("plan", "categorical", ("basic", "pro")),
        Column("age", "numeric"),
        Column("member", "boolean"),
    )
    np.testing.assert_array_equal(table.matrix(columns), [[1, 1.5, 1], [0, NAN, 0], [NAN, 3, NAN], [1, 4, 1]])
    np.testing.assert_array_equal(table.matrix(columns, 2), [[1, 1.5, 1], [0, NAN, 0]])


def test_numbers_can_be_taken_for_categories_in_the_order_of_their_texts() -> None:
    table = a_table(COLUMNS, row_group_size=1)
    columns = table.columns(["store", "member"], frozenset({"store", "member"}))
    assert columns == (Column("store", "categorical", ("10", "2")), Column("member", "categorical", ("false", "true")))
    np.testing.assert_array_equal(table.matrix(columns), [[0, 1], [1, 0], [NAN, NAN], [0, 1]])


def test_a_category_that_is_no_level_is_unknown() -> None:
    table = a_table(COLUMNS)
    values = table.matrix([Column("plan", "categorical", ("pro",))])[:, 0]
    np.testing.assert_array_equal(values, [0, UNKNOWN, NAN, 0])


def test_rows_are_objects_by_name_with_null_for_what_is_missing() -> None:
    assert a_table(COLUMNS, row_group_size=1).rows(2) == [
        {"age": 1.5, "plan": "pro", "member": True, "store": 10.0},
        {"age": None, "plan": "basic", "member": False, "store": 2.0},
    ]


def test_a_file_that_is_none_is_said_to_be_damaged() -> None:
    with pytest.raises(CorruptDataError, match="cannot be read"):
        Table(io.BytesIO(b"no table"))


def test_the_schema_of_the_file_is_made_once_however_many_columns_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n_made = 0  # each time takes about as long as there are columns: 400 s for 20,000 of them

    class Counted(pq.ParquetFile):
        @property
        def schema_arrow(self) -> pa.Schema:
            nonlocal n_made
            n_made += 1
            return super().schema_arrow

    monkeypatch.setattr(pq, "ParquetFile", Counted)
    table = a_table(COLUMNS)
    table.columns(table.names)
    assert n_made == 1


def test_a_file_of_which_one_byte_is_damaged_is_read_or_said_to_be_damaged() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"age": [1.5, None], "member": [True, False]}), file)
    content, n_damaged = file.getvalue(), 0
    for k in range(len(content)):
        damaged = io.BytesIO(content[:k] + bytes([content[k] ^ 0xFF]) + content[k + 1 :])
        try:
            table = Table(damaged)
            table.rows(2)
            table.matrix(table.columns(table.names))
        except CorruptDataError:
            n_damaged += 1
    assert n_damaged > 100


def test_a_fault_of_the_disk_is_no_damage() -> None:
    class Failing(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        Table(Failing(b"PAR1" * 100))


def test_a_column_of_a_type_that_is_never_stored_is_damage() -> None:
    with pytest.raises(CorruptDataError, match="has a column of type int64"):
        a_table({"age": [1, 2]})
