"""Infer on the process that is shipped: the event loop and the Flask app give the same answers."""

import gzip
import json
import re
from typing import Any

import httpx
import numpy as np

from tests.api_process import Api
from tests.builders import publish

LENGTH = "Inference-Header-Content-Length"
ROWS = np.array([[0.5, -1.5], [2.0, 1.0]])
FLAT = {"name": "input", "shape": [2, 2], "datatype": "FP64", "data": ROWS.ravel().tolist()}
BINARY = {"name": "input", "shape": [2, 2], "datatype": "FP64", "parameters": {"binary_data_size": 32}}
MANY = {"name": "input", "shape": [9000, 2], "datatype": "FP32", "parameters": {"binary_data_size": 72_000}}


def body(asked: Any, buffers: bytes = b"") -> tuple[bytes, dict[str, str]]:
    header = json.dumps(asked).encode()
    return header + buffers, {LENGTH: str(len(header))} if buffers else {}


IN_BINARY = {"binary_data_output": True}
BUFFER = ROWS.tobytes()
REQUESTS: list[tuple[str, tuple[bytes, dict[str, str]], dict[str, str]]] = [
    ("or", body({"inputs": [FLAT]}), {}),
    ("or", body({"inputs": [FLAT], "id": "ü"}), {"Content-Type": "text/html"}),
    ("or", body({"inputs": [BINARY], "parameters": IN_BINARY}, BUFFER), {}),
    ("or/versions/1", body({"inputs": [BINARY], "outputs": [{"name": "prediction"}]}, BUFFER), {}),
    ("or", body({"inputs": [MANY], "parameters": IN_BINARY}, bytes(72_000)), {}),
    ("or", body({"inputs": [MANY]}, bytes(72_000)), {"Accept-Encoding": "gzip"}),
    ("or", body({"inputs": [MANY]}, bytes(72_000)), {"Accept-Encoding": "identity"}),
    ("or", (gzip.compress(json.dumps({"inputs": [FLAT]}).encode()), {}), {"Content-Encoding": "gzip"}),
    ("or", (gzip.compress(bytes(10**8)), {}), {"Content-Encoding": "gzip"}),
    ("or", (b"no gzip", {}), {"Content-Encoding": "gzip"}),
    ("or", (b"no gzip", {}), {"Content-Encoding": "br"}),
    ("or", body({"inputs": [FLAT | {"shape": [4]}]}), {}),
    ("or", body({"inputs": [FLAT], "outputs": [{"name": "x"}]}), {}),
    ("or", body({"inputs": [BINARY]}, BUFFER[1:]), {}),
    ("or", body({"inputs": [BINARY]}, BUFFER), {LENGTH: "99999"}),
    ("or", body({"inputs": [BINARY]}, np.full((2, 2), np.nan).tobytes()), {}),
    ("or", (b"{", {}), {}),
    ("or", body({"inputs": [FLAT]}), {"Accept": "text/html"}),
    ("or/versions/3", body({"inputs": [FLAT]}), {}),
    ("nope", body({"inputs": [FLAT]}), {}),
]


def shown(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name != "date"}
    assert re.fullmatch(r"predict;dur=\d+\.\d{3}", headers.pop("server-timing"))
    return answer.status_code, headers, answer.content


def test_the_event_loop_and_the_flask_app_answer_alike(api: Api) -> None:
    publish(api.jobs, weight=0.3), publish(api.jobs, weight=0.7)
    statuses = set()
    for number, (path, (content, length), headers) in enumerate(REQUESTS):
        headers = {"X-Request-Id": f"request-{number}", **length, **headers}
        # A slash at the end is the same route to Flask, and one that the event loop leaves to it.
        on_loop, by_flask = (
            shown(api.http.post(f"/v2/models/{path}/infer{slash}", content=content, headers=headers))
            for slash in ("", "/")
        )
        assert on_loop == by_flask, (path, content)
        assert on_loop[1]["x-request-id"] == f"request-{number}"
        statuses.add(on_loop[0])
    assert statuses == {200, 400, 404, 406, 413, 415, 422}


def test_the_shell_says_that_the_server_is_live_as_the_flask_app_does(api: Api) -> None:
    on_loop, by_flask = (api.http.get(f"/v2/health/live{slash}", headers={"X-Request-Id": "a"}) for slash in ("", "/"))
    assert on_loop.json() == {"live": True}
    headers = [
        {name: value for name, value in answer.headers.items() if name != "date"} for answer in (on_loop, by_flask)
    ]
    assert (headers[0], on_loop.content) == (headers[1], by_flask.content)
