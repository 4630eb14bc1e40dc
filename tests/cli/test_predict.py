"""`perceptron predict`: one answer for each row, in order, whatever the file looks like."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from perceptron_client import Client
from tests.stack import Stack

from .conftest import LINE, ONE_STEP, TREES, Command

WriteFile = Callable[..., Path]


def outputs_of(text: str) -> list[float]:
    """Read the column `output` of an answer in CSV."""
    header, *lines = text.splitlines()
    place = header.split(",").index("output")
    return [float(line.split(",")[place]) for line in lines]


def test_the_rows_of_a_file_are_answered_in_order(perceptron: Command, line: str, write: WriteFile) -> None:
    # w = [0.14, 0.04], b = 0.06
    rows = write("rows.csv", "b,a\n0,1\n1,3\n0,0\n")
    ran = perceptron("predict", line, rows)
    assert ran.stdout.splitlines()[0] == "prediction,output"
    np.testing.assert_allclose(outputs_of(ran.stdout), [0.2, 0.52, 0.06], atol=1e-12)
    assert ran.stderr == "3 predictions of two-numbers version 1\n"


def test_answers_never_replace_their_rows(perceptron: Command, line: str, write: WriteFile, tmp_path: Path) -> None:
    rows = write("rows.csv", "a,b\n1,2\n")
    (tmp_path / "same.csv").symlink_to(rows)
    for output in (rows, "rows.csv", tmp_path / "same.csv"):
        ran = perceptron("predict", line, rows, "-o", output)
        assert (ran.returncode, "name another file for the answers" in ran.stderr) == (2, True)
    assert rows.read_text() == "a,b\n1,2\n"


def test_the_answers_are_written_in_the_format_of_their_file(perceptron: Command, trees: str, tmp_path: Path) -> None:
    rows = "height,kind,tall\n1.5,fir,false\n4,yew,TRUE\n"
    table = pa.csv.read_csv(io.BytesIO(perceptron.good("predict", trees, stdin=rows).encode()))
    assert table.column_names == ["prediction", "output_acorn", "output_berry", "output_none"]
    assert table.column("prediction").to_pylist() == ["none", "berry"]
    for name in ("answers.parquet", "answers.arrow", "answers.tsv", "answers.jsonl", "answers.npy"):
        perceptron.good("predict", trees, "-o", tmp_path / name, stdin=rows)
    assert pq.read_table(tmp_path / "answers.parquet").equals(table)
    assert pa.ipc.open_stream((tmp_path / "answers.arrow").read_bytes()).read_all().equals(table)
    tabs = pa.csv.ParseOptions(delimiter="\t")
    assert pa.csv.read_csv(tmp_path / "answers.tsv", parse_options=tabs).equals(table)
    assert [json.loads(each) for each in (tmp_path / "answers.jsonl").read_text().splitlines()] == table.to_pylist()
    outputs = np.column_stack(table.columns[1:])
    np.testing.assert_array_equal(np.load(tmp_path / "answers.npy"), outputs)
    np.testing.assert_allclose(outputs.sum(axis=1), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["answers.parquet", "answers.arrow", "answers.tsv", "answers.jsonl", "answers.npy"]
    )


def test_gaps_codes_and_booleans_reach_the_service_as_it_would_read_them(
    perceptron: Command, trees: str, stack: Stack
) -> None:
    rows = "height,kind,tall\nNA, fir ,FALSE\n,oak,True\n?,,\n-,1.0,null\n2e0,007,true\n"
    with_csv = stack.http.post(
        "/predict", params={"model": trees}, content=rows, headers={"Content-Type": "text/csv", "Accept": "text/csv"}
    ).text
    *outputs, predictions = zip(*(each.split(",") for each in with_csv.splitlines()[1:]), strict=True)
    answer = pa.csv.read_csv(io.BytesIO(perceptron.good("predict", trees, stdin=rows, PERCEPTRON_API_KEY="k").encode()))
    assert answer.column(0).to_pylist() == list(predictions)
    for k, expected in enumerate(outputs):
        np.testing.assert_allclose(answer.column(k + 1).to_numpy(), np.array(expected, float), rtol=1e-12)


def test_many_blocks_are_answered_in_order_by_one_version(
    perceptron: Command, client: Client, line: str, tmp_path: Path
) -> None:
    numbers = np.random.default_rng(0).normal(size=(150_000, 2)).round(9)
    table = pa.table(
        {"a": numbers[:, 0], "text": [f"line {i}\nof many, and more" for i in range(150_000)], "b": numbers[:, 1]}
    )
    pa.csv.write_csv(table, tmp_path / "rows.csv")
    ran = perceptron("predict", f"{line}@production", tmp_path / "rows.csv", "-o", tmp_path / "answers.csv")
    assert ran.stderr == (
        "Columns that the model does not read: text\n"
        f"150000 predictions of two-numbers version 1 to {tmp_path / 'answers.csv'}\n"
    )
    answers = pa.csv.read_csv(tmp_path / "answers.csv")
    weights = client.models.version(line, 1).weights
    assert weights is not None
    np.testing.assert_allclose(answers.column("output").to_numpy(), numbers @ weights[0][:, 0] + 0.06, atol=1e-9)


def test_contributions_and_base_sum_to_the_output(perceptron: Command, line: str) -> None:
    # 0.14 * 3 + 0.04 * 1 + 0.06
    header, values = perceptron.good("predict", line, "--explain", stdin="a,b\n3,1\n").splitlines()
    assert header == "prediction,output,contribution_a,contribution_b,base"
    np.testing.assert_allclose([float(each) for each in values.split(",")], [0.52, 0.52, 0.42, 0.04, 0.06], atol=1e-12)


def test_a_version_can_be_named_in_three_ways(perceptron: Command, line: str) -> None:
    for arguments in (
        [f"{line}@1"],
        [f"{line}@production"],
        [line, "-", "--version", "1"],
        [line, "-", "--alias", "production"],
    ):
        assert len(outputs_of(perceptron.good("predict", *arguments, stdin="a,b\n3,1\n"))) == 1
    ran = perceptron("predict", f"{line}@1", "--alias", "production", stdin="a,b\n3,1\n")
    assert ran.returncode == 2 and "name one of MODEL@VERSION, MODEL@ALIAS, --version and --alias" in ran.stderr
    assert perceptron.error("predict", f"{line}@9", stdin="a,b\n3,1\n").startswith(
        "model 'two-numbers' has no version 9"
    )


def test_json_is_one_document_like_that_of_the_service(perceptron: Command, line: str, stack: Stack) -> None:
    answer = json.loads(perceptron.good("predict", line, "--json", stdin="a,b\n3,1\n1,0\n"))
    body = {"model": line, "instances": [[3, 1], [1, 0]]}
    assert answer == stack.http.post("/predict", json=body).json()
    explained = json.loads(perceptron.good("predict", line, "--json", "--explain", stdin="a,b\n3,1\n1,0\n"))
    assert explained == stack.http.post("/predict", json={**body, "explain": True}).json()


def test_a_file_that_is_refused_leaves_no_answers(perceptron: Command, line: str, write: WriteFile) -> None:
    path = write("rows.csv", "a,b\n1,2\n3,x\n")
    message = perceptron.error("predict", line, path, "-o", path.parent / "answers.csv")
    assert message == f"{path}, line 3 (row 2): column 'b' must be a number or empty, not 'x'"
    assert [each.name for each in path.parent.iterdir()] == ["rows.csv"]


def test_warnings_of_the_service_name_the_row_of_the_file(perceptron: Command, trees: str) -> None:
    ran = perceptron("predict", trees, stdin="height,kind,tall\n1,fir,true\n1,elm,true\n")
    assert "warning: row 2: 'elm' did not occur in column 'kind' in training" in ran.stderr


def test_a_service_with_little_memory_is_asked_in_smaller_blocks(
    own_stack: Callable[[], Stack],
    alone: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAX_BODY_BYTES", "20000")
    stack = own_stack()
    with Client(stack.url) as client:
        client.jobs.wait(client.jobs.create(model="line", data=LINE, training=ONE_STEP))
        table = client.datasets.upload(TREES.encode(), media_type="text/csv")
        client.jobs.wait(client.jobs.create(model="trees", dataset=table, target="fruit"))
    numbers = np.arange(3_000.0)
    rows = "a,b\n" + "".join(f"{number:g},0\n" for number in numbers)
    outputs = outputs_of(alone.good("predict", "line", stdin=rows))
    np.testing.assert_allclose(outputs, 0.14 * numbers + 0.06, atol=1e-9)
    ran = alone("predict", "trees", stdin="height,kind,tall\n" + "1,fir,true\n" * 1_999 + "1,elm,true\n")
    assert "warning: row 2000: 'elm' did not occur in column 'kind' in training" in ran.stderr


def test_a_file_of_answers_that_is_replaced_keeps_its_rights(perceptron: Command, line: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    (tmp_path / "private.csv").touch(0o600)
    perceptron.good("predict", line, "rows.csv", "-o", "private.csv")
    assert (tmp_path / "private.csv").stat().st_mode & 0o777 == 0o600
    (tmp_path / "usual.csv").touch()
    perceptron.good("predict", line, "-o", tmp_path / "new.csv", stdin="a,b\n1,2\n")
    assert (tmp_path / "new.csv").stat().st_mode == (tmp_path / "usual.csv").stat().st_mode
    perceptron.error("predict", line, "-o", tmp_path / "none.csv", stdin="a,b\n1,x\n")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["new.csv", "private.csv", "rows.csv", "usual.csv"]
