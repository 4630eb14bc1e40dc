"""Files whose columns have types: Parquet, Arrow, npy, npz, JSON."""

import datetime
import gzip
import io
import json
import zipfile
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from service.datasets.reading import TableLimits
from service.datasets.reading.sources.arrow_tables import ParquetTable
from tests.service.datasets.reader import Reader, codes

PARQUET, ARROW = "application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"
NPY, NPZ = "application/x-npy", "application/x-npz"
JSON, LINES = "application/json", "application/jsonlines"


@pytest.fixture
def read(tmp_path):
    return Reader(tmp_path)


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def arrow(*batches: pa.RecordBatch, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, **options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def npy(array: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


TYPED = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int64()),
        "u": pa.array([1, 2, 3], pa.uint8()),
        "f": pa.array([0.5, float("nan"), None], pa.float32()),
        "h": pa.array(np.array([0.5, 1, 2], np.float16)),
        "b": pa.array([True, None, False]),
        "d": pa.array([Decimal("1.10"), None, Decimal("-2.25")], pa.decimal128(10, 2)),
        "t": pa.array([datetime.datetime(2024, 1, 31, 10)] * 3, pa.timestamp("ms", "UTC")),
        "day": pa.array([datetime.date(2024, 1, 31)] * 3),
        "s": pa.array(["x", "1", ""]),
        "v": pa.array(["x", None, "y"], pa.string_view()),
        "l": pa.array(["x", None, "y"], pa.large_string()),
        "c": pa.DictionaryArray.from_arrays(pa.array([2, None, 0], pa.int8()), ["r", "unused", "a"]),
        "n": pa.DictionaryArray.from_arrays(pa.array([0, None, 0], pa.int8()), pa.array([1.5])),
        "z": pa.nulls(3),
    }
)
ROWS = [
    [1, 1, 0.5, 0.5, True, 1.1, "2024-01-31 10:00:00.000Z", "2024-01-31", "x", "x", "x", "a", 1.5, None],
    [None, 2, None, 1, None, None, "2024-01-31 10:00:00.000Z", "2024-01-31", "1", None, None, None, None, None],
    [3, 3, None, 2, False, -2.25, "2024-01-31 10:00:00.000Z", "2024-01-31", None, "y", "y", "r", 1.5, None],
]
KINDS = ["numeric"] * 4 + ["boolean", "numeric", "date", "date"] + ["categorical"] * 4 + ["numeric", "empty"]


@pytest.mark.parametrize(
    ("body", "media_type"), [(parquet(TYPED), PARQUET), (arrow(*TYPED.to_batches()), ARROW)], ids=["parquet", "arrow"]
)
def test_types_of_columns_are_kept(read, body, media_type):
    schema = read(body, media_type)
    assert read.rows() == ROWS
    assert [column.type for column in schema.columns] == KINDS
    assert schema.delimiter is None
    by_name = {column.name: column for column in schema.columns}
    assert by_name["s"].categories == ("1", "x")
    assert codes(by_name["s"]) == []
    assert by_name["c"].categories == ("a", "r")
    assert codes(by_name["day"]) == ["dates_not_used"]


def test_a_file_of_many_row_groups_is_one_table(read):
    table = pa.table({"a": list(range(100)), "c": [f"v{i % 3}" for i in range(100)]})
    schema = read(parquet(table, row_group_size=7), PARQUET)
    assert (schema.rows, schema.columns[0].mean) == (100, 49.5)
    once = read.parquet.read_bytes()
    read(parquet(table), PARQUET)
    assert read.parquet.read_bytes() == once


def test_dictionaries_that_change_between_batches_give_one_set_of_levels(read):
    def batch(codes_: list[int | None], levels: list[str | None]) -> pa.RecordBatch:
        values = pa.DictionaryArray.from_arrays(pa.array(codes_, pa.int32()), pa.array(levels))
        return pa.record_batch([values], ["c"])

    schema = read(arrow(batch([0, 1, None], ["b", None]), batch([0, 1, 1], ["a", "b"])), ARROW)
    assert read.rows() == [["b"], [None], [None], ["a"], ["b"], ["b"]]
    assert (schema.columns[0].nulls, schema.columns[0].categories) == (2, ("a", "b"))


@pytest.mark.parametrize("of_type", [pa.int64(), pa.uint64(), pa.decimal128(20, 0)])
def test_whole_numbers_that_are_not_exact_as_floats_are_categories(read, of_type):
    large = [Decimal(2**53 + k) if pa.types.is_decimal(of_type) else 2**53 + k for k in (1, 3, 1)]
    column = read(parquet(pa.table({"id": pa.array(large, of_type)})), PARQUET).columns[0]
    assert (column.categories, codes(column)) == (
        ("9007199254740993", "9007199254740995"),
        ["whole_numbers_too_large"],
    )


def test_types_can_be_asked_for_in_typed_files(read):
    table = pa.table({"a": [1.0, 2.5, 1.0], "b": [1, 0, 1], "s": ["01", "2", "3"], "t": [True, False, True]})
    asked = {"a": "categorical", "b": "boolean", "s": "numeric", "t": "numeric"}
    read(parquet(table), PARQUET, types=json.dumps(asked))
    assert read.rows() == [["1", True, 1, 1], ["2.5", False, 2, 0], ["1", True, 3, 1]]


def test_null_values_count_in_columns_of_numbers_that_have_types(read):
    schema = read(parquet(pa.table({"a": [1.0, -999.0, 3.0]})), PARQUET, null_values="-999")
    assert (schema.columns[0].nulls, schema.columns[0].mean, schema.columns[0].null_spellings) == (1, 2, ("-999",))


@pytest.mark.parametrize(("form", "media_type"), [(parquet, PARQUET), (lambda t: arrow(*t.to_batches()), ARROW)])
def test_an_index_of_pandas_without_a_name_is_left_out(read, form, media_type):
    table = pa.table({"__index_level_0__": [10, 12], "a": [1, 2], "__index_level_1__": [[1], [2]]})
    schema = read(form(table), media_type)
    assert ([column.name for column in schema.columns], codes(schema)) == (["a"], ["index_column"])
    assert read.rows() == [[1], [2]]
    assert read.error(form(table.select([0])), media_type)["code"] == "empty_name"


def test_an_infinite_float_is_refused_with_its_row(read):
    answer = read.error(parquet(pa.table({"a": [1.0, float("-inf")]})), PARQUET)
    assert (answer["code"], answer["row"], answer["column"]) == ("not_finite", 1, "a")


@pytest.mark.parametrize(
    ("of_type", "name"),
    [
        (pa.list_(pa.float64()), "list<double>"),
        (pa.struct([("u", pa.int64())]), "struct<u: int64>"),
        (pa.duration("s"), "duration[s]"),
        (pa.binary(), "binary"),
        (pa.map_(pa.string(), pa.int8()), "map<string, int8>"),
    ],
)
def test_a_type_that_is_no_column_is_named(read, of_type, name):
    batch = pa.record_batch([pa.nulls(1, of_type), pa.array([1])], ["v", "y"])
    answer = read.error(arrow(batch), ARROW)
    assert (answer["code"], answer["columns"], answer["types"]) == ("unsupported_type", ["v"], [name])


def test_files_that_are_cut_off_or_damaged_are_refused(read):
    table = pa.table({"a": list(range(1000))})
    whole = parquet(table)
    stream = arrow(*table.to_batches())
    array = npy(np.arange(100.0))
    for body, media_type, code in [
        (whole[:-10], PARQUET, "truncated"),
        (b"", PARQUET, "empty_file"),
        (b"hello, this is no table", PARQUET, "damaged_file"),
        (whole[:4] + bytes(100) + whole[104:], PARQUET, "damaged_file"),
        (stream[: len(stream) // 2], ARROW, "truncated"),
        (b"\xff\xff\xff\xff" + b"\x7f" * 20, ARROW, None),
        (array[:-8], NPY, "truncated"),
        (array + b"x", NPY, "damaged_file"),
        (b"\x93NUMPY\x01\x00", NPY, "damaged_file"),
        (b"", NPY, "empty_file"),
        (b"", ARROW, "empty_file"),
        (b"", PARQUET, None),
        (npz(a=np.arange(3))[:-30], NPZ, "malformed_encoding"),
        (b"a,b\n", NPZ, "malformed_encoding"),
    ]:
        answer = read.error(body, media_type)
        assert code is None or answer["code"] == code
        assert answer["status"] in (400, 422)


def test_the_size_of_typed_tables_is_limited_as_decoded(read):
    long = pa.table({"s": pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), ["x" * 1_000])})
    answer = read.error(parquet(long), PARQUET, limits=TableLimits(max_dataset_bytes=10_000_000))
    assert (answer["code"], answer["limit"]) == ("too_large", 10_000_000)
    answer = read.error(parquet(long), PARQUET, limits=TableLimits(max_dataset_rows=100))
    assert answer["limit"] == 100


def test_texts_of_parquet_stay_dictionaries(tmp_path):
    path = tmp_path / "table.parquet"
    path.write_bytes(parquet(pa.table({"s": ["x" * 1_000] * 5_000})))
    for block in ParquetTable(path, TableLimits()).blocks():
        assert block.columns[0].nbytes < 50_000  # 5,000,000 as plain texts


def test_parquet_in_gzip_is_read(read):
    read(gzip.compress(parquet(pa.table({"a": [1, 2]}))), PARQUET)
    assert read.rows() == [[1], [2]]


def test_an_arrow_stream_that_expands_beyond_the_limit_is_refused_before_it_is_read(read, monkeypatch):
    monkeypatch.setattr(pa.ipc, "open_stream", None)
    zeros = pa.record_batch([np.zeros(1_000_000)], ["a"])
    body = arrow(zeros, zeros, options=pa.ipc.IpcWriteOptions(compression="zstd"))
    assert len(body) < 10_000
    assert read.error(body, ARROW, limits=TableLimits(max_dataset_bytes=10_000_000))["limit"] == 10_000_000


def test_an_arrow_schema_whose_names_are_long_together_is_refused(read):
    batch = pa.record_batch([pa.array([1])] * 200, [f"{i}" + "x" * 100_000 for i in range(200)])
    assert read.error(arrow(batch), ARROW)["code"] == "damaged_file"


# npy and npz


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<i4", ">u2", "<f2"])
def test_a_matrix_is_read_whatever_its_order(read, order, dtype):
    matrix = np.arange(300_000, dtype=np.float64).reshape(-1, 3) % 999
    read(npy(np.asarray(matrix.astype(dtype), order=order)), NPY)
    np.testing.assert_array_equal(np.array(read.rows()), matrix)


def test_records_and_texts_of_arrays_are_columns(read):
    records = np.array(
        [(1, "a", b"x", True), (2, "é", b"", False)], [("n", "i4"), ("u", "U3"), ("s", "S2"), ("b", "?")]
    )
    schema = read(npy(records), NPY)
    assert read.rows() == [[1, "a", "x", True], [2, "é", None, False]]
    assert [column.type for column in schema.columns] == ["numeric", "categorical", "categorical", "boolean"]
    schema = read(npy(np.array(["2024-01-31", "NaT"], "M8[D]")), NPY)
    assert (read.rows(), schema.columns[0].type) == ([["2024-01-31"], [None]], "date")


def test_an_archive_is_a_column_for_each_array_or_several_from_a_matrix(read):
    schema = read(npz(X=np.array([[1.0, 2], [3, 4]]), y=np.array([0, 1])), NPZ)
    assert [column.name for column in schema.columns] == ["X0", "X1", "y"]
    assert read.rows() == [[1, 2, 0], [3, 4, 1]]
    assert read.error(npz(a=np.arange(3), b=np.arange(2)), NPZ)["code"] == "unequal_lengths"


@pytest.mark.parametrize(
    ("array", "code"),
    [
        (np.array([{}], object), "pickled_objects"),
        (np.array([(1, None)], [("a", "i4"), ("b", "O")]), "pickled_objects"),
        (np.zeros((2, 2, 2)), "unsupported_shape"),
        (np.array(1.0), "unsupported_shape"),
        (np.zeros((5, 0)), "unsupported_shape"),
        (np.zeros(0), "no_rows"),
        (np.zeros(2, complex), "unsupported_type"),
        (np.zeros(2, [("a", "f8", (2,))]), "unsupported_type"),
        (np.array([1.0, np.inf]), "not_finite"),
        (np.array([b"\xff"]), "not_utf8"),
    ],
)
def test_arrays_that_are_no_columns_are_refused(read, array, code):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    assert read.error(file.getvalue(), NPY)["code"] == code


def test_a_header_that_announces_more_than_there_is_allocates_nothing(read):
    body = npy(np.zeros(3)).replace(b"(3,)", b"(9" + b"9" * 11 + b",)")[:128]
    assert read.error(body, NPY)["code"] in ("too_large", "damaged_file")


def test_an_archive_with_a_password_or_unknown_compression_is_refused(read):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", npy(np.arange(2)))
    body = bytearray(file.getvalue())
    at = body.index(b"PK\x01\x02")
    body[at + 8] |= 1
    assert read.error(bytes(body), NPZ)["code"] == "malformed_encoding"


# JSON


@pytest.mark.parametrize("lines", [False, True])
def test_records_keep_the_types_of_json(read, lines):
    records = [
        {"a": 1, "s": "01", "b": True, "m": "x", "k": None},
        {"a": 2.5, "s": " 02 ", "m": 1, "late": 1e3},
        {"b": False, "s": "", "a": None, "m": 1.0},
    ]
    text = "\n".join(map(json.dumps, records)) + "\n" if lines else json.dumps(records, indent=1)
    schema = read(text, LINES if lines else JSON)
    assert [(column.name, column.type) for column in schema.columns] == [
        ("a", "numeric"),
        ("s", "categorical"),
        ("b", "boolean"),
        ("m", "categorical"),
        ("k", "empty"),
        ("late", "numeric"),
    ]
    assert read.rows() == [
        [1, "01", True, "x", None, None],
        [2.5, "02", None, "1", None, 1000],
        [None, None, False, "1", None, None],
    ]
    assert codes(schema.columns[3]) == ["mixed_numbers_and_text"]


def test_numbers_and_numeric_texts_of_json_are_categories_together(read):
    column = read('[{"a": 1}, {"a": "2"}, {"a": true}]', JSON).columns[0]
    assert (column.type, column.categories) == ("categorical", ("1", "2", "true"))


def test_few_texts_among_many_numbers_of_json_are_a_fault(read):
    records = [{"a": i} for i in range(50)] + [{"a": "x"}]
    answer = read.error(json.dumps(records), JSON)
    assert (answer["code"], answer["row"], answer["value"]) == ("mixed_column", 50, "x")


@pytest.mark.parametrize(
    ("text", "media_type", "expected"),
    [
        ("", JSON, {"code": "empty_file", "status": 422}),
        (" \n", LINES, {"code": "empty_file"}),
        ("[]", JSON, {"code": "no_rows"}),
        ("[{}]", JSON, {"code": "no_rows"}),
        ('{"a": [1]}', JSON, {"code": "not_records"}),
        ("[1]", JSON, {"code": "not_records", "row": 0}),
        ('[{"a": 1}\n, {"a": }]', JSON, {"code": "malformed_json", "status": 400, "row": 1, "line": 2}),
        ('[{"a": 1}', JSON, {"code": "malformed_json"}),
        ('[{"a": 1}]]', JSON, {"code": "malformed_json", "line": 1}),
        ('[{"a": 1},]', JSON, {"code": "malformed_json"}),
        ('[{"a": NaN}]', JSON, {"code": "malformed_json"}),
        ('[{"a": 1}, {"a": "\\ud800"}]', JSON, {"code": "malformed_json", "status": 400, "row": 1}),
        ('{"a": 1}\n{"\\udc00": 1}\n', LINES, {"code": "malformed_json", "status": 400, "row": 1, "line": 2}),
        ('[{"a": 1, "a": 2}]', JSON, {"code": "malformed_json"}),
        ('{"a": 1}\n{"a": 2} x\n', LINES, {"code": "malformed_json", "row": 1, "line": 2}),
        ('{"a": 1}\n\n3\n', LINES, {"code": "not_records", "row": 1, "line": 3}),
        ('[{"a": 1e999}]', JSON, {"code": "not_finite", "row": 0, "column": "a"}),
        ('[{"a": {"b": 1}, "c": [1]}]', JSON, {"code": "unsupported_type", "columns": ["a", "c"]}),
        ('[{"": 1}]', JSON, {"code": "empty_name"}),
        ('[{"a": 1, " a": 1}]', JSON, {"code": "duplicate_names"}),
        ('[{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]", JSON, {"code": "malformed_json"}),
        ('[{"a": 1' + "0" * 5_000 + "}]", JSON, {"code": "malformed_json"}),
        (b'[{"a": "\xff"}]', JSON, {"code": "not_utf8"}),
    ],
)
def test_json_that_is_no_table_is_refused(read, text, media_type, expected):
    answer = read.error(text, media_type)
    assert {name: answer.get(name) for name in expected} == expected


def test_json_is_read_whatever_the_size_of_chunks(read, monkeypatch):
    text = json.dumps([{"a": i, "c": f"é{i % 3}", "id": 2**53 + i % 2} for i in range(50)], ensure_ascii=False)
    schema, parquet_ = read(text, JSON), read.parquet.read_bytes()
    monkeypatch.setattr("service.datasets.reading.sources.content.CHUNK_BYTES", 7)
    assert (read(text, JSON), read.parquet.read_bytes()) == (schema, parquet_)
    assert schema.columns[2].categories == ("9007199254740992", "9007199254740993")
