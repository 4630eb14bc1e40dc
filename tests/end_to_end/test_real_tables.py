"""Default jobs on tables that packages ship, as they are: uploaded, trained on four folds of five, judged on the fifth.

Licences: the packages' own (datar MIT, lifelines MIT, ISLP BSD-3). They ship the data of R packages under licences of
their own; the tables are loaded here and never copied. The reference scores are scikit-learn's, of pipelines with
one-hot categories, means for gaps and standardization, in the mean of five shuffled folds.
"""

import csv
import gzip
import io
from dataclasses import dataclass
from importlib.metadata import files
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold

from tests.stack import Stack

N_FOLDS = 5
MAX_LOSS = 0.01


@dataclass(frozen=True)
class Table:
    package: str
    file: str
    target: str
    exclude: tuple[str, ...] = ()
    accuracy: float | None = None
    log_loss: float | None = None
    r2: float | None = None


TABLES = {
    "gss_cat": Table("datar", "gss_cat.csv.gz", "marital", accuracy=0.573, log_loss=1.087),
    "txhousing": Table("datar", "txhousing.csv.gz", "median", ("date",), r2=0.868),
    "planes": Table("datar", "planes.csv.gz", "seats", r2=0.976),
    "dd": Table("lifelines", "dd.csv", "democracy", ("regime",), accuracy=0.861),
    "ACTG175": Table("lifelines", "ACTG175.csv", "cens", accuracy=0.879),
    "Wage": Table("ISLP", "Wage.csv", "health_ins", accuracy=0.746),
}


def rows_of(table: Table) -> tuple[list[str], list[list[str]]]:
    (path,) = (each for each in files(table.package) or () if each.name == table.file)
    content = path.read_binary()
    text = (gzip.decompress(content) if table.file.endswith(".gz") else content).decode()
    header, *rows = csv.reader(io.StringIO(text))
    if header[0] == "":  # row numbers, which are none any more in a part of the rows
        header, rows = header[1:], [row[1:] for row in rows]
    target = header.index(table.target)
    return header, [row for row in rows if row[target] not in ("", "NA")]


def as_csv(header: list[str], rows: list[list[str]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows([header, *rows])
    return file.getvalue().encode()


@pytest.mark.parametrize("name", TABLES)
def test_a_default_job_is_as_good_as_the_reference(stack: Stack, name: str) -> None:
    table = TABLES[name]
    header, rows = rows_of(table)
    target = header.index(table.target)
    outputs: list[Any] = [None] * len(rows)
    predictions: list[Any] = [None] * len(rows)
    classes: list[Any] = []
    for train, held_out in KFold(N_FOLDS, shuffle=True, random_state=0).split(rows):
        body = as_csv(header, [rows[k] for k in train])
        dataset = stack.http.post("/datasets", content=body, headers={"Content-Type": "text/csv"}).raise_for_status()
        job = {"model": name, "dataset": dataset.json()["id"], "target": table.target, "exclude": list(table.exclude)}
        if not table.exclude:
            del job["exclude"]
        done = stack.finished(stack.http.post("/jobs", json=job).raise_for_status().json())
        assert done["status"] == "succeeded", done
        classes = done["config"]["classes"]
        answer = stack.http.post(
            "/predict",
            params={"model": name},
            content=as_csv(header, [rows[k] for k in held_out]),
            headers={"Content-Type": "text/csv; header=present", "Accept": "application/json"},
        )
        assert answer.status_code == 200, answer.text[:500]
        for k, output, prediction in zip(held_out, answer.json()["outputs"], answer.json()["predictions"], strict=True):
            outputs[k], predictions[k] = output, prediction
    right = [row[target] for row in rows]
    if table.r2 is not None:
        errors = np.array(predictions) - np.array(right, dtype=float)
        r2 = 1 - np.mean(errors**2) / np.var(np.array(right, dtype=float))
        assert r2 >= table.r2 - MAX_LOSS
    if table.accuracy is not None:
        accuracy = np.mean([str(ours) == theirs for ours, theirs in zip(predictions, right, strict=True)])
        assert accuracy >= table.accuracy - MAX_LOSS
    if table.log_loss is not None:
        of_right = [output[classes.index(theirs)] for output, theirs in zip(outputs, right, strict=True)]
        assert -np.mean(np.log(of_right)) <= table.log_loss + MAX_LOSS
