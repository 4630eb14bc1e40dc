"""Infer requests with a tensor for each column of a table, at the level of bytes."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from storage.jobs.store import JobStore
from tests.tables import CHURN, publish_table

LENGTH = "Inference-Header-Content-Length"
Y_HAT = pytest.approx([0.0356365493, 0.0276931085, 0.0503273762], abs=1e-6)  # scikit-learn's


@pytest.fixture(autouse=True)
def published(jobs: JobStore) -> None:
    publish_table(jobs, "churn", CHURN)


def tensors(**changes: Any) -> list[dict[str, Any]]:
    """An input for each column, or with changes of their members; None takes an input away."""
    inputs: dict[str, Any] = {
        "age": {"datatype": "FP64", "shape": [3], "data": [52, 52, 52]},
        "income": {"datatype": "FP64", "shape": [3, 1], "data": [25.5, None, 25.5]},
        "member": {"datatype": "BOOL", "shape": [3], "data": [True, True, True]},
        "plan": {"datatype": "BYTES", "shape": [3, 1], "data": ["plus", "plus", "gold"]},
    }
    for name, change in changes.items():
        inputs[name] = None if change is None else inputs.get(name, {}) | change
    return [{"name": name, **members} for name, members in inputs.items() if members is not None]


def infer(http: FlaskClient, inputs: Any, buffers: bytes = b"", **more: Any) -> Any:
    header = json.dumps({"inputs": inputs, **more}).encode()
    headers = {LENGTH: str(len(header))} if buffers else {}
    return http.post("/v2/models/churn/infer", data=header + buffers, headers=headers)


def y_hat(answer: Any) -> list[float]:
    assert answer.status_code == 200, answer.text
    values: list[float] = answer.get_json()["outputs"][0]["data"]
    return values


def texts(*values: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def test_metadata_lists_an_input_for_each_column(http: FlaskClient) -> None:
    assert http.get("/v2/models/churn").get_json()["inputs"] == [
        {"name": "age", "datatype": "FP64", "shape": [-1]},
        {"name": "income", "datatype": "FP64", "shape": [-1]},
        {"name": "member", "datatype": "BOOL", "shape": [-1]},
        {"name": "plan", "datatype": "BYTES", "shape": [-1]},
    ]
    config = http.get("/v2/models/churn/config").get_json()
    assert [each["data_type"] for each in config["input"]] == ["TYPE_FP64", "TYPE_FP64", "TYPE_BOOL", "TYPE_STRING"]


def test_columns_in_json_in_any_order(http: FlaskClient) -> None:
    answer = infer(http, tensors()[::-1])
    assert y_hat(answer) == Y_HAT
    assert answer.headers["X-Warnings"] == "1"  # gold
    nested = tensors(age={"data": [[52], [52], [52]]}, plan={"data": [["plus"], ["plus"], ["gold"]]})
    assert y_hat(infer(http, nested)) == Y_HAT
    assert y_hat(infer(http, tensors(member={"datatype": "BYTES", "data": ["true", "True", "TRUE"]}))) == Y_HAT
    assert y_hat(infer(http, tensors(age={"datatype": "UINT8"}))) == Y_HAT


def test_columns_in_binary(http: FlaskClient) -> None:
    buffers = {
        "age": np.array([52, 52, 52], "<i2").tobytes(),
        "income": np.array([25.5, 25.5, 25.5], "<f4").tobytes(),
        "member": b"\1\1\1",
        "plan": texts(b"plus", b" plus ", b"gold"),
    }
    datatypes = dict(zip(buffers, ("INT16", "FP32", "BOOL", "BYTES"), strict=True))
    inputs = [
        {"name": name, "shape": [3], "datatype": datatypes[name], "parameters": {"binary_data_size": len(buffer)}}
        for name, buffer in buffers.items()
    ]
    answer = infer(http, inputs, b"".join(buffers.values()))
    assert answer.get_json()["outputs"][0]["datatype"] == "FP32"  # as the only floats that were sent
    assert y_hat(answer) == pytest.approx([0.0356365493, 0.0356365493, 0.0503273762], abs=1e-6)
    answer = infer(http, inputs[:3] + tensors()[3:], b"".join(list(buffers.values())[:3]))
    assert y_hat(answer) == pytest.approx([0.0356365493, 0.0356365493, 0.0503273762], abs=1e-6)


def test_another_input_is_ignored_with_its_bytes(http: FlaskClient) -> None:
    extra = {"name": "id", "shape": [3], "datatype": "INT8", "parameters": {"binary_data_size": 3}}
    plan = {"datatype": "BYTES", "data": None, "parameters": {"binary_data_size": 24}}
    inputs = tensors(plan=plan)
    del inputs[3]["data"]
    answer = infer(http, [extra, *inputs], b"\1\2\3" + texts(b"plus", b"plus", b"gold"))
    assert y_hat(answer) == Y_HAT
    assert answer.headers["X-Warnings"] == "2"


BINARY = {"data": None, "parameters": {"binary_data_size": 12}}


@pytest.mark.parametrize(
    ("changes", "pointer", "words"),
    [
        ({"plan": None}, "/inputs", "has no column 'plan'"),
        ({"plan": None, "Plan": {"datatype": "BYTES", "shape": [3], "data": []}}, "/inputs", "'Plan' is given"),
        ({"age": {"shape": [2], "data": [1, 2]}}, "/inputs/1/shape/0", "expected 2 as for 'age', got 3"),
        ({"age": {"shape": [2]}}, "/inputs/0/data", "expected 2 values"),
        ({"age": {"shape": []}}, "/inputs/0/shape", "expected [-1] or [-1, 1], got []"),
        ({"age": {"shape": [3, 2]}}, "/inputs/0/shape", "expected [-1] or [-1, 1]"),
        ({"age": {"shape": [0]}}, "/inputs/0/shape/0", "must hold 1 to"),
        ({"age": {"shape": [10**15]}}, "/inputs/0/shape/0", "must hold 1 to"),
        ({"age": {"datatype": "BYTES"}}, "/inputs/0/datatype", "expected one of FP64, FP32"),
        ({"member": {"datatype": "FP64"}}, "/inputs/2/datatype", "expected one of BOOL, BYTES"),
        ({"plan": {"datatype": "FP16"}}, "/inputs/3/datatype", "got 'FP16'"),
        ({"age": {"data": [1, "2", 3]}}, "/inputs/0/data/1", "must be a number"),
        ({"age": {"data": 1}}, "/inputs/0/data", "must be an array"),
        ({"age": {"data": [[1], [2, 3], [4]]}}, "/inputs/0/data/1", "an array with one value"),
        ({"age": {"datatype": "INT8", "data": [1, 2, 300]}}, "/inputs/0/data", "whole number"),
        ({"member": {"data": [True, False, 2]}}, "/inputs/2/data/2", "'member' must be true, false or null, not 2"),
        ({"plan": {"data": ["pro", {}, "pro"]}}, "/inputs/3/data/1", "'plan' must be text"),
        ({"plan": {"parameters": {"binary_data_size": 5}}}, "/inputs/3/parameters/binary_data_size", "not both"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(http: FlaskClient, changes: Any, pointer: str, words: str) -> None:
    answer = infer(http, tensors(**changes))
    assert answer.status_code == 422, answer.text
    (fault,) = answer.get_json()["errors"]
    assert (fault["pointer"], words in fault["detail"]) == (pointer, True), fault


@pytest.mark.parametrize(
    ("buffer", "size", "words"),
    [
        (texts(b"plus", b"plus"), None, "ends within text 2"),
        (texts(b"plus", b"plus", b"gold") + b"\0", None, "must be 24 for these 3 texts, not 25"),
        (b"\xff\xff\xff\xff" * 6, None, "ends within text 0"),
        (texts(b"\xff\xfe\xfd", b"", b"") + b"", None, "must be UTF-8"),
        (texts(b"plus", b"plus", b"gold"), 25, "at most the 24 bytes"),
        (texts(b"plus", b"plus", b"gold"), -1, "must be a number of bytes"),
        (texts(b"plus", b"plus", b"gold"), 20, "4 bytes follow the JSON that belong to no input"),
    ],
)
def test_damaged_binary_texts_are_refused(http: FlaskClient, buffer: bytes, size: int | None, words: str) -> None:
    inputs = tensors()
    inputs[3] = {"name": "plan", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
    if size is None:
        inputs[3]["parameters"]["binary_data_size"] = len(buffer)
    answer = infer(http, inputs, buffer)
    assert answer.status_code == 422
    assert words in answer.get_json()["detail"]


@pytest.mark.parametrize(("buffer", "words"), [(b"\1\0\2", "value at 2 of BOOL"), (b"\1\0", "must be 3 for BOOL")])
def test_damaged_binary_booleans_are_refused(http: FlaskClient, buffer: bytes, words: str) -> None:
    size = {"binary_data_size": len(buffer)}
    inputs = tensors()
    inputs[2] = {"name": "member", "shape": [3], "datatype": "BOOL", "parameters": size}
    answer = infer(http, inputs, buffer)
    assert (answer.status_code, words in answer.get_json()["detail"]) == (422, True)


def test_two_inputs_of_one_name_and_none_at_all(http: FlaskClient) -> None:
    assert "two columns 'age'" in infer(http, [*tensors(), tensors()[0]]).get_json()["detail"]
    assert infer(http, []).status_code == 422
