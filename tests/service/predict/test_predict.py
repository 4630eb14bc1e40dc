"""`POST /predict` over HTTP."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from storage import keys
from storage.jobs.store import JobStore
from tests.builders import publish

TOO_LARGE = 1e308


def predict(http: FlaskClient, **body: Any) -> Any:
    return http.post("/predict", json={"model": "or", **body})


def test_the_output_is_the_sigmoid_of_z_and_the_prediction_its_class(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs, weight=1.0)
    # z = x0 + x1: -2, 0 and 3
    answer = predict(http, instances=[[-1, -1], [1, -1], [1, 2]])
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    expected = [1 / (1 + math.exp(2)), 0.5, 1 / (1 + math.exp(-3))]
    outputs = answer.get_json()["outputs"]
    assert [row[0] for row in outputs] == pytest.approx(expected, rel=1e-15)
    assert answer.get_json()["predictions"] == [0, 1, 1]  # 0.5 is the second class


def test_instances_may_be_objects_by_feature_name(http: FlaskClient, train: Callable[..., Any]) -> None:
    data = {"features": [[0, 10], [1, 20]], "targets": [0, 1], "feature_names": ["age", "a/b"]}
    train({"model": "or", "data": data})
    by_list = predict(http, instances=[[0.25, 12]]).get_json()
    by_name = predict(http, instances=[{"a/b": 12, "age": 0.25}]).get_json()
    assert by_name == by_list


@pytest.mark.parametrize(
    ("instance", "pointer"),
    [
        ({"x0": 1}, "/instances/1/x1"),
        ({"x0": 1, "x1": 2, "a/~b": 3}, "/instances/1/a~1~0b"),
        ([1, 2], "/instances/1"),
        ({"x0": 1, "x1": None}, "/instances/1/x1"),
    ],
)
def test_a_wrong_object_is_named_by_its_pointer(http: FlaskClient, jobs: JobStore, instance: Any, pointer: str) -> None:
    publish(jobs)
    answer = predict(http, instances=[{"x0": 1, "x1": 1}, instance])
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, pointer)


def test_version_alias_or_latest(http: FlaskClient, jobs: JobStore) -> None:
    for weight in (1.0, 2.0, 3.0):
        publish(jobs, weight=weight)
    http.put("/models/or/aliases/production", json={"version": 2})
    chosen = {
        "latest": predict(http, instances=[[1, 0]]),
        "alias": predict(http, instances=[[1, 0]], alias="production"),
        "version": predict(http, instances=[[1, 0]], version=1),
    }
    assert {name: answer.get_json()["version"] for name, answer in chosen.items()} == {
        "latest": 3,
        "alias": 2,
        "version": 1,
    }
    outputs = [chosen[name].get_json()["outputs"][0][0] for name in ("version", "alias", "latest")]
    assert outputs == pytest.approx([1 / (1 + math.exp(-w)) for w in (1, 2, 3)], rel=1e-15)


def test_the_same_instance_gives_the_same_output_in_any_company(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs, weight=0.1)
    alone = predict(http, instances=[[0.3, 0.7]]).get_json()["outputs"][0]
    many = predict(http, instances=[[0.3, 0.7]] * 50).get_json()["outputs"]
    assert all(row == pytest.approx(alone, rel=1e-15) for row in many)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"instances": [[1, 2]], "model": "nope"}, 404, "model_not_found"),
        ({"instances": [[1, 2]], "version": 9}, 404, "version_not_found"),
        ({"instances": [[1, 2]], "alias": "nope"}, 404, "alias_not_found"),
        ({"instances": [[1, 2, 3]]}, 422, "wrong_dimension"),
        ({"instances": [[1, 2], [1]]}, 422, "wrong_dimension"),
        ({"instances": [[]]}, 422, "wrong_dimension"),
        ({"instances": []}, 422, "invalid_request"),
        ({"instances": [[1, 2]] * 51}, 422, "invalid_request"),
        ({"instances": [[1, True]]}, 422, "invalid_request"),
        ({"instances": [[1, "2"]]}, 422, "invalid_request"),
        ({"instances": [[1, None]]}, 422, "invalid_request"),
        ({"instances": [1, 2]}, 422, "invalid_request"),
        ({"instances": {"x0": 1}}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "version": 1, "alias": "a"}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "version": 0}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "version": "1"}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "surplus": True}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "explain": 1}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "versions": []}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "versions": [0]}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "versions": [1] * 65}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "versions": "all"}, 422, "invalid_request"),
        ({"instances": [[1, 2]], "versions": [1, 9]}, 404, "version_not_found"),
        ({"instances": [[1, 2]], "versions": [1], "model": "nope"}, 404, "model_not_found"),
        ({"instances": [[1, 2]], "model": "a:b"}, 422, "invalid_request"),
    ],
)
def test_each_wrong_request_has_its_code(
    http: FlaskClient, jobs: JobStore, body: dict[str, Any], status: int, code: str
) -> None:
    publish(jobs)
    answer = http.post("/predict", json={"model": "or", **body})
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_an_output_that_is_not_finite_is_an_error_and_no_nan(http: FlaskClient, train: Callable[..., Any]) -> None:
    train(
        {
            "model": "or",
            "data": {"features": [[0, 0], [1, 1], [2, 2]], "targets": [0, 20, 40]},
            "training": {"standardize": False, "learning_rate": 0.1},
        }
    )
    answer = predict(http, instances=[[1, 1], [TOO_LARGE, TOO_LARGE]])
    assert (answer.status_code, answer.get_json()["code"]) == (422, "output_not_finite")
    assert answer.get_json()["errors"][0]["pointer"] == "/instances/1"


def test_what_is_no_json_is_refused_as_elsewhere(http: FlaskClient) -> None:
    malformed = http.post("/predict", data='{"model": NaN}', content_type="application/json")
    assert (malformed.status_code, malformed.get_json()["code"]) == (400, "malformed_json")
    form = http.post("/predict", data={"model": "or"})
    assert (form.status_code, form.get_json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("weights", [b"\x80\x04cos\nsystem\n", None])
def test_a_changed_version_in_redis_is_not_served_and_rings_an_alarm(
    http: FlaskClient,
    jobs: JobStore,
    redis: Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    weights: bytes | None,
) -> None:
    monkeypatch.setattr("storage.alarm._said_at_s", {})  # the same alarm is said once a minute
    publish(jobs, weight=1.0), publish(jobs, weight=2.0)
    # not only bytes that are no network: those of another version, too
    redis.hset(keys.version("or", 1), "weights", weights or redis.hget(keys.version("or", 2), "weights"))  # type: ignore[arg-type]
    answer = predict(http, instances=[[1, 2]], version=1)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "weights" not in answer.text
    assert "ALARM" in caplog.text
    assert predict(http, instances=[[1, 2]], version=2).status_code == 200


def test_an_explanation_sums_to_z(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs, weight=2.0)
    answer = predict(http, instances=[[1.5, -0.5], [0, 1]], explain=True).get_json()
    # z = 2 x0 + 2 x1 + 0
    assert answer["contributions"] == [[3.0, -1.0], [0.0, 2.0]]
    assert (answer["base"], answer["residual"]) == (0.0, [0.0, 0.0])
    assert answer["outputs"][0][0] == pytest.approx(1 / (1 + math.exp(-2)), rel=1e-15)


def test_an_explanation_is_in_the_units_of_the_raw_features(http: FlaskClient, train: Callable[..., Any]) -> None:
    # y = 2 x0 - 3 x1 + 5, standardized for training
    features = [[float(k % 5) * 100, float(k % 3) / 10] for k in range(30)]
    data = {"features": features, "targets": [2 * a - 3 * b + 5.5 for a, b in features]}
    train({"model": "or", "data": data, "training": {"learning_rate": "auto", "tolerance": 0, "max_epochs": 2000}})
    answer = predict(http, instances=[[10, 20]], explain=True).get_json()
    assert answer["contributions"][0] == pytest.approx([20, -60], rel=1e-6)
    assert answer["base"] == pytest.approx(5.5, rel=1e-6)


def test_several_outputs_are_explained_one_by_one_and_hidden_layers_to_a_residual(
    http: FlaskClient, train: Callable[..., Any]
) -> None:
    data = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": ["a", "b", "b", "c"]}
    train({"model": "or", "data": data, "network": {"hidden_layers": [4]}, "training": {"max_epochs": 20}})
    answer = predict(http, instances=[[1, 0], [1, 1]], explain=True).get_json()
    contributions, base, residual = (answer[name] for name in ("contributions", "base", "residual"))
    assert [len(contributions), len(contributions[0]), len(contributions[0][0])] == [2, 3, 2]
    for row, rest, outputs in zip(contributions, residual, answer["outputs"], strict=True):
        z = [base[k] + sum(row[k]) + rest[k] for k in range(3)]
        powers = [math.exp(value) for value in z]
        assert outputs == pytest.approx([power / sum(powers) for power in powers], rel=1e-12)
        assert max(map(abs, rest)) < 1e-10


def test_too_much_to_explain_is_told_the_limit(http: FlaskClient, jobs: JobStore, train: Callable[..., Any]) -> None:
    data = {"features": [[0.0] * 30, [1.0] * 30], "targets": [0, 1]}
    train({"model": "wide", "data": data})
    problem = http.post("/predict", json={"model": "wide", "instances": [[0] * 30] * 40, "explain": True}).get_json()
    assert problem["errors"][0]["pointer"] == "/explain"
    assert "1000" in problem["detail"] and "MAX_INLINE_VALUES" in problem["detail"] and "1200" in problem["detail"]
    train({"model": "deep", "data": data, "network": {"hidden_layers": [2]}})
    problem = http.post("/predict", json={"model": "deep", "instances": [[0] * 30], "explain": True}).get_json()
    assert "1920" in problem["detail"]  # 30 x 64 gradients


def test_versions_are_compared_on_the_same_instances(http: FlaskClient, jobs: JobStore) -> None:
    for weight in (1.0, -1.0, 3.0):
        publish(jobs, weight=weight)
    answer = predict(http, instances=[[1, 0], [0, -2]], versions=[2, 1, 2]).get_json()
    assert answer["version"] == 3
    assert list(answer["by_version"]) == ["2", "1"]
    for number, weight in (("1", 1.0), ("2", -1.0)):
        alone = predict(http, instances=[[1, 0], [0, -2]], version=int(number)).get_json()
        one = answer["by_version"][number]
        assert one["predictions"] == alone["predictions"]
        assert [row[0] for row in one["outputs"]] == pytest.approx(
            [1 / (1 + math.exp(-weight)), 1 / (1 + math.exp(2 * weight))], rel=1e-15
        )


def test_every_alias_is_compared_and_named(http: FlaskClient, jobs: JobStore) -> None:
    for alias in ("champion", "challenger", None):
        publish(jobs, alias=alias)
    http.put("/models/or/aliases/shadow", json={"version": 2})
    by_version = predict(http, instances=[[1, 0]], versions="aliases").get_json()["by_version"]
    assert {number: one["aliases"] for number, one in by_version.items()} == {
        "1": ["champion"],
        "2": ["challenger", "shadow"],
    }
    http.delete("/models/or/aliases/champion"), http.delete("/models/or/aliases/challenger")
    http.delete("/models/or/aliases/shadow")
    assert predict(http, instances=[[1, 0]], versions="aliases").get_json()["by_version"] == {}


def test_versions_with_other_features_are_compared_by_name_or_refused(
    http: FlaskClient, jobs: JobStore, train: Callable[..., Any]
) -> None:
    data = {"features": [[0, 10, 1], [1, 20, 2]], "targets": [0, 1]}
    train({"model": "or", "data": {**data, "feature_names": ["a", "b", "c"]}})
    train({"model": "or", "data": {**data, "feature_names": ["c", "b", "a"]}})
    publish(jobs)
    row = {"a": 0.5, "b": 12, "c": 1.5}
    answer = predict(http, instances=[row], versions=[1, 2], version=1)
    for number in ("1", "2"):
        alone = predict(http, instances=[row], version=int(number)).get_json()["outputs"][0]
        assert answer.get_json()["by_version"][number]["outputs"][0] == pytest.approx(alone, rel=1e-14)
    wrong = predict(http, instances=[[1, 2, 3]], versions=[1, 3], version=1).get_json()
    assert (wrong["code"], wrong["errors"][0]["pointer"]) == ("wrong_dimension", "/instances/0")
    assert "version 3" in wrong["detail"]
