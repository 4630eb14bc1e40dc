"""Newton's method over HTTP, alone and in sweeps."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

FEATURES = [[float(k % 7), float(k % 3)] for k in range(30)]
TARGETS = [int(k % 7 + k % 2 > 3) for k in range(30)]
NEWTON = {"optimizer": "newton", "loss": "cross_entropy", "l2": 0.01}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "data": {"features": FEATURES, "targets": TARGETS}, "training": NEWTON, **more}


def test_a_line_is_found_by_the_first_step(train: Callable[..., Any], http: FlaskClient) -> None:
    data = {"features": [[0.0], [1.0], [2.0], [3.0]], "targets": [1.5, 3, 5, 7.0]}
    job = train({"model": "line", "data": data, "training": {"optimizer": "newton", "max_epochs": 1}})
    assert job["config"]["training"]["optimizer"] == "newton"
    # least squares by hand: slope = sum (x - 1.5)(y - 4.125) / sum (x - 1.5)^2 = 9.25 / 5
    weights = http.get("/models/line/versions/1").get_json()["weights"]
    assert weights[0][0][0] == pytest.approx(1.85, rel=1e-12)


def test_it_comes_to_the_cost_of_lbfgs_in_fewer_epochs_and_a_warm_start_stays_there(train: Callable[..., Any]) -> None:
    slow = train(body(training={**NEWTON, "optimizer": "lbfgs", "tolerance": 1e-14}))["result"]
    result = train(body(training={**NEWTON, "tolerance": 1e-14}))["result"]
    assert result["cost"] == pytest.approx(slow["cost"], rel=1e-9)
    assert result["epochs"] < slow["epochs"]
    again = train(body(start_from={"model": "m"}))["result"]
    assert (again["stop_reason"], again["epochs"]) == ("converged", 1)


def test_a_sweep_with_folds_trains_each_candidate_by_it(train: Callable[..., Any]) -> None:
    result = train(body(sweep={"l2": [0.0001, 0.01, 1.0]}, validation={"folds": 3}))["result"]
    assert [entry["stop_reason"] for entry in result["leaderboard"]] == ["converged"] * 3
    assert all(entry["epochs"] < 20 for entry in result["leaderboard"])
    assert result["leaderboard"][-1]["l2"] == 1.0  # so large a penalty leaves next to nothing to predict with
    assert result["metrics"]["evaluated_on"] == "folds"


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"network": {"hidden_layers": [4]}}, "/training/optimizer"),
        ({"training": {**NEWTON, "batch_size": 8}}, "/training/batch_size"),
        (
            {"data": {"features": [[0.0] * 1000], "targets": [0.5]}, "network": {"activation": "sigmoid"}},
            "/training/optimizer",
        ),
        ({"sweep": {"l2": [0.1, 1]}, "network": {"hidden_layers": [4]}}, "/training/optimizer"),
    ],
)
def test_what_it_cannot_train_is_refused(http: FlaskClient, wrong: dict[str, Any], pointer: str) -> None:
    answer = http.post("/jobs", json=body(**wrong))
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request"), problem
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]
