"""`/models` over HTTP."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from redis import Redis

from perceptron import Column, Layer, Network, TableEncoder, Task
from storage import keys
from storage.jobs.store import JobStore
from tests.builders import publish
from tests.tables import publish_encoder


def test_a_model_shows_its_versions_and_aliases(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs, alias="production"), publish(jobs)
    model = http.get("/models/or").get_json()
    assert (model["name"], model["latest_version"], model["aliases"]) == ("or", 2, {"production": 1})
    assert [version["version"] for version in model["versions"]] == [1, 2]
    assert http.get("/models").get_json()["data"] == [
        {"name": "or", "latest_version": 2, "n_versions": 2, "aliases": {"production": 1}}
    ]


def test_a_version_shows_its_weights_in_raw_units(http: FlaskClient, train: Callable[..., Any]) -> None:
    # y = 2 x0 - 3 x1 + 5: standardized for training, shown unfolded
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 2)) * [10, 0.1] + [100, 3]
    targets = features @ [2, -3] + 5
    data = {"features": features.tolist(), "targets": targets.tolist(), "feature_names": ["a", "b"]}
    job = train({"model": "m", "data": data, "training": {"learning_rate": 0.4, "tolerance": 0}})
    version = http.get("/models/m/versions/1").get_json()
    assert np.array(version["weights"]).shape == (1, 2, 1)
    assert np.ravel(version["weights"][0]) == pytest.approx([2, -3], abs=1e-9)
    assert version["bias"][0] == pytest.approx([5], abs=1e-6)
    assert version["feature_names"] == ["a", "b"]
    assert version["job"] == job["id"]
    assert version["training"]["learning_rate"] == 0.4
    assert set(version["digests"]) == {"weights", "data"}


def test_weights_of_large_networks_are_not_shown(http: FlaskClient, train: Callable[..., Any]) -> None:
    data = {"features": [[0.0], [1.0]], "targets": [0, 1]}
    # 1 x 100 + 100 + 100 x 100 + 100 + 100 + 1 = 10,401 parameters
    train({"model": "m", "data": data, "network": {"hidden_layers": [100, 100]}, "training": {"max_epochs": 1}})
    version = http.get("/models/m/versions/1").get_json()
    assert version["weights"] is version["bias"] is None
    answer = http.post("/predict", json={"model": "m", "instances": [[0.5]]})
    assert answer.status_code == 200


def test_weights_that_are_not_shown_are_not_decoded(http: FlaskClient, train: Callable[..., Any], redis: Redis) -> None:
    data = {"features": [[0.0], [1.0]], "targets": [0, 1]}
    train({"model": "m", "data": data, "network": {"hidden_layers": [100, 100]}, "training": {"max_epochs": 1}})
    redis.hset(keys.version("m", 1), "weights", b"no safetensors")
    assert http.get("/models/m/versions/1").get_json()["weights"] is None


def test_a_large_network_of_a_table_shows_its_columns(http: FlaskClient, jobs: JobStore) -> None:
    encoder = TableEncoder((Column("c", "categorical", tuple(f"{k:05d}" for k in range(10_000))),))
    network = Network((Layer(np.ones((10_000, 1)), np.zeros(1), "identity"),))  # and its bias: 10,001 parameters
    publish_encoder(jobs, "m", encoder, network, Task("regression", None, "identity", "mean_squared_error", 1))
    version = http.get("/models/m/versions/1").get_json()
    assert version["weights"] is None
    assert version["columns"][0]["categories"][:2] == ["00000", "00001"]
    assert (version["target"], "has_columns" in version) == ("y", False)


def test_an_alias_moves_and_is_forgotten(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs), publish(jobs)
    assert http.put("/models/or/aliases/canary", json={"version": 1}).get_json()["aliases"] == {"canary": 1}
    assert http.put("/models/or/aliases/canary", json={"version": 2}).get_json()["aliases"] == {"canary": 2}
    assert http.get("/models/or/versions/2").get_json()["aliases"] == ["canary"]
    assert http.delete("/models/or/aliases/canary").status_code == 204
    assert http.delete("/models/or/aliases/canary").get_json()["code"] == "alias_not_found"


def test_deleting(http: FlaskClient, jobs: JobStore) -> None:
    publish(jobs, alias="production"), publish(jobs)
    in_use = http.delete("/models/or/versions/1")
    assert (in_use.status_code, in_use.get_json()["code"]) == (409, "version_in_use")
    assert http.delete("/models/or/versions/2").status_code == 204
    assert http.get("/models/or/versions/2").get_json()["code"] == "version_not_found"
    assert http.post("/predict", json={"model": "or", "version": 2, "instances": [[1, 1]]}).status_code == 404
    assert http.delete("/models/or").status_code == 204
    assert http.get("/models/or").get_json()["code"] == "model_not_found"
    assert http.post("/predict", json={"model": "or", "instances": [[1, 1]]}).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/models/nope", None, 404, "model_not_found"),
        ("GET", "/models/a%3Ab", None, 404, "model_not_found"),
        ("GET", "/models/..%2F..%2Fetc", None, 404, "not_found"),
        ("GET", "/models/or/versions/9", None, 404, "version_not_found"),
        ("GET", "/models/or/versions/0", None, 404, "version_not_found"),
        ("GET", "/models/or/versions/one", None, 404, "not_found"),
        ("GET", "/models/or/versions/" + "9" * 5000, None, 404, "version_not_found"),
        ("PUT", "/models/or/aliases/a%20b", {"version": 1}, 422, "invalid_request"),
        ("PUT", "/models/or/aliases/a", {"version": 9}, 404, "version_not_found"),
        ("PUT", "/models/nope/aliases/a", {"version": 1}, 404, "model_not_found"),
        ("PUT", "/models/or/aliases/a", {"version": "1"}, 422, "invalid_request"),
        ("PUT", "/models/or/aliases/a", {}, 422, "invalid_request"),
        ("DELETE", "/models/or/aliases/nope", None, 404, "alias_not_found"),
        ("DELETE", "/models/nope", None, 404, "model_not_found"),
        ("GET", "/models?limit=1000", None, 422, "invalid_request"),
        ("POST", "/models/or", None, 405, "method_not_allowed"),
    ],
)
def test_each_wrong_request_has_its_code(
    http: FlaskClient, jobs: JobStore, method: str, path: str, body: Any, status: int, code: str
) -> None:
    publish(jobs)
    answer = http.open(path, method=method, json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
