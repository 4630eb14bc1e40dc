"""Predict with bodies and answers in npy and CSV."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from storage.jobs.store import JobStore
from tests.builders import publish

ROWS = [[-1.0, -1.0], [1.0, -1.0], [1.0, 2.0]]
OUTPUTS = [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-3))]


def npy(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), **options)
    return file.getvalue()


def ask(http: FlaskClient, body: bytes, media_type: str, query: str = "model=or", accept: str = "*/*") -> TestResponse:
    return http.post(f"/predict?{query}", data=body, content_type=media_type, headers={"Accept": accept})


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (npy(np.array(ROWS)), "application/x-npy"),
        (npy(np.array(ROWS, np.float32)), "application/x-npy"),
        (npy(np.array(ROWS, np.int8)), "application/x-npy"),
        (npy(np.array(ROWS, ">f8")), "application/x-npy"),
        (npy(np.asfortranarray(ROWS)), "application/x-npy"),
        (npy(np.array(ROWS), version=(2, 0)), "application/x-npy"),
        (b"-1,-1\n1,-1\n1,2\n", "text/csv"),
        (b"-1.0, -1e0\r\n1,-1\r\n1,2", "text/csv; charset=utf-8"),
        (b"x0,x1\n-1,-1\n1,-1\n1,2\n", "text/csv"),
        (b'"x1","x0"\n-1,-1\n-1,1\n2,1\n', "text/csv"),
        (b"\xef\xbb\xbfx0,x1\n-1,-1\n1,-1\n1,2\n", "text/csv"),
    ],
)
def test_every_form_of_the_same_instances_gives_the_same_outputs(
    http: FlaskClient, jobs: JobStore, body: bytes, media_type: str
) -> None:
    publish(jobs, weight=1.0)
    answer = ask(http, body, media_type)
    assert answer.status_code == 200, answer.text
    assert [row[0] for row in answer.get_json()["outputs"]] == pytest.approx(OUTPUTS, rel=1e-15)
    assert answer.get_json()["predictions"] == [0, 1, 1]


def test_answers_come_as_they_are_asked_for(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs, weight=1.0), publish(jobs, weight=5.0)
    body, query = npy(np.array(ROWS)), "model=or&version=1"
    as_npy = ask(http, body, "application/x-npy", query, "application/x-npy, application/json;q=0.5")
    assert as_npy.mimetype == "application/x-npy"
    assert np.load(io.BytesIO(as_npy.data), allow_pickle=False)[:, 0] == pytest.approx(OUTPUTS, rel=1e-15)
    as_csv = ask(http, body, "application/x-npy", query, "text/csv")
    assert as_csv.headers["Content-Type"] == "text/csv; charset=utf-8"
    lines = as_csv.text.splitlines()
    assert lines[0] == "output,prediction"
    assert [float(line.split(",")[0]) for line in lines[1:]] == pytest.approx(OUTPUTS, rel=1e-15)
    assert [line.split(",")[1] for line in lines[1:]] == ["0", "1", "1"]
    assert as_npy.headers["X-Model-Version"] == as_csv.headers["X-Model-Version"] == "1"
    of_json = http.post("/predict", json={"model": "or", "instances": ROWS}, headers={"Accept": "text/csv"})
    assert (of_json.mimetype, of_json.headers["X-Model-Version"]) == ("text/csv", "2")


def test_class_names_are_quoted_in_csv(http: FlaskClient, train: Callable[..., Any]) -> None:
    data = {"features": [[0], [1], [2]], "targets": ["a,b", "c", 'd"e']}
    train({"model": "m", "data": data, "training": {"learning_rate": "auto", "max_epochs": 500}})
    text = ask(http, b"0\n1\n2\n", "text/csv", "model=m", "text/csv").text
    assert text.splitlines()[0] == "output_0,output_1,output_2,prediction"
    assert text.splitlines()[1].split(",", 3)[3] == '"a,b"'
    assert text.splitlines()[3].endswith('"d""e"')


BAD_NPY = [
    b"\x93",
    b"\x93NUMPY\x01\x00",
    b"\x93NUMPY\x09\x00" + b"\x00" * 100,
    npy(np.array(ROWS))[:-1],
    npy(np.array(ROWS)) + b"\0",
    npy(np.array(ROWS)).replace(b"(3, 2)", b"(9, 2)"),
    npy(np.array(ROWS)).replace(b"(3, 2), }", b"(99999999999999, 2), }"[:9]),
    npy(np.array([["a", "b"]])),
    npy(np.array([[True, False]])),
    npy(np.array([[1j, 2]])),
    npy(np.array([[1.0, 2.0]], np.longdouble)),
    npy(np.zeros((1, 1, 2))),
    npy(np.zeros((0, 2))),
    npy(np.zeros((51, 2))),
    npy(np.array(1.0)),
    npy(np.array([[1.0, np.nan]])),
    npy(np.array([[1.0, -np.inf]])),
    npy(np.array([{"a": 1}, None], dtype=object), allow_pickle=True),
    npy(np.zeros(2, dtype=[("a", "f8"), ("b", "f8")])),
    b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': __import__('os'), }".ljust(118),
    b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535,
]
BAD_CSV = [
    (b"\n", ""),
    (b"x0,x1\n", ""),
    (b"1,2\n3\n", "/1"),
    (b"1,2\n3,4,5\n", "/1"),
    (b"1,2\n\n3,4\n", "/1"),
    (b"1,2\n3,x\n", "/1/1"),
    (b"1,2\nnan,4\n", "/1/0"),
    (b"1,2\n3,inf\n", "/1/1"),
    (b"1,2\n3,1e999\n", "/1/1"),
    (b"1,2\n3,1_0\n", "/1/1"),
    (b"1,2\n3,0x1\n", "/1/1"),
    (b"1,2\n3,\n", "/1/1"),
    ("1,2\n3,\u0664\n".encode(), "/1/1"),
    (b"x0,x2\n1,2\n", ""),
    (b"x0,x0\n1,2\n", ""),
    (b"x0,x1,x2\n1,2\n", ""),
    (b'x0,"x1\n1,2\n', "/0"),
    (b"1,2\n" * 51, ""),
    (b"1,\xff\n", ""),
]


@pytest.mark.parametrize("body", BAD_NPY)
def test_a_wrong_npy_is_refused(http: FlaskClient, jobs: JobStore, body: bytes) -> None:
    publish(jobs)
    answer = ask(http, body, "application/x-npy")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request"), answer.text


@pytest.mark.parametrize(("body", "pointer"), BAD_CSV)
def test_a_wrong_csv_is_refused_with_its_place(http: FlaskClient, jobs: JobStore, body: bytes, pointer: str) -> None:
    publish(jobs)
    answer = ask(http, body, "text/csv")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request"), answer.text
    assert answer.get_json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("query", "status", "code", "pointer"),
    [
        ("", 422, "invalid_request", "/model"),
        ("model=", 422, "invalid_request", "/model"),
        ("model=a:b", 422, "invalid_request", "/model"),
        ("model=or%0A", 422, "invalid_request", "/model"),
        ("model=or&model=or", 422, "invalid_request", "/model"),
        ("model=or&version=0", 422, "invalid_request", "/version"),
        ("model=or&version=1.0", 422, "invalid_request", "/version"),
        ("model=or&version=1&alias=a", 422, "invalid_request", "/alias"),
        ("model=or&alias=%FF", 422, "invalid_request", "/alias"),
        ("model=or&surplus=1", 422, "invalid_request", "/surplus"),
        ("&".join(f"p{k}=1" for k in range(50)), 422, "invalid_request", ""),
        ("model=nope", 404, "model_not_found", None),
        ("model=or&version=9", 404, "version_not_found", None),
        ("model=or&alias=nope", 404, "alias_not_found", None),
    ],
)
def test_a_wrong_query_is_refused(
    http: FlaskClient, jobs: JobStore, query: str, status: int, code: str, pointer: str | None
) -> None:
    publish(jobs)
    answer = ask(http, b"1,2\n", "text/csv", query)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    assert [fault["pointer"] for fault in answer.get_json().get("errors", [])] == ([] if pointer is None else [pointer])


def test_a_wrong_width_and_unknown_forms(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs)
    assert ask(http, b"1,2,3\n", "text/csv").get_json()["code"] == "wrong_dimension"
    assert ask(http, npy(np.zeros((2, 3))), "application/x-npy").get_json()["code"] == "wrong_dimension"
    assert ask(http, b"1,2\n", "text/plain").status_code == 415
    assert ask(http, b"1,2\n", "text/csv", accept="image/png").status_code == 406
    body = {"model": "or", "instances": ROWS, "explain": True}
    assert http.post("/predict", json=body, headers={"Accept": "text/csv"}).status_code == 406
    assert ask(http, npy(np.array([1.0, 2.0])), "application/x-npy").status_code == 200  # one instance
