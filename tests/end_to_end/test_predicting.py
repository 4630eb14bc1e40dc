"""Predict on the process that is shipped: the event loop and the Flask app give the same answers."""

import json
import re
import time
from collections.abc import Callable
from typing import Any

import httpx
import pyarrow as pa
import pytest

from storage.models.store import ModelStore
from tests.api_process import Api
from tests.builders import publish

ONE = [[0.5, -1.5]]
REQUESTS: list[tuple[Any, dict[str, str]]] = [
    ({"model": "or", "instances": ONE}, {}),
    ({"model": "or", "instances": ONE, "version": 1}, {}),
    ({"model": "or", "instances": ONE, "alias": "production"}, {"Accept": "application/json, */*;q=0.1"}),
    ({"model": "or", "instances": [{"x1": 1, "x0": 2}]}, {"Content-Type": "application/problem+json"}),
    ({"model": "or", "instances": [[1, 2], [3, 4], [-1e300, 0]]}, {"Accept": "*/*"}),
    ({"model": "or", "instances": [[1, 2]] * 5000}, {}),
    ({"model": "or", "instances": [[1e308, 1e308]]}, {}),
    ({"model": "or", "instances": [[1e308, -1e308], [1e308, 1e308]]}, {}),
    ({"model": "or", "instances": [[1, 2], [1]]}, {}),
    ({"model": "or", "instances": [[1, True]]}, {}),
    ({"model": "or", "instances": []}, {}),
    ({"model": "or", "instances": ONE, "version": 7}, {}),
    ({"model": "or", "instances": ONE, "alias": "nope"}, {}),
    ({"model": "nope", "instances": ONE}, {}),
    ({"model": "or", "instances": ONE, "version": 1, "alias": "production"}, {}),
    ({"model": "or", "instances": ONE, "surplus": 1}, {}),
    ({"model": "or", "instances": ONE, "explain": True, "versions": "aliases"}, {}),
    ({"model": "or", "instances": ONE, "versions": [2, 3]}, {}),
    (b'{"model":"or","instances":[[1,1e999]]}', {}),
    (b'{"model":"or","instances":[[1,' + b"9" * 400 + b"]]}", {}),
    (b'{"model":"or","instances":[[1,123456789012345678901234567890]]}', {}),
    (b'{"model":"or","instances":[[1,NaN]]}', {}),
    (b'{"model":"or","model":"nope","instances":[[1,2]]}', {}),
    (b'{"model":"or","instances":' + b"[" * 5000 + b"]" * 5000 + b"}", {}),
    (b'{"model":"or","instances":[[1,2]]}\xff', {}),
    (b"[1]", {}),
    (b" ", {}),
    ({"model": "or", "instances": ONE}, {"Accept": "text/csv"}),
    (b"1,2\n", {"Content-Type": "text/csv"}),
    ({"model": "or", "instances": ONE}, {"Accept": "application/vnd.apache.arrow.stream"}),
    (b"1,2\n", {"Content-Type": "application/vnd.apache.arrow.stream"}),
    ({"model": "or", "instances": ONE}, {"Accept": "text/html"}),
    ({"model": "or", "instances": ONE}, {"Accept": "application/problem+json"}),
    ({"model": "or", "instances": ONE}, {"Content-Type": "text/plain"}),
    ({"model": "or", "instances": ONE}, {"Content-Encoding": "gzip"}),
    ({"model": "or", "instances": ONE}, {"Content-Encoding": "identity"}),
]


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """All that must be the same: not the time of day, and not how long it took."""
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    timing = headers.pop("server-timing")
    assert re.fullmatch(r"predict;dur=\d+\.\d{3}", timing)
    return answer.status_code, headers, answer.content


def test_the_event_loop_and_the_flask_app_answer_alike(api: Api) -> None:
    publish(api.jobs, weight=0.3, alias="production"), publish(api.jobs, weight=0.7)
    statuses = set()
    for number, (body, headers) in enumerate(REQUESTS):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "X-Request-Id": f"request-{number}", **headers}
        # A slash at the end is the same route to Flask, and one that the event loop leaves to it.
        on_loop, by_flask = (
            shown(api.http.post(path, content=content, headers=headers)) for path in ("/predict", "/predict/")
        )
        assert on_loop == by_flask, body
        assert on_loop[1]["x-request-id"] == f"request-{number}"
        statuses.add(on_loop[0])
    assert statuses == {200, 400, 404, 406, 415, 422}


def test_the_event_loop_and_the_flask_app_answer_arrow_alike(api: Api) -> None:
    publish(api.jobs, weight=0.3, alias="production"), publish(api.jobs, weight=0.7)
    media_type = "application/vnd.apache.arrow.stream"
    statuses = set()
    for columns, compression in (
        ({"x1": [1], "x0": [2]}, None),
        ({"x0": [1.0] * 5000, "x1": [2.0] * 5000}, None),
        ({"x0": [1, 2], "x1": [3, None]}, None),
        ({"x0": [1, 2], "x1": [3, 4]}, "zstd"),
    ):
        table, sink = pa.table(columns), pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
            writer.write_table(table)
        headers = {"Content-Type": media_type, "X-Request-Id": "r"}
        for accept in (media_type, "application/json"):
            on_loop, by_flask = (
                shown(api.http.post(path, content=sink.getvalue().to_pybytes(), headers=headers | {"Accept": accept}))
                for path in ("/predict?model=or&alias=production", "/predict/?model=or&alias=production")
            )
            assert on_loop == by_flask
            statuses.add(on_loop[0])
    assert statuses == {200, 422}


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_methods_are_refused(api: Api, method: str) -> None:
    answer = api.http.request(method, "/predict")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_a_version_can_be_predicted_with_as_soon_as_it_is_published(api: Api) -> None:
    for version in range(1, 30):
        body = {"model": "or", "instances": ONE, "version": version}
        assert api.http.post("/predict", json=body).status_code == 404
        publish(api.jobs)
        answer = api.http.post("/predict", json=body)
        assert (answer.status_code, answer.json()["version"]) == (200, version)


@pytest.mark.serial
def test_pointers_follow_and_the_deleted_is_gone(api: Api) -> None:
    models = ModelStore(api.jobs._redis)
    publish(api.jobs), publish(api.jobs)
    for version in (1, 2) * 10:
        models.set_alias("or", "production", version)
        assert _soon(api, {"alias": "production"}, lambda answer, v=version: answer.json()["version"] == v) < 0.5
    models.delete_alias("or", "production")
    assert _soon(api, {"alias": "production"}, lambda answer: answer.status_code == 404) < 0.5
    publish(api.jobs)
    assert _soon(api, {}, lambda answer: answer.json()["version"] == 3) < 0.5
    models.delete_version("or", 1)
    assert _soon(api, {"version": 1}, lambda answer: answer.status_code == 404) < 0.5


def _soon(api: Api, which: dict[str, Any], condition: Callable[[httpx.Response], bool]) -> float:
    """Predict until the answer is what it is to be; return the seconds that it took, 50 ms at most if all is idle."""
    started = time.monotonic()
    while not condition(api.http.post("/predict", json={"model": "or", "instances": ONE, **which})):
        assert time.monotonic() - started < 5
    return time.monotonic() - started
