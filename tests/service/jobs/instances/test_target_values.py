"""The targets of a large table: each value once, as an obvious second way counts them."""

import io
import time
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flask.testing import FlaskClient

from perceptron import MAX_CLASSES
from service.jobs.instances.target_values import TargetValues
from storage.datasets.table import Table


@pytest.fixture(autouse=True)
def _every_table_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.jobs.instances.target_values.EXACT_ROWS", 1)


def found_in(values: list[float | None]) -> TargetValues:
    file = io.BytesIO()
    pq.write_table(pa.table({"y": pa.array(values, pa.float64())}), file)
    table = Table(file)
    return TargetValues.of(table, table.columns(["y"])[0], None)


def test_each_value_has_its_first_row_and_the_number_of_its_rows() -> None:
    found = found_in([None, 3.0, 1.0, 3.0, None, 2.5] * 30_000)  # more than one block of rows
    assert found.values.tolist() == [1.0, 2.5, 3.0]
    assert found.rows.tolist() == [2, 5, 1]
    assert found.weights is not None and found.weights.tolist() == [30_000, 30_000, 60_000]
    assert (found.n_rows, found.n_missing, found.first_missing) == (180_000, 60_000, 0)


def test_of_many_values_those_are_kept_that_decide_the_task() -> None:
    values = np.random.default_rng(0).permutation(200_000).astype(float)
    values[150_000] = 170_000.5
    found = found_in(values.tolist())
    assert {values.min(), values.max(), 170_000.5} <= set(found.values.tolist())
    assert MAX_CLASSES < len(found.values) <= MAX_CLASSES + 3
    assert found.weights is not None and found.weights.sum() == 200_000
    np.testing.assert_array_equal(values[found.rows], found.values)


def test_counts_are_those_of_an_obvious_count() -> None:
    values = np.random.default_rng(1).integers(-50, 50, 100_000) / 4
    found = found_in(values.tolist())
    assert found.weights is not None
    assert dict(zip(found.values.tolist(), found.weights.tolist(), strict=True)) == Counter(values.tolist())
    assert all(found.rows == [values.tolist().index(value) for value in found.values])


def test_the_time_grows_as_the_rows_do() -> None:
    values = np.random.default_rng(2).normal(size=130_000).tolist()
    began_at = time.process_time()
    found_in(values)
    assert time.process_time() - began_at < 2  # 0.1 s; it was 8 s when each value looked through its block


def test_a_class_of_weight_0_does_not_forbid_to_hold_rows_out(http: FlaskClient) -> None:
    rows = b"a,k\n" + b"".join(b"%d,%s\n" % (i, b"pqr"[i % 3 : i % 3 + 1]) for i in range(300))
    dataset = http.post("/datasets", data=rows, content_type="text/csv").get_json()["id"]
    training = {"class_weights": {"p": 0}}
    body = {"model": "m", "dataset": dataset, "target": "k", "training": training, "validation": {"fraction": 0.2}}
    assert http.post("/jobs", json=body).status_code == 202
