"""The REST API of TensorFlow Serving and KServe v1, with the bodies that their clients send."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from storage.jobs.store import JobStore
from tests.builders import publish, publish_network, steep

OR = "/v1/models/or"


def y_hat(*z: float) -> list[Any]:
    """Rows of the outputs of a sigmoid neuron."""
    return [[pytest.approx(1 / (1 + math.exp(-value)), rel=1e-15)] for value in z]


@pytest.fixture
def post(http: FlaskClient) -> Callable[..., Any]:
    def post(body: Any, path: str = OR, **headers: str) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body)
        return http.post(f"{path}:predict", data=data, headers={"Content-Type": "application/json", **headers})

    return post


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [[1, 2], [-3, 1]]},
        {"signature_name": "serving_default", "instances": [[1.0, 2.0], [-3.0, 1.0]]},
        {"instances": [{"input": [1, 2]}, {"input": [-3, 1]}]},
        {"instances": [{"x1": 2, "x0": 1}, {"x0": -3, "x1": 1}]},
        {"instances": [[1, 2], [-3, 1]], "parameters": {"confidence": 0.5}},
    ],
)
def test_rows_give_predictions_one_row_each(post: Callable[..., Any], jobs: JobStore, body: Any) -> None:
    publish_network(jobs, weights=[[1], [3]], classes=None)  # y_hat = x0 + 3 x1
    answer = post(body)
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/json"
    assert answer.headers["X-Model-Version"] == "1"
    assert answer.get_json() == {"predictions": [[7.0], [0.0]]}


@pytest.mark.parametrize(
    "inputs",
    [
        [[1, 2], [-3, 1]],
        {"input": [[1, 2], [-3, 1]]},
        {"x1": [2, 1], "x0": [1, -3]},
        {"x1": [[2], [1]], "x0": [[1], [-3]]},
    ],
)
def test_columns_give_outputs(post: Callable[..., Any], jobs: JobStore, inputs: Any) -> None:
    publish_network(jobs, weights=[[1], [3]], classes=None)
    answer = post({"signature_name": "serving_default", "inputs": inputs})
    assert answer.status_code == 200, answer.text
    assert answer.get_json() == {"outputs": [[7.0], [0.0]]}


def test_a_single_feature_may_come_as_scalars(
    post: Callable[..., Any], http: FlaskClient, train: Callable[..., Any]
) -> None:
    train({"model": "half", "data": {"features": [[0], [1], [2]], "targets": [3, 3.5, 4]}})
    expected = http.post("/predict", json={"model": "half", "instances": [[1.0], [5.0]]}).get_json()["outputs"]
    for body in ({"instances": [1.0, 5.0]}, {"instances": [[1.0], [5.0]]}, {"instances": [{"x0": 1}, {"x0": 5}]}):
        assert post(body, "/v1/models/half").get_json() == {"predictions": expected}
    for inputs in ([1.0, 5.0], {"input": [1, 5]}, {"x0": [1, 5]}):
        assert post({"inputs": inputs}, "/v1/models/half").get_json() == {"outputs": expected}


def test_versions_by_number_and_labels_by_alias(post: Callable[..., Any], http: FlaskClient, jobs: JobStore) -> None:
    for weight in (1.0, 2.0, 3.0):
        publish(jobs, weight=weight)
    http.put("/models/or/aliases/production", json={"version": 2})
    for path, z in ((OR, 3), (f"{OR}/versions/1", 1), (f"{OR}/labels/production", 2)):
        assert post({"instances": [[1, 0]]}, path).get_json() == {"predictions": y_hat(z)}


def test_curl_without_a_content_type_of_its_own_is_understood(post: Callable[..., Any], jobs: JobStore) -> None:
    publish(jobs)
    form = "application/x-www-form-urlencoded"
    assert post({"instances": [[1, 2]]}, **{"Content-Type": form}).get_json() == {"predictions": y_hat(3)}
    assert post({"instances": [[1, 2]]}, **{"Content-Type": "text/csv"}).status_code == 415


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"instances": [[1, 2]], "inputs": [[1, 2]]}, 422, "invalid_request", "/inputs"),
        ({}, 422, "invalid_request", "/instances"),
        ({"examples": [{"x0": 1}]}, 422, "invalid_request", "/instances"),
        ({"instances": []}, 422, "invalid_request", "/instances"),
        ({"instances": None}, 422, "invalid_request", "/instances"),
        ({"instances": [[1, 2]] * 51}, 422, "invalid_request", "/instances"),
        ({"instances": [1, 2]}, 422, "invalid_request", "/instances/0"),
        ({"instances": [[1, 2], [1, 2, 3]]}, 422, "wrong_dimension", "/instances/1"),
        ({"instances": [[1, "2"]]}, 422, "invalid_request", "/instances/0/1"),
        ({"instances": [[1, True]]}, 422, "invalid_request", "/instances/0/1"),
        ({"instances": [{"input": [1, 2]}, {"input": [1, None]}]}, 422, "invalid_request", "/instances/1/input/1"),
        ({"instances": [{"input": [1, 2]}, {"input": [1]}]}, 422, "wrong_dimension", "/instances/1/input"),
        ({"instances": [{"input": [1, 2]}, {"other": [1, 2]}]}, 422, "invalid_request", "/instances/1"),
        ({"instances": [{"input": [1, 2]}, [1, 2]]}, 422, "invalid_request", "/instances/1"),
        ({"instances": [{"x0": 1, "x1": 2}, {"x0": 1}]}, 422, "invalid_request", "/instances/1/x1"),
        ({"instances": [{"x0": 1, "x1": "2"}]}, 422, "invalid_request", "/instances/0/x1"),
        ({"instances": [{"b64": "AAAA"}]}, 422, "invalid_request", "/instances/0/x0"),
        (b'{"instances": [[1, 1e999]]}', 422, "invalid_request", "/instances/0/1"),
        (b'{"instances": [[1, NaN]]}', 400, "malformed_json", "/instances/0/1"),
        (b'{"instances": [[1, -Infinity]]}', 400, "malformed_json", "/instances/0/1"),
        (b"[[1, 2]]", 400, "malformed_json", None),
        ({"inputs": 5}, 422, "invalid_request", "/inputs"),
        ({"inputs": {"input": [[1, 2], [1]]}}, 422, "wrong_dimension", "/inputs/input/1"),
        ({"inputs": {"x0": [1, 2]}}, 422, "invalid_request", "/inputs/x1"),
        ({"inputs": {"x0": [1], "x1": [1], "x2": [1]}}, 422, "invalid_request", "/inputs/x2"),
        ({"inputs": {"x0": [1, 2], "x1": [1]}}, 422, "invalid_request", "/inputs/x1"),
        ({"inputs": {"x0": [1, 2], "x1": [1, "2"]}}, 422, "invalid_request", "/inputs/x1/1"),
        ({"inputs": {"x0": [[1], [2]], "x1": [[1], [2, 3]]}}, 422, "wrong_dimension", "/inputs/x1/1"),
        ({"inputs": {"x0": 1, "x1": 2}}, 422, "invalid_request", "/inputs/x0"),
        ({"inputs": {"x0": [], "x1": []}}, 422, "invalid_request", "/inputs/x0"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(
    post: Callable[..., Any], jobs: JobStore, body: Any, status: int, code: str, pointer: str | None
) -> None:
    publish(jobs)
    answer = post(body)
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    assert answer.mimetype == "application/problem+json"
    assert isinstance(problem["error"], str)
    assert problem.get("errors", [{"pointer": None}])[0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"instances": [[1, 1], [1e308, 1e308]]}, "/instances/1"),
        ({"instances": [{"input": [1, 1]}, {"input": [1e308, 1e308]}]}, "/instances/1"),
        ({"inputs": {"input": [[1e308, 1e308]]}}, "/inputs/input/0"),
        ({"inputs": {"x0": [1, 1e308], "x1": [1, 1e308]}}, "/inputs"),
    ],
)
def test_an_output_that_is_not_finite_is_an_error_of_its_instance(
    post: Callable[..., Any], train: Callable[..., Any], body: Any, pointer: str
) -> None:
    train(steep())
    answer = post(body, "/v1/models/steep")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "output_not_finite")
    assert answer.get_json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/models/nope", 404, "model_not_found"),
        (f"{OR}/versions/7", 404, "version_not_found"),
        (f"{OR}/labels/nope", 404, "alias_not_found"),
        (f"{OR}/versions/0", 404, "version_not_found"),
        ("/v1/models/a:b", 404, "not_found"),
        ("/v1/models/a%2Fb", 404, "not_found"),
    ],
)
def test_what_does_not_exist_is_404_for_predictions_and_status(
    post: Callable[..., Any], http: FlaskClient, jobs: JobStore, path: str, status: int, code: str
) -> None:
    publish(jobs)
    for answer in (post({"instances": [[1, 2]]}, path), http.get(path), http.get(f"{path}/metadata")):
        assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_the_status_serves_tensorflow_and_kserve_clients(http: FlaskClient, jobs: JobStore) -> None:
    for _ in range(2):
        publish(jobs)
    http.put("/models/or/aliases/production", json={"version": 1})
    one, two = (
        {"version": number, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        for number in "12"
    )
    assert http.get(OR).get_json() == {"name": "or", "ready": True, "model_version_status": [two, one]}
    for path in (f"{OR}/versions/1", f"{OR}/labels/production"):
        assert http.get(path).get_json() == {"name": "or", "ready": True, "model_version_status": [one]}


def test_the_metadata_is_a_signature_of_one_input_and_one_output(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs)
    http.put("/models/or/aliases/production", json={"version": 1})
    described = http.get(f"{OR}/metadata").get_json()
    assert described["model_spec"] == {"name": "or", "signature_name": "", "version": "1"}
    signature = described["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    for tensors, name, width in (("inputs", "input", "2"), ("outputs", "output", "1")):
        tensor = signature[tensors][name]
        assert tensor["dtype"] == "DT_DOUBLE"
        assert [dimension["size"] for dimension in tensor["tensor_shape"]["dim"]] == ["-1", width]
    for path in (f"{OR}/versions/1", f"{OR}/labels/production"):
        assert http.get(f"{path}/metadata").get_json() == described


def test_all_models_are_listed_by_name(http: FlaskClient, jobs: JobStore) -> None:
    assert http.get("/v1/models").get_json() == {"models": []}
    names = [f"m{k:03}" for k in range(203)]  # more than are read at once
    for name in names:
        publish(jobs, name)
    assert http.get("/v1/models").get_json() == {"models": names}
