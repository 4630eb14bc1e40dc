"""`/jobs` over HTTP."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from redis import Redis

from perceptron import DivergedError
from service.app import create_app
from service.settings import Limits
from storage import keys
from storage.blobs import BlobStore
from storage.jobs.store import JobStore

OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "or", "data": OR, **more}


def test_an_accepted_job_says_where_to_ask_for_it(http: FlaskClient) -> None:
    answer = http.post("/jobs", json=body(metadata={"owner": "growth"}))
    job = answer.get_json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert int(answer.headers["Retry-After"]) >= 1
    assert job["id"].startswith("job_")
    expected = {"model": "or", "status": "queued", "done": False, "attempt": 0, "metadata": {"owner": "growth"}}
    assert {name: job[name] for name in expected} == expected
    assert job["started_at"] is job["finished_at"] is job["progress"] is job["result"] is job["error"] is None
    assert job["created_at"].endswith("Z")


def test_every_default_of_the_contract_is_chosen_and_shown(http: FlaskClient) -> None:
    config = http.post("/jobs", json=body()).get_json()["config"]
    assert config["network"] == {"activation": "sigmoid", "hidden_layers": [], "hidden_activation": "tanh"}
    assert config["training"] == {
        "loss": "cross_entropy",
        "optimizer": "newton",
        "learning_rate": 0.5,  # which newton ignores
        "batch_size": None,
        "max_epochs": 1000,
        "tolerance": None,
        "time_limit_s": None,
        "l2": 1 / (2 * 100),
        "initialization": "zeros",
        "standardize": True,
        "scale_targets": False,
        "seed": 0,
        "dtype": "float64",
    }
    assert (config["task"], config["classes"], config["validation"]) == ("binary_classification", [0, 1], None)
    assert config["feature_names"] == ["x0", "x1"]
    assert sorted(config["reasons"]) == ["training/l2", "training/loss", "training/optimizer"]


@pytest.mark.parametrize(
    "training",
    [{"optimizer": "gradient_descent"}, {"learning_rate": 0.5}, {"optimizer": "gradient_descent", "l2": 0.0}],
)
@pytest.mark.parametrize("targets", [[0, 1, 1, 1], [0.0, 30.0, 10.0, 20.0]])
def test_naming_gradient_descent_or_a_rate_gives_the_textbook(
    http: FlaskClient, training: dict[str, Any], targets: list[float]
) -> None:
    request = body(training=training, data=OR | {"targets": targets})
    config = http.post("/jobs", json=request).get_json()["config"]
    named = ("loss", "optimizer", "learning_rate", "l2", "scale_targets")
    expected = ["mean_squared_error", "gradient_descent", 0.5, 0.0, False]
    assert [config["training"][name] for name in named] == expected
    assert config["validation"] is None


def test_what_is_named_is_not_chosen(http: FlaskClient) -> None:
    training = {"loss": "mean_squared_error", "l2": 0.25, "tolerance": 0.5}
    config = http.post("/jobs", json=body(training=training)).get_json()["config"]
    assert config["training"] | training == config["training"]
    # squared errors of sigmoid outputs are not convex
    assert config["training"]["optimizer"] == "lbfgs"
    assert list(config["reasons"]) == ["training/optimizer"]


@pytest.mark.parametrize(
    ("sweep", "optimizer"),
    [({"l2": [0.0, 0.1]}, "newton"), ({"seed": [0, 1]}, "newton"), ({"learning_rate": [0.1, 1]}, "gradient_descent")],
)
def test_a_sweep_over_rates_is_of_gradient_descent_and_any_other_keeps_what_is_chosen(
    http: FlaskClient, sweep: dict[str, Any], optimizer: str
) -> None:
    config = http.post("/jobs", json=body(sweep=sweep)).get_json()["config"]
    assert config["training"]["optimizer"] == optimizer


def test_a_sweep_over_penalties_gives_no_reason_for_one_that_no_candidate_has(http: FlaskClient) -> None:
    config = http.post("/jobs", json=body(sweep={"l2": [0.0, 0.1]})).get_json()["config"]
    assert sorted(config["reasons"]) == ["training/loss", "training/optimizer"]


def test_hidden_layers_hold_out_a_fifth_of_fifty_rows_and_scale_plain_numbers(http: FlaskClient) -> None:
    data = {"features": [[float(k)] for k in range(50)], "targets": [k / 2 for k in range(50)]}
    request = {"model": "m", "data": data, "network": {"hidden_layers": [4]}}
    config = http.post("/jobs", json=request).get_json()["config"]
    assert config["validation"] == {"fraction": 0.2, "early_stopping_patience": 50, "folds": None}
    assert (config["training"]["optimizer"], config["training"]["scale_targets"]) == ("lbfgs", True)
    data["features"].pop()
    data["targets"].pop()
    assert http.post("/jobs", json=request).get_json()["config"]["validation"] is None


@pytest.mark.parametrize(
    ("n_rows", "n_features", "l2"),
    [(4, 2, 1 / 200), (4, 4, 1 / 200), (4, 5, 1 / 8), (100, 2, 1 / 200), (200, 2, 1 / 400), (20, 30, 1 / 40)],
)
def test_the_penalty_grows_with_fewer_rows_down_to_100_or_with_more_features_than_rows(
    http: FlaskClient, n_rows: int, n_features: int, l2: float
) -> None:
    data = {"features": np.eye(n_rows, n_features).tolist(), "targets": [k % 2 for k in range(n_rows)]}
    config = http.post("/jobs", json={"model": "m", "data": data}).get_json()["config"]
    assert config["training"]["l2"] == l2


def test_only_identity_outputs_have_targets_to_scale(http: FlaskClient) -> None:
    answer = http.post("/jobs", json=body(training={"scale_targets": True}))
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == "/training/scale_targets"


def test_the_whole_example_of_the_contract_is_accepted(http: FlaskClient) -> None:
    answer = http.post(
        "/jobs",
        json={
            "model": "churn",
            "data": {
                "features": [[0.1, 2.0], [1.5, 0.3]],
                "targets": [0, 1],
                "feature_names": ["age", "spend"],
                "instance_weights": None,
            },
            "network": {"activation": "sigmoid", "hidden_layers": [], "hidden_activation": "tanh"},
            "training": {
                "loss": "mean_squared_error",
                "optimizer": "gradient_descent",
                "learning_rate": 0.5,
                "batch_size": None,
                "max_epochs": 1000,
                "tolerance": 1e-6,
                "time_limit_s": None,
                "l2": 0.0,
                "class_weights": None,
                "initialization": "zeros",
                "standardize": True,
                "seed": 0,
                "dtype": "float64",
            },
            "validation": {"fraction": 0.2, "early_stopping_patience": 20},
            "metadata": {"owner": "growth"},
        },
    )
    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    ("targets", "activation", "task", "kind", "chosen", "loss", "predictions"),
    [
        ([0, 1, 1, 1], None, None, "binary_classification", "sigmoid", "mean_squared_error", [0, 1, 1, 1]),
        (["no", "yes", "yes", "yes"], None, None, "binary_classification", "sigmoid", "mean_squared_error", None),
        ([0, 1, 1, 1], "step", None, "binary_classification", "step", "mean_squared_error", [0, 1, 1, 1]),
        (["a", "b", "c", "c"], None, None, "classification", "softmax", "cross_entropy", ["a", "b", "c", "c"]),
        ([3, 5, 7, 7], None, "classification", "classification", "softmax", "cross_entropy", [3, 5, 7, 7]),
        ([0.5, 1.5, 2.5, 3.5], None, None, "regression", "identity", "mean_squared_error", None),
        ([0.1, 0.2, 0.2, 0.3], "sigmoid", None, "regression", "sigmoid", "mean_squared_error", None),
        ([-0.5, 0, 0, 0.5], "tanh", None, "regression", "tanh", "mean_squared_error", None),
        ([0, 1, 1, 2], "relu", None, "regression", "relu", "mean_squared_error", None),
        ([[0, 1], [1, 2], [1, 2], [2, 3]], None, None, "regression", "identity", "mean_squared_error", None),
    ],
)
def test_the_task_follows_from_the_targets_and_the_activation(
    train: Callable[..., Any],
    http: FlaskClient,
    targets: list[Any],
    activation: str | None,
    task: str | None,
    kind: str,
    chosen: str,
    loss: str,
    predictions: list[Any] | None,
) -> None:
    job = train(
        {
            "model": "m",
            "data": {"features": OR["features"], "targets": targets},
            "task": task,
            "network": {"activation": activation},
            "training": {"learning_rate": 0.3},
        }
    )
    config = job["config"]
    assert job["status"] == "succeeded"
    assert (config["task"], config["network"]["activation"], config["training"]["loss"]) == (kind, chosen, loss)
    answer = http.post("/predict", json={"model": "m", "instances": OR["features"]}).get_json()
    if predictions is not None:
        assert answer["predictions"] == predictions
    if kind == "regression":
        is_list = isinstance(targets[0], list)
        assert answer["predictions"] == (answer["outputs"] if is_list else [row[0] for row in answer["outputs"]])


@pytest.mark.parametrize(
    ("targets", "activation", "index"),
    [
        ([0, 1, 2, 1], "sigmoid", 2),
        ([0, 0.5, 1, 1], "step", 1),
        ([0, 0, 0, -1.5], "tanh", 3),
        ([-1, 0, 0, 0], "relu", 0),
    ],
)
def test_a_target_that_the_activation_cannot_give_is_refused(
    http: FlaskClient, targets: list[float], activation: str, index: int
) -> None:
    data = {"features": OR["features"], "targets": targets}
    answer = http.post("/jobs", json={"model": "m", "data": data, "network": {"activation": activation}})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "targets_out_of_range")
    assert answer.get_json()["errors"][0]["pointer"] == f"/data/targets/{index}"


TRAINED_WRONG = [
    ({"model": "a b"}, "/model"),
    ({"model": "a\n"}, "/model"),
    ({"model": ""}, "/model"),
    ({"model": "m" * 129}, "/model"),
    ({"model": None}, "/model"),
    ({"surplus": 1}, "/surplus"),
    ({"data": {"features": [[1]]}}, "/data/targets"),
    ({"data": {"features": [], "targets": []}}, "/data/targets"),
    ({"data": {"features": [], "targets": [0, 1]}}, "/data/features"),
    ({"data": {"features": [[]], "targets": [2]}}, "/data/features/0"),
    ({"data": {"features": [[1], [1, 2]], "targets": [0, 1]}}, "/data/features/1"),
    ({"data": {"features": [[1], [True]], "targets": [0, 1]}}, "/data/features/1/0"),
    ({"data": {"features": [[1], ["2"]], "targets": [0, 1]}}, "/data/features/1/0"),
    ({"data": {"features": [[1], [None]], "targets": [0, 1]}}, "/data/features/1/0"),
    ({"data": {"features": [[1], 2], "targets": [0, 1]}}, "/data/features/1"),
    ({"data": {"features": [[1], [2]], "targets": [0, True]}}, "/data/targets/1"),
    ({"data": {"features": [[1], [2]], "targets": ["a", 1]}}, "/data/targets/1"),
    ({"data": {"features": [[1], [2]], "targets": ["a", "a"]}}, "/data/targets"),
    ({"data": {"features": [[1], [2]], "targets": [[1], [1, 2]]}}, "/data/targets/1"),
    ({"data": {"features": [[1], [2]], "targets": [0, 1, 1]}}, "/data/targets"),
    ({"data": {**OR, "feature_names": ["a"]}}, "/data/feature_names"),
    ({"data": {**OR, "feature_names": ["a", "a"]}}, "/data/feature_names/1"),
    ({"data": {**OR, "instance_weights": [1, 1, 1, -1]}}, "/data/instance_weights"),
    ({"data": {**OR, "instance_weights": [1]}}, "/data/instance_weights"),
    ({"data": {"features": [[1] * 100] * 11, "targets": [0, 1] * 5 + [1]}}, "/data/features"),
    ({"task": "ranking"}, "/task"),
    ({"network": {"activation": "gelu"}}, "/network/activation"),
    ({"network": {"hidden_layers": [0]}}, "/network/hidden_layers"),
    ({"network": {"hidden_layers": [1] * 17}}, "/network/hidden_layers"),
    ({"training": {"learning_rate": 0}}, "/training/learning_rate"),
    ({"training": {"learning_rate": "0.1"}}, "/training/learning_rate"),
    ({"training": {"learning_rate": True}}, "/training/learning_rate"),
    ({"training": {"max_epochs": 0}}, "/training/max_epochs"),
    ({"training": {"max_epochs": 2001}}, "/training/max_epochs"),
    ({"training": {"max_epochs": 1.5}}, "/training/max_epochs"),
    ({"training": {"tolerance": -1}}, "/training/tolerance"),
    ({"training": {"l2": -1}}, "/training/l2"),
    ({"training": {"seed": 2**32}}, "/training/seed"),
    ({"training": {"batch_size": 0}}, "/training/batch_size"),
    ({"training": {"dtype": "float16"}}, "/training/dtype"),
    ({"training": {"loss": "hinge"}}, "/training/loss"),
    ({"training": {"optimizer": "perceptron_rule"}}, "/training/optimizer"),
    ({"training": {"class_weights": {"2": 1.0}}}, "/training/class_weights/2"),
    ({"network": {"hidden_layers": [3]}, "training": {"initialization": "zeros"}}, "/training/initialization"),
    ({"network": {"activation": "identity"}, "training": {"loss": "cross_entropy"}}, "/training/loss"),
    ({"validation": {"fraction": 1}}, "/validation/fraction"),
    ({"validation": {"fraction": 0.5}, "data": {"features": [[1]], "targets": [2]}}, "/validation"),
    ({"metadata": {"k": 1}}, "/metadata/k"),
    ({"metadata": {"k": "v" * 513}}, "/metadata/k"),
    ({"metadata": {"k" * 65: "v"}}, "/metadata/" + "k" * 65),
    ({"metadata": {str(k): "v" for k in range(17)}}, "/metadata"),
    ({"alias": "a b"}, "/alias"),
    ({"task": "classification", "data": {"features": [[1], [2]], "targets": [1, 1e300]}}, "/data/targets"),
    ({"task": "classification", "data": {"features": [[1], [2]], "targets": [1, 10**25]}}, "/data/targets"),
    ({"training": {"class_weights": {"a/b~": 1.0}}}, "/training/class_weights/a~1b~0"),
    ({"training": {"class_weights": {"0": 0.0, "1": 0.0}}}, "/training/class_weights"),
    ({"data": {**OR, "instance_weights": [1.0] * 1001}}, "/data/instance_weights"),
    ({"network": {"hidden_layers": [200, 200]}}, "/network/hidden_layers"),
    ({"network": {"surplus": 1}}, "/network/surplus"),
    ({"training": {"dtype": "float32"}, "data": {"features": [[1], [2]], "targets": [1, 1e39]}}, "/data/targets/1"),
    (
        {
            "training": {"dtype": "float32", "standardize": False},
            "data": {"features": [[1], [-1e39]], "targets": [0, 1]},
        },
        "/data/features/1",
    ),
]


@pytest.mark.parametrize(("wrong", "pointer"), TRAINED_WRONG)
def test_a_wrong_request_is_refused_with_a_pointer_to_what_is_wrong(
    http: FlaskClient, redis: Redis, wrong: dict[str, Any], pointer: str
) -> None:
    answer = http.post("/jobs", json=body(**wrong))
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request"), problem
    assert answer.mimetype == "application/problem+json"
    assert pointer in [fault["pointer"] for fault in problem["errors"]], problem
    assert problem["error"] == problem["detail"]
    assert redis.zcard(keys.jobs()) == 0


def test_an_error_names_the_limit_and_its_setting(http: FlaskClient) -> None:
    wrong = body(training={"max_epochs": 2001})
    detail = http.post("/jobs", json=wrong).get_json()["detail"]
    assert "2000" in detail and "MAX_EPOCHS" in detail and "2001" in detail
    # 2 x 200 + 200 + 200 x 200 + 200 + 200 + 1
    detail = http.post("/jobs", json=body(network={"hidden_layers": [200, 200]})).get_json()["detail"]
    assert "20000" in detail and "MAX_PARAMETERS" in detail and "41001" in detail
    detail = http.post("/jobs", json=body(metadata={str(k): "v" for k in range(17)})).get_json()["detail"]
    assert detail == "/metadata: at most 16 pairs, got 17"


@pytest.mark.parametrize(
    ("targets", "task", "n_values"),
    [
        ([str(k) for k in range(40)], None, 1600),
        (list(range(40)), "classification", 1600),
        ([[0.0] * 30] * 40, None, 1200),
    ],
)
def test_targets_count_as_the_array_that_they_become(
    http: FlaskClient, targets: list[Any], task: str | None, n_values: int
) -> None:
    data = {"features": [[1.0]] * 40, "targets": targets}
    problem = http.post("/jobs", json={"model": "m", "data": data, "task": task}).get_json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("invalid_request", "/data/targets")
    assert "1000" in problem["detail"] and "MAX_INLINE_VALUES" in problem["detail"]
    assert str(n_values) in problem["detail"]


def test_two_class_names_count_once(http: FlaskClient) -> None:
    data = {"features": [[1.0]] * 1000, "targets": ["a", "b"] * 500}
    assert http.post("/jobs", json={"model": "m", "data": data}).status_code == 202


def test_of_many_unknown_members_the_first_is_named(http: FlaskClient) -> None:
    unknown = {f"u{k}": 0 for k in range(50_000)}
    for wrong, pointer in ((body(**unknown), "/u0"), (body(network=unknown), "/network/u0")):
        assert [fault["pointer"] for fault in http.post("/jobs", json=wrong).get_json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"metadata": {str(k): 1 for k in range(50_000)}}, "/metadata"),
        ({"data": {**OR, "feature_names": [1] * 50_000}}, "/data/feature_names/0"),
        ({"network": {"hidden_layers": ["a"] * 50_000}}, "/network/hidden_layers/0"),
    ],
)
def test_one_error_stands_for_thousands_alike(http: FlaskClient, wrong: dict[str, Any], pointer: str) -> None:
    assert [fault["pointer"] for fault in http.post("/jobs", json=body(**wrong)).get_json()["errors"]] == [pointer]


def test_more_arrays_than_can_be_of_use_are_refused_before_they_are_made(http: FlaskClient) -> None:
    text = '{"model": "m", "data": [' + "[]," * 103_000 + "[]]}"
    problem = http.post("/jobs", data=text, content_type="application/json").get_json()
    assert (problem["status"], problem["code"]) == (422, "invalid_request")
    assert "MAX_INLINE_VALUES" in problem["detail"]


def test_a_large_body_leaves_the_garbage_collector_as_it_was(http: FlaskClient) -> None:
    for text in ("{" + " " * 1_050_000 + "}", "{" + " " * 1_050_000):
        assert http.post("/jobs", data=text, content_type="application/json").status_code in (400, 422)
        assert gc.isenabled()


def test_odd_json_with_an_idempotency_key_is_refused_like_any_other(http: FlaskClient) -> None:
    odd = body(data={"features": [[1], [2]], "targets": [1, 10**25]}, task="classification")
    assert http.post("/jobs", json=odd, headers={"Idempotency-Key": "k"}).status_code == 422


def test_other_instances_are_another_body_for_an_idempotency_key(http: FlaskClient) -> None:
    assert http.post("/jobs", json=body(), headers={"Idempotency-Key": "k"}).status_code == 202
    other = body(data={**OR, "targets": [0, 0, 0, 1]})
    problem = http.post("/jobs", json=other, headers={"Idempotency-Key": "k"}).get_json()
    assert problem["code"] == "idempotency_key_reused"


def test_the_names_of_more_than_1000_features_are_not_shown(redis: Redis, blobs: BlobStore) -> None:
    http = create_app(redis, blobs, Limits()).test_client()
    for n_features, is_shown in ((1000, True), (1001, False)):
        data = {"features": [[0.0] * n_features, [1.0] * n_features], "targets": [0, 1]}
        job = http.post("/jobs", json=body(data=data)).get_json()
        assert (job["config"]["feature_names"] is not None) == is_shown


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400])
def test_a_number_beyond_64_bit_floats_is_named_by_its_pointer(http: FlaskClient, number: str) -> None:
    text = '{"model": "m", "data": {"features": [[1], [' + number + ']], "targets": [0, 1]}}'
    answer = http.post("/jobs", data=text, content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")
    assert answer.get_json()["errors"][0]["pointer"] == "/data/features/1/0"


def test_a_learning_rate_of_infinity_is_refused(http: FlaskClient) -> None:
    text = '{"model": "m", "data": {"features": [[1]], "targets": [0]}, "training": {"learning_rate": 1e999}}'
    answer = http.post("/jobs", data=text, content_type="application/json")
    assert answer.get_json()["errors"][0]["pointer"] == "/training/learning_rate"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "null",
        '"{}"',
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": -Infinity}',
        "[" * 100_000,
        "\xff",
        "{}{}",
    ],
)
def test_what_is_no_json_object_is_malformed(http: FlaskClient, text: str) -> None:
    content = text.encode("latin-1")
    length = {"CONTENT_LENGTH": str(len(content))}  # the test client has none for an empty body
    answer = http.post("/jobs", data=content, content_type="application/json", environ_overrides=length)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_json")


def test_nan_is_malformed_even_beside_a_number_that_is_too_large(http: FlaskClient) -> None:
    answer = http.post("/jobs", data='{"a": 1e999, "b": NaN}', content_type="application/json")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "malformed_json")


def test_an_unchanged_job_is_not_sent_again(http: FlaskClient, jobs: JobStore) -> None:
    job_id = http.post("/jobs", json=body()).get_json()["id"]
    first = http.get(f"/jobs/{job_id}")
    unchanged = http.get(f"/jobs/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    jobs.claim(job_id)
    changed = http.get(f"/jobs/{job_id}", headers={"If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, changed.get_json()["status"]) == (200, "running")


def test_cancel_is_repeatable_until_the_job_succeeded(http: FlaskClient, train: Callable[..., Any]) -> None:
    job_id = http.post("/jobs", json=body()).get_json()["id"]
    for _ in range(2):
        answer = http.post(f"/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.get_json()["status"], answer.get_json()["done"]) == (200, "cancelled", True)
    done = train(body())
    answer = http.post(f"/jobs/{done['id']}/cancel")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "job_already_done")


def test_unknown_jobs_are_not_found(http: FlaskClient) -> None:
    for answer in (http.get("/jobs/job_x"), http.post("/jobs/job_x/cancel")):
        assert (answer.status_code, answer.get_json()["code"]) == (404, "job_not_found")


def test_jobs_are_listed_in_pages(http: FlaskClient) -> None:
    ids = {http.post("/jobs", json=body()).get_json()["id"] for _ in range(3)}
    first = http.get("/jobs?limit=2").get_json()
    assert (len(first["data"]), first["has_more"], first["last_id"]) == (2, True, first["data"][1]["id"])
    rest = http.get(f"/jobs?limit=2&after={first['last_id']}").get_json()
    assert rest["has_more"] is False
    assert {job["id"] for job in first["data"] + rest["data"]} == ids
    assert http.get("/jobs?status=running").get_json() == {"data": [], "has_more": False, "last_id": None}
    assert http.get("/jobs?model=and").get_json()["data"] == []


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "status=done", "after=job_x", "page=2", "model=a b"]
)
def test_a_wrong_query_is_refused_by_name(http: FlaskClient, query: str) -> None:
    answer = http.get(f"/jobs?{query}")
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == "/" + query.partition("=")[0]


def test_a_succeeded_job_shows_result_and_metrics(train: Callable[..., Any]) -> None:
    job = train(body(alias="production", training={"optimizer": "gradient_descent", "tolerance": 1e-6}))
    assert (job["status"], job["done"], job["attempt"], job["error"]) == ("succeeded", True, 1, None)
    result = job["result"]
    assert (result["version"], result["stop_reason"], result["epochs"]) == (1, "max_epochs", 1000)
    metrics = result["metrics"]
    assert (metrics["evaluated_on"], metrics["n_instances"], metrics["accuracy"]) == ("training", 4, 1.0)
    assert metrics["confusion_matrix"] == [[1, 0], [0, 3]]
    assert job["progress"]["epoch"] == 1000
    assert job["progress"]["cost"] == result["cost"]


def test_held_out_rows_are_judged_apart(train: Callable[..., Any]) -> None:
    rows = [[float(k)] for k in range(20)]
    targets = [0.0] * 10 + [1.0] * 10
    job = train({"model": "m", "data": {"features": rows, "targets": targets}, "validation": {"fraction": 0.2}})
    metrics = job["result"]["metrics"]
    assert (metrics["evaluated_on"], metrics["n_instances"]) == ("validation", 4)
    assert metrics["training"]["n_instances"] == 16
    assert 0 <= metrics["accuracy"] <= 1
    assert job["result"]["validation_cost"] == job["progress"]["validation_cost"]


def test_a_regression_is_judged_by_rmse_and_r2(train: Callable[..., Any]) -> None:
    # y = 2 x + 1 without noise: gradient descent comes as near as it likes
    data = {"features": [[0], [1], [2], [3]], "targets": [1, 3, 5, 7.0]}
    metrics = train({"model": "m", "data": data, "training": {"learning_rate": 0.3, "tolerance": 0}})["result"][
        "metrics"
    ]
    assert metrics["rmse"] < 1e-9
    assert metrics["r2"] == pytest.approx(1.0, abs=1e-12)


def test_l2_auto_chooses_a_penalty_by_cross_validation_and_trains_with_it_on_all_rows(
    train: Callable[..., Any],
) -> None:
    # 12 rows, 12 columns of noise and one that decides: without a penalty the rows are learned by heart
    rng = np.random.default_rng(0)
    features = np.column_stack([np.arange(12) % 2, rng.normal(size=(12, 12))])
    targets = (features[:, 0] * 10 + rng.normal(size=12)).tolist()
    data = {"features": features.tolist(), "targets": targets}
    job = train({"model": "m", "data": data, "training": {"l2": "auto"}})
    result, config = job["result"], job["config"]
    assert (config["candidates"], config["validation"]["folds"], result["is_refitted"]) == (9, 5, True)
    assert config["training"]["l2"] is None  # the candidates differ in it
    assert config["reasons"]["training/l2"].startswith("auto: the best of 9 penalties")
    board = result["leaderboard"]
    assert {entry["l2"] for entry in board} == {1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0}
    assert board[0]["validation_cost"] == min(entry["validation_cost"] for entry in board)
    assert board[0]["l2"] > 1e-4


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"sweep": {"seed": [0, 1]}}, "/training/l2"),
        ({"network": {"activation": "step"}}, "/training/l2"),
        ({"start_from": {"model": "or"}}, "/start_from"),
    ],
)
def test_l2_auto_does_not_go_with_a_sweep_a_start_or_a_rule_without_cost(
    http: FlaskClient, more: dict[str, Any], pointer: str
) -> None:
    answer = http.post("/jobs", json=body(training={"l2": "auto"}, **more))
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("hidden_layers", [[], [4]])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_training_that_starts_from_a_version_begins_where_that_ended(
    train: Callable[..., Any], hidden_layers: list[int], dtype: str
) -> None:
    # times since 1970, and targets far from 0: both the centre of the network and the unit of its outputs count
    features = [[1.7e15 + 1000 * k, float(k % 3)] for k in range(30)]
    targets = [5e6 + 300 * k - 1000 * (k % 3) for k in range(30)]
    request = {
        "model": "m",
        "data": {"features": features, "targets": targets},
        "network": {"hidden_layers": hidden_layers},
    }
    request["training"] = {"dtype": dtype}
    first = train(request)["result"]
    assert first["metrics"]["r2"] > 0.99
    request["training"] = {"max_epochs": 1, "optimizer": "adam", "learning_rate": 1e-12}
    again = train(request | {"start_from": {"model": "m"}})["result"]
    assert again["metrics"]["r2"] == pytest.approx(first["metrics"]["r2"], rel=1e-5)
    assert [warning["code"] for warning in again["warnings"]] == ["not_converged"]


def test_costs_are_in_the_units_of_the_raw_targets(train: Callable[..., Any]) -> None:
    # two groups of equal features with targets 0, 2 and 10, 12 (times the unit): residuals of 1, so a cost of unit^2
    costs = []
    for unit in (1.0, 1000.0):
        data = {"features": [[0], [0], [1], [1]], "targets": [0.5 * unit, 2.5 * unit, 10.5 * unit, 12.5 * unit]}
        for more in ({}, {"sweep": {"seed": [0, 1]}}):
            result = train({"model": "m", "data": data, "training": {"l2": 0}, **more})["result"]
            assert result["metrics"]["rmse"] == pytest.approx(unit, rel=1e-9)
            costs.append(result["cost"] / unit**2)
    assert costs == pytest.approx([1.0] * 4, rel=1e-9)


def test_a_diverged_job_names_a_rate_that_works(train: Callable[..., Any]) -> None:
    data = {"features": [[k] for k in range(10)], "targets": [k * k + 0.5 for k in range(10)]}
    # standardized features and a bias: 1 / (2 lambda_max), and both eigenvalues are 1
    with pytest.raises(DivergedError, match=r'set learning_rate to "auto", here 0.5') as caught:
        train({"model": "m", "data": data, "training": {"learning_rate": 50.0}})
    assert "standardize" not in str(caught.value)  # it is set already


def test_a_training_that_would_take_too_much_memory_is_refused(redis: Redis, blobs: BlobStore) -> None:
    http = create_app(redis, blobs, Limits(max_training_bytes=100_000_000)).test_client()
    assert http.post("/jobs", json=body(network={"hidden_layers": [16]})).status_code == 202
    answer = http.post("/jobs", json=body(network={"hidden_layers": [1000, 1000]}))
    assert (answer.status_code, answer.get_json()["code"]) == (422, "invalid_request")
    (error,) = answer.get_json()["errors"]
    assert error["pointer"] == "/network"
    assert "at most 100 MB (MAX_TRAINING_BYTES)" in error["detail"]
    sweep = {"learning_rate": [k / 1000 for k in range(1, 201)], "seed": list(range(20))}
    answer = http.post("/jobs", json=body(sweep=sweep, validation={"folds": 4}))
    assert answer.get_json()["errors"][0]["pointer"] == "/sweep"


@pytest.mark.parametrize("n_rows", [2, 3, 4])
def test_a_few_rows_that_are_nearly_all_held_out_are_no_division_by_0(http: FlaskClient, n_rows: int) -> None:
    data = {
        "features": [[float(i == k) for i in range(5)] for k in range(n_rows)],
        "targets": [1.5 * k for k in range(n_rows)],
    }
    answer = http.post("/jobs", json={"model": "m", "data": data, "validation": {"fraction": 0.9}})
    assert answer.status_code == 202
    assert answer.get_json()["config"]["training"]["l2"] == 0.5


def test_the_memory_of_a_sweep_counts_however_large_its_batches(redis: Redis, blobs: BlobStore) -> None:
    http = create_app(redis, blobs, Limits(max_training_bytes=100_000_000)).test_client()
    sweep = {"learning_rate": [k / 1000 for k in range(1, 201)], "seed": list(range(20))}
    for batch_size, status in ((3, 202), (4, 422), (1000, 422)):  # of four rows
        answer = http.post(
            "/jobs", json=body(sweep=sweep, validation={"folds": 4}, training={"batch_size": batch_size})
        )
        assert answer.status_code == status, batch_size
