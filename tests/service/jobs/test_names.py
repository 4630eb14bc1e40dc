"""The names that a training job may use are those of the records of the maths."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from perceptron import ACTIVATIONS, LOSSES, OPTIMIZERS
from perceptron.activations import identity

OR: dict[str, Any] = {"model": "or", "data": {"features": [[0, 0], [0, 1], [1, 0]], "targets": [0, 0.5, 0.5]}}


def test_the_schema_lists_the_names_of_the_records(http: FlaskClient) -> None:
    schemas = http.get("/openapi.json").get_json()["components"]["schemas"]
    training, network = schemas["TrainingSettings"]["properties"], schemas["NetworkSettings"]["properties"]
    listed = [training["optimizer"], training["loss"], network["activation"]]
    assert [one["anyOf"][0]["enum"] for one in listed] == [list(OPTIMIZERS), list(LOSSES), list(ACTIVATIONS)]
    assert network["hidden_activation"]["enum"] == ["sigmoid", "identity", "tanh", "relu"]


def test_an_unknown_name_is_refused_with_the_known_ones(http: FlaskClient) -> None:
    answer = http.post("/jobs", json={**OR, "training": {"loss": "hinge"}})
    assert answer.status_code == 422
    (error,) = answer.get_json()["errors"]
    assert error["pointer"] == "/training/loss"
    assert "'mean_squared_error' or 'cross_entropy'" in error["detail"]


def test_a_record_that_is_added_is_accepted_by_its_name(http: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    request = {**OR, "network": {"activation": "linear"}}
    assert http.post("/jobs", json=request).status_code == 422
    monkeypatch.setitem(ACTIVATIONS, "linear", ACTIVATIONS["identity"])
    assert ACTIVATIONS["linear"].apply is identity
    assert http.post("/jobs", json=request).status_code == 202
