"""`start_from` maps features by name, and refuses what does not map."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

NEWTON = {"optimizer": "newton", "loss": "cross_entropy", "l2": 0.01}
ONE_EPOCH = {"max_epochs": 1, "loss": "cross_entropy", "optimizer": "gradient_descent", "learning_rate": 1e-9}
# the target is the second feature
ROWS, TARGETS = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 0, 1]


def body(model: str, features: list[list[int]], names: list[str] | None, targets: list[Any], **more: Any) -> Any:
    data = {"features": features, "targets": targets, "feature_names": names}
    return {"model": model, "data": data, "training": NEWTON, **more}


def refused(http: FlaskClient, sent: dict[str, Any]) -> str:
    answer = http.post("/jobs", json=sent)
    (fault,) = answer.get_json()["errors"]
    assert (answer.status_code, fault["pointer"]) == (422, "/start_from")
    return str(fault["detail"])


def outputs(http: FlaskClient, model: str, instances: list[Any]) -> Any:
    return http.post("/predict", json={"model": model, "instances": instances}).get_json()["outputs"]


@pytest.mark.parametrize("hidden", [[], [3]])
def test_features_in_another_order_keep_their_weights(
    http: FlaskClient, train: Callable[..., Any], hidden: list[int]
) -> None:
    network = {"hidden_layers": hidden}
    training = NEWTON if not hidden else {"optimizer": "lbfgs", "loss": "cross_entropy", "l2": 0.01}
    train(body("first", ROWS, ["a", "b"], TARGETS, network=network) | {"training": training})
    swapped = [row[::-1] for row in ROWS]
    start = {"start_from": {"model": "first"}, "training": ONE_EPOCH, "network": network}
    job = train(body("second", swapped, ["b", "a"], TARGETS, **start))
    assert job["result"]["metrics"]["accuracy"] == 1.0
    for first, second in zip(outputs(http, "first", ROWS), outputs(http, "second", swapped), strict=True):
        assert second == pytest.approx(first, abs=1e-6)  # as an epoch at this rate changes almost nothing


@pytest.mark.parametrize(
    ("names", "targets", "detail"),
    [
        (["a", "c"], TARGETS, "version 1 of model 'first' has no 'c', which this job has"),
        (None, TARGETS, "version 1 of model 'first' has no 'x0', which this job has"),
        (["a", "b"], ["no", "yes"] * 2, "has the classes 0, 1, and this job has the classes 'no', 'yes'"),
        (["a", "b"], [0.5, 1, 0, 1], "has the classes 0, 1, and this job has no classes"),
    ],
)
def test_what_does_not_map_is_refused(
    http: FlaskClient, train: Callable[..., Any], names: list[str] | None, targets: list[Any], detail: str
) -> None:
    train(body("first", ROWS, ["a", "b"], TARGETS))
    start = {"start_from": {"model": "first"}, "training": {}, "network": {"activation": "sigmoid"}}
    assert detail in refused(http, body("second", ROWS, names, targets, **start))


def test_a_feature_less_is_refused_by_its_name(http: FlaskClient, train: Callable[..., Any]) -> None:
    train(body("first", ROWS, ["a", "b"], TARGETS))
    start = {"start_from": {"model": "first"}}
    detail = refused(http, body("second", [[row[0]] for row in ROWS], ["a"], TARGETS, **start))
    assert "this job has no 'b', which version 1 of model 'first' has" in detail
