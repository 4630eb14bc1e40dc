"""`client.datasets` against the running service."""

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perceptron_client import Client
from perceptron_client.bodies.uploads import BLOCK_BYTES, upload_of
from perceptron_client.errors import (
    BadRequest,
    DatasetInUse,
    DatasetNotFound,
    InvalidArgument,
    InvalidRequest,
    InvalidTable,
    RaggedRow,
)
from tests.stack import ROOT

ROWS = [{"x0": 1.5, "x1": -2.0}, {"x0": 0.5, "x1": 7.0}]
MATRIX = np.array([[1.5, -2.0], [0.5, 7.0]])
CSV = b"x0,x1\n1.5,-2\n0.5,7\n"


@pytest.mark.parametrize(
    "table",
    [
        MATRIX,
        {"x0": MATRIX[:, 0], "x1": MATRIX[:, 1]},
        ROWS,
        pd.DataFrame(ROWS),
        pl.DataFrame(ROWS),
        pa.Table.from_pylist(ROWS),
        pa.RecordBatch.from_pylist(ROWS),
    ],
    ids=lambda table: type(table).__name__ + type(table).__module__,
)
def test_tables_of_every_kind_are_one_data_set_by_their_digest(client: Client, table):
    expected = client.datasets.upload(CSV, media_type="text/csv")
    uploaded = client.datasets.upload(table, name="two rows")
    assert (uploaded.digest, uploaded.rows, uploaded.name) == (expected.digest, 2, "two rows")
    assert [(column.name, column.type, column.mean) for column in uploaded.columns] == [
        ("x0", "numeric", 1.0),
        ("x1", "numeric", 2.5),
    ]


def test_a_pair_of_arrays_has_the_target_as_y(client: Client):
    dataset = client.datasets.upload((MATRIX, np.array(["no", "yes"], dtype=object)))
    assert client.datasets.rows(dataset.id) == [{"x0": 1.5, "x1": -2.0, "y": "no"}, {"x0": 0.5, "x1": 7.0, "y": "yes"}]


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "tsv", "parquet", "arrows", "npy", "npz", "jsonl", "json"])
def test_the_format_of_a_file_follows_from_its_ending(client: Client, tmp_path: Path, ending):
    path = tmp_path / f"two rows.{ending}"
    table = pa.Table.from_pylist(ROWS)
    match ending:
        case "csv":
            path.write_bytes(CSV)
        case "csv.gz":
            path.write_bytes(gzip.compress(CSV))
        case "tsv":
            path.write_bytes(CSV.replace(b",", b"\t"))
        case "parquet":
            pq.write_table(table, path)
        case "arrows":
            with pa.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(table)
        case "npy":
            np.save(path, MATRIX)
        case "npz":
            np.savez(path, x0=MATRIX[:, 0], x1=MATRIX[:, 1])
        case "json":
            path.write_text(pd.DataFrame(ROWS).to_json(orient="records"))
        case "jsonl":
            path.write_text(pd.DataFrame(ROWS).to_json(orient="records", lines=True))
    dataset = client.datasets.upload(str(path) if ending == "csv" else path)
    assert (dataset.rows, client.datasets.rows(dataset.id, limit=1)) == (2, ROWS[:1])


def test_a_file_is_read_in_blocks_and_shown_by_a_bar(client: Client, tmp_path: Path, capsys):
    path = tmp_path / "long.csv"
    path.write_text("a\n" + "0.25\n" * 200_000)
    assert max(map(len, upload_of(path, None).parts())) == BLOCK_BYTES
    dataset = client.datasets.upload(path, progress=True)
    assert (dataset.name, dataset.rows, dataset.bytes) == ("long.csv", 200_000, 1_000_002)
    shown = capsys.readouterr().err
    assert "long.csv: 100%|" in shown and "977k/977k" in shown


def test_an_open_file_is_streamed_once(client: Client):
    dataset = client.datasets.upload(io.BytesIO(CSV + b"9,9\n"), media_type="text/csv", name="stream")
    assert (dataset.rows, dataset.name) == (3, "stream")
    with pytest.raises(InvalidArgument, match="opened as binary"):
        client.datasets.upload(io.StringIO("a\n1\n"), media_type="text/csv")


def test_a_data_frame_keeps_texts_booleans_gaps_and_numbers_apart(client: Client):
    frame = pd.DataFrame({"code": ["007", "08", None], "yes": [True, False, True], "n": [1.5, None, 3.0]})
    for table in (frame, pl.from_pandas(frame)):
        dataset = client.datasets.upload(table)
        assert [(column.type, column.nulls) for column in dataset.columns] == [
            ("categorical", 1),
            ("boolean", 0),
            ("numeric", 1),
        ]
        assert client.datasets.rows(dataset.id)[1] == {"code": "08", "yes": False, "n": None}


def test_a_frame_with_a_column_of_mixed_types_is_sent_as_records(client: Client):
    frame = pd.DataFrame({"code": ["a", 1, None, 2.5], "read": [1, 2, 3, 4]})
    for table in (frame, pl.DataFrame({"code": ["a", 1, None, 2.5], "read": [1, 2, 3, 4]}, strict=False)):
        dataset = client.datasets.upload(table)
        assert (dataset.columns[0].type, dataset.columns[0].categories) == ("categorical", ["1", "2.5", "a"])
        assert client.datasets.rows(dataset.id)[2] == {"code": None, "read": 3.0}


def test_what_the_rules_would_read_otherwise_can_be_said(client: Client):
    content = "Größe;store\n1,5;1\n-999;2\n2,5;1\n".encode("latin-1")
    dataset = client.datasets.upload(
        content,
        media_type="text/csv",
        name="told",
        delimiter=";",
        decimal=",",
        header="present",
        null_values=["-999"],
        charset="latin-1",
        types={"store": "categorical"},
    )
    size, store = dataset.columns
    assert (size.name, size.nulls, size.mean, store.type) == ("Größe", 1, 2.0, "categorical")
    assert (dataset.delimiter, dataset.raw["delimiter"]) == (";", ";")


def test_an_error_of_a_file_says_where_it_is(client: Client):
    with pytest.raises(RaggedRow) as caught:
        client.datasets.upload(b"a,b\n1,2\n3\n", media_type="text/csv")
    assert isinstance(caught.value, InvalidTable)
    assert (caught.value.members["row"], caught.value.members["line"]) == (1, 3)
    with pytest.raises(InvalidRequest, match="/decimal"):
        client.datasets.upload(CSV, media_type="text/csv", decimal="x")


def test_a_body_that_is_damaged_on_its_way_is_refused(client: Client, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("perceptron_client.bodies.uploads._digest", lambda sha256: "sha-256=:AAAA:")
    with pytest.raises(BadRequest, match="damaged on its way"):
        client.datasets.upload(CSV, media_type="text/csv")


@pytest.mark.parametrize(
    ("table", "media_type", "message"),
    [
        ("rows.xlsx", None, "says no format"),
        (CSV, None, "need a media_type"),
        (pd.DataFrame({"a": [1]}), "text/csv", "a table has its own"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), None, "two columns 'a'"),
        (np.array([object()]), None, "Python objects"),
        ((np.zeros((2, 2, 2)), np.zeros(2)), None, r"shapes \(2, 2, 2\)"),
        (np.ma.masked_array([[1.0]], [[True]]), None, "a masked array"),
        ((np.ma.masked_array([[1.0]], [[True]]), [1.0]), None, "a masked array"),
        ({"a": np.ma.masked_array([1.0], [True])}, None, "a masked array"),
        (3, None, "not int"),
    ],
)
def test_what_is_no_table_is_refused_before_anything_is_sent(client: Client, table, media_type, message):
    with pytest.raises(InvalidArgument, match=message):
        client.datasets.upload(table, media_type=media_type)


def test_a_file_that_is_not_there_says_so(client: Client, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        client.datasets.upload(tmp_path / "none.csv")


def test_an_arrow_file_is_sent_as_a_stream(client: Client, tmp_path: Path, monkeypatch):
    path, table = tmp_path / "file.arrow", pa.Table.from_pylist([*ROWS, {"x0": 8.0, "x1": 9.0}])
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    dataset = client.datasets.upload(path)
    assert (dataset.rows, dataset.name) == (3, "file.arrow")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidArgument, match="damaged"):
        client.datasets.upload(path)
    monkeypatch.setattr("perceptron_client.bodies.uploads.has_pyarrow", lambda: False)
    with pytest.raises(InvalidArgument, match="needs pyarrow"):
        client.datasets.upload(path)


def test_a_job_learns_from_an_uploaded_table_which_is_listed_and_deleted(client: Client):
    dataset = client.datasets.upload(ROOT / "examples" / "planes.csv", name="to delete")
    job = client.jobs.create(model="planes", dataset=dataset, target="seats", exclude=["tailnum"])
    try:
        client.datasets.delete(dataset.id)
    except DatasetInUse:
        client.jobs.wait(job)
        client.datasets.delete(dataset.id)
    with pytest.raises(DatasetNotFound):
        client.datasets.get(dataset.id)
    with pytest.raises(DatasetNotFound):
        client.datasets.delete(dataset.id)
    other = client.datasets.upload(CSV, media_type="text/csv")
    assert other.id in [each.id for each in client.datasets.list()]
    assert next(client.datasets.list()).columns is None
    assert client.datasets.get(other.id) == other
