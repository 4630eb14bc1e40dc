"""Compressed bodies: on every route, bounded, and refused with what is wrong."""

import gzip
import json
import zlib

import pytest
from flask.testing import FlaskClient

from storage.jobs.store import JobStore
from tests.builders import publish

JOB = json.dumps({"model": "or", "data": {"features": [[0], [1]], "targets": [0, 1]}}).encode()
ROWS = b'{"instances": [[0, 1]]}'
TENSOR = b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [0, 1]}]}'

ROUTES = [
    ("POST", "/jobs", JOB, 202),
    ("POST", "/predict", b'{"model": "or", "instances": [[0, 1]]}', 200),
    ("POST", "/v1/models/or:predict", ROWS, 200),
    ("POST", "/v2/models/or/infer", TENSOR, 200),
    ("POST", "/v2/repository/index", b'{"ready": true}', 200),
    ("POST", "/invocations?model=or", ROWS, 200),
    ("PUT", "/models/or/aliases/production", b'{"version": 1}', 200),
]


def bare_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(body) + deflater.flush()


def jobs_with(http: FlaskClient, coding: str, body: bytes) -> tuple[int, str]:
    headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
    answer = http.post("/jobs", data=body, headers=headers)
    return answer.status_code, answer.get_json().get("detail", "")


@pytest.mark.parametrize(("method", "path", "body", "status"), ROUTES)
def test_every_route_takes_compressed_bodies(
    http: FlaskClient, jobs: JobStore, method: str, path: str, body: bytes, status: int
) -> None:
    publish(jobs)
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = http.open(path, method=method, data=gzip.compress(body), headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(("method", "path", "body", "status"), ROUTES)
def test_every_route_says_which_codings_it_takes(
    http: FlaskClient, jobs: JobStore, method: str, path: str, body: bytes, status: int
) -> None:
    publish(jobs)
    answer = http.open(path, method=method, data=body, headers={"Content-Encoding": "br"})
    assert (answer.status_code, answer.get_json()["code"]) == (415, "unsupported_media_type")
    assert answer.headers["Accept-Encoding"] == "gzip, deflate"
    assert "must be gzip or deflate, not br" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("identity", JOB),
        ("", JOB),
        ("Identity, GZIP", gzip.compress(JOB)),
        ("x-gzip", gzip.compress(JOB)),
        ("gzip, identity", gzip.compress(JOB)),
        ("deflate", zlib.compress(JOB)),
        ("deflate", bare_deflate(JOB)),
        ("deflate, gzip", gzip.compress(zlib.compress(JOB))),
        ("gzip", gzip.compress(JOB[:20]) + gzip.compress(JOB[20:])),
    ],
)
def test_codings_are_undone_in_reverse(http: FlaskClient, coding: str, body: bytes) -> None:
    assert jobs_with(http, coding, body)[0] == 202


@pytest.mark.parametrize(
    ("coding", "body", "status", "what"),
    [
        ("gzip", JOB, 400, "not valid gzip"),
        ("gzip", b"", 411, "Content-Length"),
        ("gzip", gzip.compress(JOB)[:-3], 400, "cut off"),
        ("gzip", gzip.compress(JOB) + b"x", 400, "not valid gzip"),
        ("gzip", gzip.compress(b"") * 100, 400, "something follows"),
        ("deflate", zlib.compress(JOB) + b"x", 400, "something follows"),
        ("deflate", zlib.compress(JOB)[:-5], 400, "cut off"),
        ("gzip", gzip.compress(b" " * 1_100_001), 413, "MAX_BODY_BYTES"),
        ("gzip", gzip.compress(b" " * 600_000) * 2, 413, "MAX_BODY_BYTES"),
        ("gzip, gzip", gzip.compress(gzip.compress(b" " * 50_000_000)), 413, "MAX_BODY_BYTES"),
        ("gzip, br", gzip.compress(JOB), 415, "not br"),
        ("gzip, gzip, gzip, gzip", JOB, 415, "at most 3"),
    ],
)
def test_a_body_that_is_not_in_its_coding_is_refused(
    http: FlaskClient, coding: str, body: bytes, status: int, what: str
) -> None:
    given, detail = jobs_with(http, coding, body)
    assert given == status and what in detail, detail


def test_the_limit_is_that_of_the_body_without_its_coding(http: FlaskClient) -> None:
    body = JOB + b" " * (1_100_000 - len(JOB))
    assert jobs_with(http, "gzip", gzip.compress(body))[0] == 202
    assert jobs_with(http, "gzip", gzip.compress(body + b" "))[0] == 413
