"""The table of formats: one record is all that a new media type needs."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from flask.testing import FlaskClient

from service.predict.formats.format import Format, in_order
from service.predict.formats.table import FORMATS
from service.predict.inputs import Inputs
from service.predict.instances import Instances, Matrix
from service.settings import Limits
from storage.jobs.store import JobStore
from tests.builders import publish_network

ARROW, JSON_LINES = "application/vnd.apache.arrow.stream", "application/jsonlines"


def read_spaces(body: bytes, inputs: Inputs, _limits: Limits, _parameters: Mapping[str, str]) -> Instances:
    return in_order(np.loadtxt(io.BytesIO(body), ndmin=2), None, inputs.names)


def write_spaces(outputs: Matrix, predictions: Sequence[Any] | None) -> bytes:
    rows = np.column_stack([outputs, *([predictions] if predictions is not None else [])])
    return b"".join(b" ".join(b"%g" % value for value in row) + b"\n" for row in rows.tolist())


SPACES = Format("text/x-spaces", read_spaces, write_spaces)


@pytest.fixture(autouse=True)
def line(jobs: JobStore) -> None:
    """The model: y_hat = x0 + 3 x1."""
    publish_network(jobs, "line", weights=[[1], [3]], classes=None)


def test_a_format_registered_by_one_record_is_read_and_written(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Content-Type": SPACES.media_type, "Accept": SPACES.media_type}
    assert http.post("/predict?model=line", data=b"1 2\n-3 1\n", headers=headers).status_code == 406
    monkeypatch.setitem(FORMATS, SPACES.media_type, SPACES)
    for path, expected in (("/predict", b"7 7\n0 0\n"), ("/invocations", b"7\n0\n")):
        answer = http.post(f"{path}?model=line", data=b"1 2\n-3 1\n", headers=headers)
        assert (answer.status_code, answer.data) == (200, expected), answer.text
        assert answer.headers["Content-Type"] == "text/x-spaces; charset=utf-8"
        assert answer.headers["X-Model-Version"] == "1"


def test_a_format_that_forgets_the_limits_cannot_exceed_them(
    http: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, SPACES.media_type, SPACES)
    for path in ("/predict", "/invocations"):
        answer = http.post(f"{path}?model=line", data=b"1 2\n" * 51, content_type=SPACES.media_type)
        assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")
        assert "MAX_PREDICT_INSTANCES" in answer.get_json()["detail"]


def test_the_native_route_takes_and_gives_json_lines(http: FlaskClient) -> None:
    answer = http.post(
        "/predict?model=line",
        data=b"[1, 2]\n[-3, 1]\n",
        headers=dict.fromkeys(("Content-Type", "Accept"), JSON_LINES),
    )
    assert answer.mimetype == JSON_LINES
    assert answer.data == b'{"outputs":[7.0],"prediction":7.0}\n{"outputs":[0.0],"prediction":0.0}\n'


def test_invocations_take_and_give_arrow(http: FlaskClient) -> None:
    table, sink = pa.table({"x1": [2, 1], "x0": [1, -3]}), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    headers = {"Content-Type": ARROW, "Accept": ARROW}
    answer = http.post("/invocations?model=line", data=sink.getvalue().to_pybytes(), headers=headers)
    assert answer.mimetype == ARROW
    assert pa.ipc.open_stream(answer.data).read_all().to_pydict() == {"output": [7.0, 0.0]}


def test_every_format_is_in_the_openapi_document_of_both_routes(http: FlaskClient) -> None:
    paths = http.get("/openapi.json").get_json()["paths"]
    for path in ("/predict", "/invocations"):
        operation = paths[path]["post"]
        for content in (operation["requestBody"]["content"], operation["responses"]["200"]["content"]):
            assert set(content) == {"application/json", *FORMATS}
