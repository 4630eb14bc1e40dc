"""Labels as clients write them: -1/1, 1/2, booleans, a column of lists, one class only."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

FEATURES = [[0.2], [0.9], [1.4], [2.0]]


def body(targets: list[Any], **more: Any) -> dict[str, Any]:
    return {"model": "m", "data": {"features": FEATURES[: len(targets)], "targets": targets}, **more}


@pytest.mark.parametrize(
    ("targets", "more", "classes"),
    [
        ([-1, -1, 1, 1], {"network": {"activation": "step"}}, [-1, 1]),
        ([1, 1, 2, 2], {"network": {"activation": "sigmoid"}, "task": "classification"}, [1, 2]),
        ([1.0, 1, 2, 2], {"network": {"activation": "softmax"}}, [1, 2]),
        ([-1, -1, 1, 1], {"task": "classification"}, [-1, 1]),
        ([False, False, True, True], {}, [0, 1]),
        ([[False], [False], [True], [True]], {}, [0, 1]),
        ([[0], [0], [1], [1]], {}, [0, 1]),
        ([["no"], ["no"], ["yes"], ["yes"]], {}, ["no", "yes"]),
    ],
)
def test_two_classes_are_predicted_as_they_were_sent(
    http: FlaskClient, train: Callable[..., Any], targets: list[Any], more: dict[str, Any], classes: list[Any]
) -> None:
    job = train(body(targets, **more))
    assert (job["status"], job["config"]["classes"]) == ("succeeded", classes)
    answer = http.post("/predict", json={"model": "m", "instances": FEATURES})
    assert answer.get_json()["predictions"] == [classes[0], classes[0], classes[1], classes[1]]


@pytest.mark.parametrize("targets", [[0, 0, 0], [1], ["a", "a"], [[1], [1]], [[True]], [["a"], ["a"]]])
def test_one_class_is_refused_however_it_is_written(http: FlaskClient, targets: list[Any]) -> None:
    answer = http.post("/jobs", json=body(targets))
    (fault,) = answer.get_json()["errors"]
    assert (answer.status_code, fault["pointer"]) == (422, "/data/targets")
    assert fault["detail"].startswith("expected targets of at least two classes, got only ")


@pytest.mark.parametrize("more", [{"task": "regression"}, {"network": {"activation": "identity"}}])
def test_a_constant_is_a_regression_where_one_is_asked_for(http: FlaskClient, more: dict[str, Any]) -> None:
    assert http.post("/jobs", json=body([1, 1, 1], **more)).status_code == 202


@pytest.mark.parametrize(
    ("targets", "pointer"),
    [([True, 1], "/data/targets/0"), ([0, True], "/data/targets/1"), ([[1], [1, 2]], "/data/targets/1")],
)
def test_targets_of_several_kinds_are_refused(http: FlaskClient, targets: list[Any], pointer: str) -> None:
    answer = http.post("/jobs", json=body(targets))
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, pointer)
