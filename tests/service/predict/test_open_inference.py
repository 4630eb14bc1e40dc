"""Infer of the Open Inference Protocol at the level of bytes: what its clients cannot send, and what they must not."""

import gzip
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service.http.wire import HttpRequest
from service.predict.predict import predict
from service.predict.protocols.open_inference.infer import read_infer
from service.settings import Limits
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from tests.builders import loaded_models, publish, publish_network
from tests.service.conftest import LIMITS

LENGTH = "Inference-Header-Content-Length"
ROWS = [[1.0, 2.0], [3.0, -4.0]]
BYTES = np.array(ROWS).tobytes()
LONG = b'{"inputs": [{"name":"input","shape":[1%b,2],"datatype":"FP64","data":[]}]}'
# The model: y_hat = (x0 + 3 x1, 2 x0 - 4 x1)
Y_HAT = [7.0, -6.0, -9.0, 22.0]


@pytest.fixture(autouse=True)
def published(jobs: JobStore) -> None:
    publish_network(jobs, classes=None, is_list=True, weights=[[1, 2], [3, -4]])


def tensor(**changes: Any) -> dict[str, Any]:
    """The input in JSON, or with changes of it; None takes a member away."""
    members = {"name": "input", "shape": [2, 2], "datatype": "FP64", "data": ROWS} | changes
    return {name: value for name, value in members.items() if value is not None}


def binary(size: Any = 32, **changes: Any) -> dict[str, Any]:
    return tensor(data=None, parameters={"binary_data_size": size}, **changes)


def ask(
    http: FlaskClient, body: Any, buffers: bytes = b"", *, length: Any = None, path: str = "or", **headers: str
) -> TestResponse:
    """Post a body; with buffers after it, or a length, it says where its JSON ends."""
    header = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if buffers or length is not None:
        named[LENGTH] = str(len(header) if length is None else length)
    return http.post(f"/v2/models/{path}/infer", data=header + buffers, headers=named)


def shown(answer: TestResponse) -> tuple[dict[str, Any], bytes]:
    """The JSON of an answer, and the buffers after it."""
    assert answer.status_code == 200, answer.text
    length = int(answer.headers.get(LENGTH, len(answer.data)))
    return json.loads(answer.data[:length]), answer.data[length:]


def test_json_in_json_out(http: FlaskClient) -> None:
    answer = ask(http, {"id": "me", "inputs": [tensor()]})
    assert shown(answer)[0] == {
        "model_name": "or",
        "model_version": "1",
        "id": "me",
        "outputs": [
            {"name": "output", "datatype": "FP64", "shape": [2, 2], "data": Y_HAT},
            {"name": "prediction", "datatype": "FP64", "shape": [2, 2], "data": Y_HAT},
        ],
    }
    assert answer.mimetype == "application/json"
    assert "id" not in shown(ask(http, {"inputs": [tensor()]}))[0]


def test_nested_and_flat_data_are_the_same(http: FlaskClient) -> None:
    flat, nested = (ask(http, {"inputs": [tensor(data=data)]}, X_Request_Id="a").data for data in ([1, 2, 3, -4], ROWS))
    assert flat == nested


def test_one_output_in_binary_and_one_in_json_in_the_order_asked_for(http: FlaskClient) -> None:
    outputs = [
        {"name": "prediction", "parameters": {"binary_data": False}},
        {"name": "output"},
    ]
    body = {"inputs": [binary()], "outputs": outputs, "parameters": {"binary_data_output": True}}
    answer = ask(http, body, BYTES)
    header, buffers = shown(answer)
    assert [output["name"] for output in header["outputs"]] == ["prediction", "output"]
    assert header["outputs"][0]["data"] == Y_HAT
    assert header["outputs"][1] == {
        "name": "output", "datatype": "FP64", "shape": [2, 2], "parameters": {"binary_data_size": 32},
    }  # fmt: skip
    assert buffers == struct.pack("<4d", *Y_HAT)
    assert answer.mimetype == "application/octet-stream"


def test_buffers_stand_in_the_order_of_the_outputs_and_bytes_have_their_lengths(
    http: FlaskClient, jobs: JobStore
) -> None:
    publish_network(jobs, classes=["é", "no", "yes"], weights=[[1, 0, 0], [0, 1, 0]])
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in ("prediction", "output")]
    header, buffers = shown(ask(http, {"inputs": [binary()], "outputs": outputs}, BYTES))
    # 1 < 2 is "no", 3 > -4 is "é", of two bytes
    texts = struct.pack("<I2sI2s", 2, b"no", 2, "é".encode())
    assert buffers[:12] == texts
    sizes = [output["parameters"]["binary_data_size"] for output in header["outputs"]]
    assert sizes == [12, 2 * 3 * 8] and len(buffers) == sum(sizes)
    np.testing.assert_allclose(np.frombuffer(buffers[12:]).reshape(2, 3).sum(axis=1), 1)


def test_the_input_may_be_json_and_the_outputs_binary(http: FlaskClient) -> None:
    _, buffers = shown(ask(http, {"inputs": [tensor()], "parameters": {"binary_data_output": True}}))
    assert buffers == struct.pack("<8d", *Y_HAT, *Y_HAT)


def test_single_precision_is_the_type_of_the_output_too(http: FlaskClient) -> None:
    # 0.1 is another number in 32 bits; the sums are in 64 bits and rounded once
    third = float(np.float32(0.1))
    header, _ = shown(ask(http, {"inputs": [tensor(shape=[1, 2], datatype="FP32", data=[0.1, 0.1])]}))
    assert header["outputs"][0]["datatype"] == "FP32"
    assert header["outputs"][0]["data"] == [
        float(str(np.float32(4 * third))),
        float(str(np.float32(-2 * third))),
    ]
    assert header["outputs"][1]["data"] == pytest.approx([4 * third, -2 * third], rel=1e-15)


def test_what_the_protocol_does_not_know_is_ignored(http: FlaskClient) -> None:
    body = {
        "inputs": [tensor(parameters={"mine": 1}, surplus=[])],
        "parameters": {"priority": 3, "sequence_id": 7},
        "outputs": [{"name": "output", "parameters": {"mine": "x"}}],
        "surplus": {},
    }
    assert shown(ask(http, body, Content_Type="text/plain"))[0]["outputs"][0]["data"] == Y_HAT


def test_a_version_is_a_number_and_the_latest_by_default(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs)
    body = {"inputs": [tensor()]}
    assert shown(ask(http, body))[0]["model_version"] == "2"
    assert shown(ask(http, body, path="or/versions/1"))[0]["model_version"] == "1"
    for path in ("or/versions/3", "or/versions/0"):
        assert ask(http, body, path=path).get_json()["code"] == "version_not_found"
    assert ask(http, body, path="nope").get_json()["code"] == "model_not_found"
    for path in ("or/versions/latest", "a:b"):
        assert ask(http, body, path=path).get_json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("body", "buffers", "length", "status", "pointer"),
    [
        # JSON
        ({"inputs": [tensor(shape=[2, 3])]}, b"", None, 422, "/inputs/0/shape"),
        ({"inputs": [tensor(shape=[4])]}, b"", None, 422, "/inputs/0/shape"),
        ({"inputs": [tensor(shape=[1, 2, 2])]}, b"", None, 422, "/inputs/0/shape"),
        ({"inputs": [tensor(shape=[])]}, b"", None, 422, "/inputs/0/shape"),
        ({"inputs": [tensor(shape=[3, 2])]}, b"", None, 422, "/inputs/0/data"),
        ({"inputs": [tensor(shape=[3, 2], data=[1, 2])]}, b"", None, 422, "/inputs/0/data"),
        ({"inputs": [tensor(shape=[0, 2], data=[])]}, b"", None, 422, "/inputs/0/shape/0"),
        ({"inputs": [tensor(shape=[-2, 2])]}, b"", None, 422, "/inputs/0/shape/0"),
        ({"inputs": [tensor(shape=[51, 2])]}, b"", None, 422, "/inputs/0/shape/0"),
        (LONG % (b"0" * 5000), b"", None, 422, "/inputs/0/shape/0"),
        (LONG % (b"0" * 250), b"", None, 422, "/inputs/0/shape/0"),
        ({"inputs": [tensor(shape=[2**62, 2])]}, b"", None, 422, "/inputs/0/shape/0"),
        ({"inputs": [tensor(shape=[2, 2.5])]}, b"", None, 422, "/inputs/0/shape/1"),
        ({"inputs": [tensor(shape="2,2")]}, b"", None, 422, "/inputs/0/shape"),
        ({"inputs": [tensor(data=[[1, 2], [3]])]}, b"", None, 422, "/inputs/0/data/1"),
        ({"inputs": [tensor(data=[[1, 2], 3])]}, b"", None, 422, "/inputs/0/data/1"),
        ({"inputs": [tensor(data=[1, 2, [3], 4])]}, b"", None, 422, "/inputs/0/data/2"),
        ({"inputs": [tensor(data=[1, 2, "3", 4])]}, b"", None, 422, "/inputs/0/data/2"),
        ({"inputs": [tensor(data=[1, 2, True, 4])]}, b"", None, 422, "/inputs/0/data/2"),
        ({"inputs": [tensor(data="1234")]}, b"", None, 422, "/inputs/0/data"),
        ({"inputs": [tensor(data=None)]}, b"", None, 422, "/inputs/0"),
        ({"inputs": [tensor(datatype="FP16")]}, b"", None, 422, "/inputs/0/datatype"),
        ({"inputs": [tensor(datatype="BYTES")]}, b"", None, 422, "/inputs/0/datatype"),
        ({"inputs": [tensor(datatype="FP32", data=[1, 1e39, 1, 1])]}, b"", None, 422, "/inputs/0/data"),
        ({"inputs": [tensor(datatype="INT8", data=[1, 128, 1, 1])]}, b"", None, 422, "/inputs/0/data"),
        ({"inputs": [tensor(datatype="UINT8", data=[1, -1, 1, 1])]}, b"", None, 422, "/inputs/0/data"),
        ({"inputs": [tensor(datatype="INT64", data=[1, 1.5, 1, 1])]}, b"", None, 422, "/inputs/0/data"),
        ({"inputs": [tensor(name="x")]}, b"", None, 422, "/inputs"),
        ({"inputs": [tensor(), tensor()]}, b"", None, 422, "/inputs"),
        ({"inputs": []}, b"", None, 422, "/inputs"),
        ({"inputs": {}}, b"", None, 422, "/inputs"),
        ({"inputs": [tensor(name=7)]}, b"", None, 422, "/inputs/0/name"),
        ({"inputs": [tensor()], "id": 7}, b"", None, 422, "/id"),
        ({"inputs": [tensor()], "parameters": []}, b"", None, 422, "/parameters"),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, b"", None, 422,
         "/parameters/binary_data_output"),
        ({"inputs": [tensor()], "outputs": [{"name": "output", "parameters": {"binary_data": "yes"}}]}, b"", None, 422,
         "/outputs/0/parameters/binary_data"),
        ({}, b"", None, 422, None),
        ({"inputs": [tensor()], "outputs": [{"name": "other"}]}, b"", None, 400, None),
        ({"inputs": [tensor()], "outputs": [{"name": "output"}] * 2}, b"", None, 400, None),
        ({"inputs": [tensor(data=None, parameters={"shared_memory_region": "r"})]}, b"", None, 400, None),
        (b'{"inputs": [NaN]}', b"", None, 400, "/inputs/0"),
        (b'{"inputs": [{"name":"input","shape":[1,2],"datatype":"FP64","data":[1,1e999]}]}', b"", None, 422,
         "/inputs/0/data/1"),
        (b"[" * 5000, b"", None, 400, None),
        (b'{"inputs": "\xff"}', b"", None, 400, None),
        (b"[]", b"", None, 400, None),
        (b"", b"", None, 411, None),
        # the length of the JSON
        ({"inputs": [binary()]}, BYTES, 10_000, 422, f"/{LENGTH}"),
        ({"inputs": [binary()]}, BYTES, -1, 422, f"/{LENGTH}"),
        ({"inputs": [binary()]}, BYTES, "1e2", 422, f"/{LENGTH}"),
        ({"inputs": [binary()]}, BYTES, "", 422, f"/{LENGTH}"),
        ({"inputs": [binary()]}, BYTES, "²", 422, f"/{LENGTH}"),
        ({"inputs": [binary()]}, BYTES, "9" * 5000, 422, f"/{LENGTH}"),
        ({"inputs": [binary()]}, BYTES, 0, 400, None),
        ({"inputs": [binary()]}, BYTES, 20, 400, None),
        # buffers
        ({"inputs": [binary()]}, BYTES[:-1], None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary()]}, BYTES + b"\0", None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary(16)]}, BYTES[:16], None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary(32, datatype="FP32")]}, BYTES, None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary(0)]}, b"", None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary(-32)]}, BYTES, None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary("32")]}, BYTES, None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary(32.0)]}, BYTES, None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary(True)]}, BYTES, None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [binary()]}, b"", None, 422, "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [tensor(parameters={"binary_data_size": 32})]}, BYTES, None, 422,
         "/inputs/0/parameters/binary_data_size"),
        ({"inputs": [tensor()]}, BYTES, None, 422, f"/{LENGTH}"),
        ({"inputs": [binary()]}, struct.pack("<4d", 1, 2, float("nan"), 4), None, 422, "/inputs/0"),
        ({"inputs": [binary()]}, struct.pack("<4d", 1, 2, float("-inf"), 4), None, 422, "/inputs/0"),
        ({"inputs": [binary(16, datatype="FP32")]}, struct.pack("<4f", 1, 2, 3, float("inf")), None, 422, "/inputs/0"),
        ({"inputs": [binary(datatype="INT64")]}, struct.pack("<4q", 1, 2, 2**53, 4), None, 422, "/inputs/0"),
        ({"inputs": [binary(datatype="INT64")]}, struct.pack("<4q", 1, 2, -(2**63), 4), None, 422, "/inputs/0"),
        ({"inputs": [binary(datatype="UINT64")]}, struct.pack("<4Q", 1, 2, 2**64 - 1, 4), None, 422, "/inputs/0"),
    ],
)  # fmt: skip
def test_each_wrong_request_is_told_what_and_where(
    http: FlaskClient, body: Any, buffers: bytes, length: Any, status: int, pointer: str | None
) -> None:
    answer = ask(http, body, buffers, length=length)
    problem = answer.get_json()
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json"), answer.text
    assert problem["error"] == problem["detail"] and len(problem["error"]) < 500
    assert status != 422 or problem["code"] in ("invalid_request", "wrong_dimension")
    assert problem.get("errors", [{}])[0].get("pointer") == pointer or (pointer is None and status == 422)


def test_an_output_too_large_for_its_type_is_an_error(http: FlaskClient) -> None:
    for datatype, value in (("FP64", 1e308), ("FP32", 2e38)):
        answer = ask(http, {"inputs": [tensor(datatype=datatype, data=[1, 2, value, value])]})
        assert (answer.status_code, answer.get_json()["code"]) == (422, "output_not_finite")
        assert "instance 1" in answer.get_json()["error"]


@pytest.mark.parametrize(
    ("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), (" GZIP ", gzip.compress)]
)
def test_a_compressed_body_is_inflated_before_it_is_cut(http: FlaskClient, name: str, compress: Any) -> None:
    header = json.dumps({"inputs": [binary()]}).encode()
    answer = http.post(
        "/v2/models/or/infer",
        data=compress(header + BYTES),
        headers={LENGTH: str(len(header)), "Content-Encoding": name},
    )
    assert shown(answer)[0]["outputs"][0]["data"] == Y_HAT


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"{}")[:-1], 400),
        ("gzip", gzip.compress(b"{}") + b"more", 400),
        ("gzip", zlib.compress(b"{}"), 400),
        ("deflate", zlib.compress(b"{}")[2:], 400),
        ("br", b"{}", 415),
        ("gzip, gzip", gzip.compress(b"{}"), 400),
        ("gzip", gzip.compress(b" " * LIMITS.max_body_bytes + b" "), 413),
        ("deflate", zlib.compress(b" " * 50_000_000), 413),
    ],
)
def test_a_body_that_cannot_be_inflated_is_refused(http: FlaskClient, name: str, body: bytes, status: int) -> None:
    answer = http.post("/v2/models/or/infer", data=body, headers={"Content-Encoding": name})
    assert answer.status_code == status


def test_a_large_answer_comes_compressed_if_that_is_accepted_and_a_small_one_does_not(http: FlaskClient) -> None:
    large = {"inputs": [tensor(shape=[50, 2], data=[1, 2] * 50)]}
    plain = ask(http, large).data
    for accepted, coding, decompress in (
        ("gzip", "gzip", gzip.decompress),
        ("deflate", "deflate", zlib.decompress),
        ("gzip;q=0.1, deflate", "deflate", zlib.decompress),
        ("br, gzip", "gzip", gzip.decompress),
    ):
        answer = ask(http, large, Accept_Encoding=accepted)
        assert answer.headers["Content-Encoding"] == coding
        assert len(answer.data) < len(plain) / 4 and decompress(answer.data) == plain
    for accepted in ("identity", "gzip;q=0", "br"):
        assert "Content-Encoding" not in ask(http, large, Accept_Encoding=accepted).headers
    assert "Content-Encoding" not in ask(http, {"inputs": [tensor()]}, Accept_Encoding="gzip").headers


def test_an_answer_in_another_form_is_not_to_be_had(http: FlaskClient) -> None:
    body = {"inputs": [tensor()]}
    assert ask(http, body, Accept="text/html").status_code == 406
    for accept in ("application/octet-stream", "application/json", "*/*", "application/*;q=0.5"):
        assert ask(http, body, Accept=accept).status_code == 200


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["FP32", "input", "2"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["binary_data_size", "x"]), inner),
    max_leaves=8,
)
TENSORS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("input") | ANYTHING,
        "shape": st.lists(st.integers(-3, 3), max_size=3) | ANYTHING,
        "datatype": st.sampled_from(["FP64", "FP32", "INT8", "UINT64", "BOOL"]) | ANYTHING,
        "data": st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6) | ANYTHING,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 64)}) | ANYTHING,
    },
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.fixed_dictionaries(
        {"inputs": st.lists(TENSORS, max_size=2) | ANYTHING},
        optional={"id": ANYTHING, "parameters": ANYTHING, "outputs": ANYTHING},
    ),
    buffers=st.binary(max_size=64),
    length=st.none() | st.integers(-1, 300),
)
def test_no_body_is_our_own_fault(models: ModelStore, body: Any, buffers: bytes, length: int | None) -> None:
    header = json.dumps(body).encode()
    headers = {LENGTH.lower().encode(): b"%d" % (len(header) if length is None else length)}
    request = HttpRequest(header + buffers, "id", headers=headers, path_values={"name": "or"})
    answer = predict(read_infer, request, loaded_models(models), Limits())
    assert answer.status in (200, 400, 422), answer
    assert b"NaN" not in answer.body or answer.status != 200
