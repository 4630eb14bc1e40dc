"""Rows to predict for, as they are read from files: without a service, against a second reader where there is one."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.rows import delimited
from cli.rows.delimited import DelimitedRows, TextOptions
from cli.rows.files import open_rows
from cli.rows.taken import RowsError, Taken, TakenColumn

WriteFile = Callable[..., Path]

NUMBERS = Taken.of({"columns": None, "feature_names": ["a", "b"]})
TABLE = Taken.of(
    {
        "columns": [
            {"name": "height", "type": "numeric", "null_values": ["-999", "none yet"]},
            {"name": "kind", "type": "categorical", "null_values": []},
            {"name": "tall", "type": "boolean", "null_values": ["so so"]},
        ],
        "target": "fruit",
    }
)


def read(path: Path, taken: Taken = NUMBERS, kind: str | None = None, **options: Any) -> list[list[Any]]:
    """Read all rows of a file as lists in the order of the columns."""
    found: list[list[Any]] = []
    with ExitStack() as on_exit:
        for block in open_rows(str(path), kind, taken, TextOptions(**options), on_exit):
            assert block.first_row == len(found)
            rows = block.rows
            if isinstance(rows, pa.RecordBatch):
                assert rows.schema.names == taken.names
                found += [list(row.values()) for row in rows.to_pylist()]
            elif isinstance(rows, np.ndarray):
                found += rows.tolist()
            else:
                found += [[row[name] for name in taken.names] if isinstance(row, dict) else row for row in rows]
    return found


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("quoted.csv", b'"a","b"\r\n"1","0"\r\n"3","1"\r\n', {}),
        ("mark.csv", b"\xef\xbb\xbfa,b\n1,0\n3,1\n", {}),
        ("utf16.csv", "a,b\n1,0\n3,1\n".encode("utf-16"), {}),
        ("latin.csv", "a,ü,b\n1,x,0\n3,x,1\n".encode("latin-1"), {"charset": "latin-1"}),
        ("semicolons.csv", b"a;b\n1,0;0\n3,0;1\n", {"decimal": ","}),
        ("tabs.tsv", b"a\tb\n1\t0\n3\t1\n", {}),
        ("bars.txt", b"a|b\n1|0\n3|1", {}),
        ("colons.csv", b"a:b\n1:0\n3:1", {"delimiter": ":"}),
        ("returns.csv", b"a,b\r1,0\r3,1\r", {}),
        ("blanks.csv", b"a , b\n\n 1 ,+0\n\n3,1e0 \n\n", {}),
        ("trailing.csv", b"a,b\n1,0,\n3,1,\n", {}),
        ("extra.csv", b'note,b,a\n"two\nlines, and a "" quote",0,1\nx,1,3\n', {}),
        ("header.csv", b'"a","no\nte",b\n1,x,0\n3,y,1\n', {}),
        ("bytes.csv", b"a,b,t\n1,0,x\n3,1,\xff\n", {}),  # in a column that is not read, any bytes may stand
        ("bare.csv", b"1,0\n3,1\n", {}),
        ("first.csv", b"1,0\n3,1\n", {"has_header": False}),
        ("rows.csv.gz", gzip.compress(b"a,b\n1,0\n3,1\n"), {}),
        ("rows.csv.zst", pa.Codec("zstd").compress(b"a,b\n1,0\n3,1\n").to_pybytes(), {}),
        ("rows.jsonl", b'{"b": 0, "a": 1}\n\n{"a": 3, "b": 1}\n', {}),
        ("lists.jsonl", b"[1, 0]\n[3, 1]\n", {}),
        ("rows.jsonl.zst", pa.Codec("zstd").compress(b"[1, 0]\n[3, 1]\n").to_pybytes(), {}),
        ("two.csv.gz", gzip.compress(b"a,b\n1,0\n") + gzip.compress(b"3,1\n"), {}),
        ("rows.json", b'[{"b": 0, "a": 1}, {"a": 3, "b": 1}]', {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_of_text_mean_the_same_however_they_are_written(
    write: WriteFile, name: str, content: bytes, options: dict[str, Any]
) -> None:
    assert read(write(name, content), **options) == [[1, 0], [3, 1]]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.arrow", "rows.feather", "rows.npy"])
def test_binary_files_mean_the_same(tmp_path: Path, name: str) -> None:
    table = pa.table(
        {"b": pa.array([0, 1], pa.int8()), "other": ["x", "y"], "a": pa.array([1.0, 3.0]).dictionary_encode()}
    )
    path = tmp_path / name
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path)
        case ".arrow":
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table)
        case ".feather":
            pa.feather.write_feather(table, str(path))
        case ".npy":
            np.save(path, np.asfortranarray([[1.0, 0.0], [3.0, 1.0]]))
    assert read(path) == [[1, 0], [3, 1]]
    packed = path.with_name(f"{name}.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read(packed) == [[1, 0], [3, 1]]


def test_a_file_without_a_header_may_have_the_names_that_the_service_gave(write: WriteFile) -> None:
    taken = Taken.of({"columns": None, "feature_names": ["c0", "c2"]})
    assert read(write("rows.csv", "1,9,0\n3,9,1\n"), taken) == [[1, 0], [3, 1]]


def test_each_cell_has_the_type_of_its_column(write: WriteFile) -> None:
    rows = "fruit,height,kind,tall\nx, 2 ,007,TRUE\nx,NA,NA,null\nx,none yet,1.0,so so\nx,,,\nx,-999,?, false \n"
    assert read(write("rows.csv", rows), TABLE) == [
        [2, "007", True],
        [None, "NA", None],  # a text column keeps it: whether it is a category is known to the service
        [None, "1.0", None],
        [None, "", None],
        [None, "?", False],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,c\n1,2\n", "has no column 'b', which the model needs. Its columns: a, c"),
        (
            "a,bb\n1,2\n",
            "has no column 'b', which the model needs; it has 'bb', which it does not read. Its columns: a, bb",
        ),
        ("a,b\n1,2\n\n3,x\n", ", line 4 (row 2): column 'b' must be a number or empty, not 'x'"),
        ("a,b\n1,2\n3,\n", ", line 3 (row 2): column 'b' must be a number: the model was trained without gaps, not ''"),
        ("a,b\n1,1e999\n", ", line 2 (row 1): column 'b' must be finite, not '1e999'"),
        ("a,b\n1,inf\n", ", line 2 (row 1): column 'b' must be finite, not 'inf'"),
        ("a,b\n1,0x10\n", ", line 2 (row 1): column 'b' must be a number or empty, not '0x10'"),
        ("a,b\n1,1_0\n", ", line 2 (row 1): column 'b' must be a number or empty, not '1_0'"),
        ("a,b\n1,2\n3\n", ", line 3, has 1 value, and not 2"),
        ('a,b,t\n1,2,"x\ny"\n1,2,3,4\n', ", line 4, has 4 values, and not 3"),
        (b"a,b\n1,2\n\xff,1\n", ", line 3, is not UTF-8: name its charset, for example --charset latin-1"),
        ("", " is empty"),
        ("\n\n", " is empty"),
        ("a,a,b\n1,2,3\n", " has two columns 'a': rename one"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(write: WriteFile, content: Any, message: str) -> None:
    path = write("rows.csv", content)
    with pytest.raises(RowsError) as refused:
        read(path)
    assert refused.value.format_message() == f"{path}{message if message.startswith((',', ' ')) else ' ' + message}"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.xlsx", b"x", "its ending says no format"),
        ("rows.parquet", b"x", "is no Parquet file"),
        ("rows.arrow", b"x", "is no Arrow file"),
        ("rows.npy", b"x", "is no npy file"),
        ("rows.jsonl", b"[1, 2]\n[NaN, 1]", "line 2 is no JSON: NaN is no JSON"),
        ("rows.jsonl", b"[1, 2]\n3", "line 2 must be a record or a list of values"),
        ("rows.json", b"{}", "must be a list of records"),
        ("rows.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 9_999)[:-20], "is cut off or damaged"),
        ("rows.csv.gz", b"\x1f\x8b" + b"x" * 99, "is cut off or damaged"),
        ("rows.json", b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_file_of_another_format_is_refused(write: WriteFile, name: str, content: bytes, message: str) -> None:
    with pytest.raises(RowsError, match=message):
        read(write(name, content))


def test_arrays_that_are_no_matrix_of_numbers_are_refused(tmp_path: Path) -> None:
    for array, message in (
        (np.array([[{}]], dtype=object), "must hold numbers, not object"),
        (np.zeros(3), "must be a matrix of rows and columns, not of shape"),
        (np.zeros((0, 2)), "must be a matrix of rows and columns, not of shape"),
    ):
        np.save(tmp_path / "rows.npy", array, allow_pickle=True)
        with pytest.raises(RowsError, match=message):
            read(tmp_path / "rows.npy")
    np.save(tmp_path / "rows.npy", np.zeros((100, 2)))
    (tmp_path / "rows.npy").write_bytes((tmp_path / "rows.npy").read_bytes()[:500])
    with pytest.raises(RowsError, match="is cut off"):
        read(tmp_path / "rows.npy")


CELLS = st.text(alphabet='ab",;\n\r x1\u00e9', max_size=6)


@settings(deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=40), st.integers(1, 60))
def test_texts_are_those_that_pythons_csv_module_reads_wherever_blocks_end(
    rows: Sequence[tuple[str, str]], block_bytes: int
) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("kind", "other"), *rows])
    taken = Taken((TakenColumn("kind", "categorical"), TakenColumn("other", "categorical")), None, is_table=True)
    before = delimited.BLOCK_BYTES
    delimited.BLOCK_BYTES = block_bytes
    try:
        found = DelimitedRows(io.BytesIO(file.getvalue().encode()), "x", taken, TextOptions())
        read_rows = [tuple(row.values()) for block in found for row in block.rows.to_pylist()]
    finally:
        delimited.BLOCK_BYTES = before
    expected = [tuple(row) for row in csv.reader(io.StringIO(file.getvalue(), newline=""))][1:]
    assert json.dumps(read_rows) == json.dumps(expected)


def test_the_delimiter_of_a_file_without_header_is_found_though_it_has_the_target_too(write: WriteFile) -> None:
    taken = Taken.of({"columns": None, "feature_names": ["c0", "c1"]})
    assert read(write("semicolons.csv", "1;2;9\n3;4;9\n"), taken, has_header=False) == [[1, 2], [3, 4]]
    assert read(write("commas.csv", "1,2,9\n3,4,9\n"), taken, has_header=False) == [[1, 2], [3, 4]]
