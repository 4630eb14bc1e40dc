"""What `null_values` made missing in an upload is missing in the rows to predict for, too."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

ROWS = "".join(f"{-999 if i % 5 == 0 else i},{'unknown' if i % 4 == 0 else 'pq'[i % 2]},{i * 2}\n" for i in range(40))
TEXTS = "".join(f"{'none yet' if i % 5 == 0 else i},{i * 2}\n" for i in range(40))
NULL_VALUES = json.dumps(["-999", "unknown", "none yet"])


def trained(http: FlaskClient, train: Callable[..., Any], table: str, **more: Any) -> None:
    answer = http.post("/datasets", query_string={"null_values": NULL_VALUES}, data=table, content_type="text/csv")
    body = {"model": "m", "dataset": answer.get_json()["id"], "target": "y", **more}
    assert train(body)["status"] == "succeeded"


def outputs(http: FlaskClient, *instances: Any) -> list[float]:
    answer = http.post("/predict", json={"model": "m", "instances": instances})
    assert answer.status_code == 200, answer.text
    assert "warnings" not in answer.get_json()
    return [output for (output,) in answer.get_json()["outputs"]]


def test_numbers_and_categories_that_stood_for_nothing_do_so_in_every_format(
    http: FlaskClient, train: Callable[..., Any]
) -> None:
    trained(http, train, "a,c,y\n" + ROWS)
    missing, *others = outputs(
        http,
        {"a": None, "c": None},
        {"a": -999, "c": "unknown"},
        {"a": -999.0, "c": " unknown "},
        {"a": "-999", "c": ""},
    )
    assert others == [pytest.approx(missing)] * 3
    assert outputs(http, [-999, "unknown"]) == [pytest.approx(missing)]
    assert outputs(http, [-998, "p"]) != [pytest.approx(missing)]
    answer = http.post("/predict?model=m", data="c,a\nunknown,-999\n,\n", content_type="text/csv")
    assert [output for (output,) in answer.get_json()["outputs"]] == [pytest.approx(missing)] * 2
    columns = http.get("/models/m/versions/1").get_json()["columns"]
    assert [column["null_values"] for column in columns] == [["-999"], ["unknown"]]


def test_rows_of_numbers_alone_go_the_short_way_with_the_same_values(
    http: FlaskClient, train: Callable[..., Any]
) -> None:
    trained(http, train, "a,c,y\n" + ROWS, features=["a"])
    (missing,) = outputs(http, {"a": None})
    assert outputs(http, [-999]) == [pytest.approx(missing)]
    assert outputs(http, [-999], [-999]) == [pytest.approx(missing)] * 2
    file = io.BytesIO()
    np.save(file, [[-999.0]])
    answer = http.post("/predict?model=m", data=file.getvalue(), content_type="application/x-npy")
    assert answer.get_json()["outputs"] == [[pytest.approx(missing)]]


def test_a_text_stands_for_a_missing_number_only_where_it_did_so(http: FlaskClient, train: Callable[..., Any]) -> None:
    trained(http, train, "a,y\n" + TEXTS)
    (missing,) = outputs(http, {"a": None})
    assert outputs(http, {"a": "none yet"}) == [pytest.approx(missing)]
    answer = http.post("/predict", json={"model": "m", "instances": [{"a": "none"}]})
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/instances/0/a")
