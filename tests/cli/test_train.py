"""`perceptron train`: from a file to a model, and what a person is told on the way."""

import json
import math
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perceptron_client import Client

from .conftest import ROOT, Command

WriteFile = Callable[..., Path]

PLANES = ROOT / "examples" / "planes.csv"


def facts(text: str) -> dict[str, str]:
    """Read lines of a name and a value."""
    return dict(line.split("\t") for line in text.splitlines())


def test_a_file_becomes_a_model_and_the_commands_that_are_shown_predict_with_it(
    perceptron: Command, client: Client, tmp_path: Path
) -> None:
    ran = perceptron("train", PLANES, "--target", "seats", "--exclude", "tailnum,model")
    assert ran.returncode == 0, ran.stderr
    shown = facts(ran.stdout)
    assert (shown["model"], shown["status"], shown["measured on"]) == ("planes", "succeeded", "the rows that trained")
    version = client.models.version("planes", int(shown["version"]))
    assert float(shown["r2"]) == pytest.approx(version.metrics["r2"], rel=1e-5)
    assert "model" not in [column["name"] for column in version.columns or ()]
    (predict,) = [line for line in ran.stderr.splitlines() if line.startswith("  perceptron predict ")]
    (curl,) = [line for line in ran.stderr.splitlines() if line.startswith("  curl ")]
    perceptron.good(*shlex.split(predict)[1:])
    lines = (tmp_path / "planes-predictions.csv").read_text().splitlines()
    assert len(lines) == 3323
    answer = json.loads(subprocess.run(shlex.split(curl), capture_output=True, check=True).stdout)
    assert answer["predictions"][0] == pytest.approx(float(lines[1].split(",")[0]), rel=1e-9)


def test_the_command_that_is_shown_reads_the_file_as_the_training_did(
    perceptron: Command, write: WriteFile, tmp_path: Path
) -> None:
    (tmp_path / "-größe.csv").write_text("größe;b\n" + "".join(f"{i},5;{2 * i}\n" for i in range(9)), "latin-1")
    reading = ("--charset", "latin-1", "--decimal", ",")
    ran = perceptron("train", "--target", "b", "--model", "read", *reading, "--", "-größe.csv")
    (predict,) = [line for line in ran.stderr.splitlines() if line.startswith("  perceptron predict ")]
    perceptron.good(*shlex.split(predict)[1:])
    assert len((tmp_path / "read-predictions.csv").read_text().splitlines()) == 10


def test_options_become_members_of_the_job(perceptron: Command, write: WriteFile) -> None:
    rows = "id,kind,code,size\n" + "".join(f"{i},{'xy'[i % 2]},{i % 3},{i % 5}\n" for i in range(60))
    arguments = (
        "--target",
        "kind",
        "--model",
        "m.1",
        "--hidden",
        "4,3",
        "--exclude",
        '"id"',
        "--types",
        "code=categorical",
    )
    more = (
        "--optimizer",
        "adam",
        "--max-epochs",
        "7",
        "--hold-out",
        "0.25",
        "--seed",
        "3",
        "--alias",
        "best",
        "--json",
    )
    job = json.loads(perceptron.good("train", write("t.csv", rows), *arguments, *more))
    config = job["config"]
    assert (job["model"], job["status"], job["result"]["version"]) == ("m.1", "succeeded", 1)
    assert config["network"]["hidden_layers"] == [4, 3]
    training = {name: config["training"][name] for name in ("optimizer", "max_epochs", "seed")}
    assert training == {"optimizer": "adam", "max_epochs": 7, "seed": 3}
    assert config["validation"]["fraction"] == 0.25
    shown = facts(perceptron.good("show", "m.1@best"))
    assert (shown["reads"], shown["hidden layers"], shown["classes"]) == ("code, size", "4, 3", "x, y")


def test_a_dry_run_and_no_watch_do_not_wait(perceptron: Command, write: WriteFile) -> None:
    path = write("t.csv", "a,b\n1,2\n2,4\n3,6\n4,8\n")
    shown = facts(perceptron.good("train", path, "--target", "b", "--dry-run"))
    assert (shown["task"], shown["rows"], shown["features"], shown["parameters"]) == ("regression", "4", "1", "2")
    ran = perceptron("train", path, "--target", "b", "--no-watch", "-m", "later")
    job = facts(ran.stdout)["job"]
    assert ran.returncode == 0 and f"To wait for it: perceptron job {job} --watch" in ran.stderr
    assert facts(perceptron.good("job", job, "--watch"))["status"] == "succeeded"


def test_a_training_that_fails_is_exit_status_1_with_the_reason(perceptron: Command, write: WriteFile) -> None:
    rows = "a,b\n" + "".join(f"{i},{i * i * 1e9}\n" for i in range(20))
    options = ("--optimizer", "gradient_descent", "--hidden", "30,30,30", "--time-limit", "0.000001")
    ran = perceptron("train", write("t.csv", rows), "--target", "b", *options)
    assert ran.returncode == 1
    assert facts(ran.stdout)["status"] == "failed"
    assert "warning: job_" in ran.stderr and "failed: " in ran.stderr


def test_a_target_that_is_missing_or_unknown_shows_the_columns(perceptron: Command) -> None:
    ran = perceptron("train", PLANES)
    assert ran.returncode == 2
    assert f"which column shall be learned? {PLANES} has: tailnum, year, " in ran.stderr
    message = perceptron.error("train", PLANES, "--target", "seat")
    assert message.startswith(f"{PLANES} has no column 'seat'. Is 'seats' meant? It has: tailnum, year, type")


def test_a_file_without_a_header_is_told_from_a_wrong_name(perceptron: Command, write: WriteFile) -> None:
    rows = write("rows.csv", "0.5,0.13,x\n1.5,2.5,y\n2.5,0.3,x\n3.5,1.5,y\n")
    message = perceptron.error("train", rows, "--target", "kind")
    assert "has no column 'kind'. If its first line is a row, add --header absent" in message
    perceptron.good("train", rows, "--target", "c2", "--header", "absent", "--model", "without-header")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gaps.csv", "a;b\n1;2\n2;NA\n3;6\n4;\n5;10\n"),
        ("gaps.json", '[{"a":1,"b":2},{"a":2,"b":null},{"a":3,"b":6},{"a":4,"b":null},{"a":5,"b":10}]'),
    ],
)
def test_rows_without_a_target_are_left_out_when_that_is_said(
    perceptron: Command, client: Client, write: WriteFile, name: str, content: str
) -> None:
    path = write(name, content)
    message = perceptron.error("train", path, "--target", "b")
    assert message == (
        f"'b' is missing in 2 of 5 rows of {path}: nothing can be learned from those. "
        "Leave them out with --skip-missing"
    )
    perceptron.good("train", path, "--target", "b", "--skip-missing")
    # the three rows that are left lie on b = 2 a
    assert client.predict("gaps", [{"a": 7}]).predictions[0] == pytest.approx(14, rel=1e-2)


def test_rows_are_left_out_whose_target_is_a_null_value_or_nan(
    perceptron: Command, client: Client, write: WriteFile, tmp_path: Path
) -> None:
    path = write("spelled.csv", "a,b\n1,2\n2,-999\n3,6\n4,\n5,10\n6,none yet\n")
    arguments = ("--target", "b", "--skip-missing")
    perceptron.good("train", path, *arguments, "--null-values", "-999, none yet")
    pq.write_table(pa.table({"a": [1.0, 2, 3, 5], "b": [2, math.nan, 6, 10]}), tmp_path / "nan.parquet")
    perceptron.good("train", "nan.parquet", *arguments)
    for model in ("spelled", "nan"):
        assert client.predict(model, [{"a": 7}]).predictions[0] == pytest.approx(14, rel=1e-2)


def test_whole_numbers_that_look_like_classes_are_pointed_out(perceptron: Command) -> None:
    rows = "a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(60))
    ran = perceptron("train", "-", "--target", "b", "--model", "classes", stdin=rows)
    assert ran.returncode == 0
    assert "'b' has 3 whole numbers. If they are classes, say --task classification." in ran.stderr


def test_wrong_options_are_usage_errors(perceptron: Command, write: WriteFile) -> None:
    path = write("t.data", "a,b\n1,2\n")
    for arguments, message in (
        ((path, "--target", "b", "--hidden", "4,x"), "--hidden must be like 16 or 16,8, not '4,x'"),
        ((path, "--target", "b"), "t.data says no format"),
        ((path, "--format", "csv", "--target", "b", "--types", "a"), "--types must be like store=categorical, not 'a'"),
        (("-", "--target", "b"), "name the model: --model NAME"),
    ):
        ran = perceptron("train", *arguments)
        assert (ran.returncode, ran.stdout) == (2, "") and message in ran.stderr, ran.stderr
