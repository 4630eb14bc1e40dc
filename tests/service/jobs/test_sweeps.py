"""Sweeps, cross-validation, warm starts and the automatic learning rate over HTTP."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

FEATURES = [[float(k % 7), float(k % 3)] for k in range(30)]
TARGETS = [int(k % 7 > 3) for k in range(30)]
DATA = {"features": FEATURES, "targets": TARGETS}


def body(**more: Any) -> dict[str, Any]:
    return {"model": "m", "data": DATA, "training": {"max_epochs": 50}, **more}


def test_a_grid_trains_every_combination_in_one_job(train: Callable[..., Any], http: FlaskClient) -> None:
    sweep = {"learning_rate": [0.1, 0.5], "l2": [0.0, 0.001], "seed": [0, 1, 2]}
    job = train(body(sweep=sweep, validation={"fraction": 0.2}))
    assert job["config"]["candidates"] == 12
    assert [job["config"]["training"][name] for name in ("learning_rate", "l2", "seed", "max_epochs")] == [None] * 3 + [
        50
    ]
    board = job["result"]["leaderboard"]
    combinations = {(entry["learning_rate"], entry["l2"], entry["seed"]) for entry in board}
    assert combinations == {(rate, l2, seed) for rate in (0.1, 0.5) for l2 in (0.0, 0.001) for seed in (0, 1, 2)}
    best = board[0]
    version = http.get("/models/m/versions/1").get_json()
    assert version["training"]["learning_rate"] == best["learning_rate"]
    listed = http.get("/jobs").get_json()["data"][0]
    assert listed["result"]["leaderboard"] is None


def test_a_random_sweep_draws_within_its_ranges_and_repeats_itself(train: Callable[..., Any]) -> None:
    sweep = {"random": 20, "learning_rate": {"low": 1e-3, "high": 1, "log": True}, "l2": [0, 0.01]}
    first, second = (train(body(sweep=sweep))["result"]["leaderboard"] for _ in range(2))
    assert first == second
    rates = [entry["learning_rate"] for entry in first]
    assert all(1e-3 <= rate <= 1 for rate in rates)
    assert len(set(rates)) == 20
    # of 20 draws even in the logarithm, about a third lies in each decade; none in the lowest is one in 3,000
    assert min(rates) < 1e-2
    assert {entry["l2"] for entry in first} == {0.0, 0.01}


def test_folds_judge_every_row_and_the_version_learns_from_all(train: Callable[..., Any]) -> None:
    job = train(body(sweep={"learning_rate": [0.1, 0.5]}, validation={"folds": 5}))
    result = job["result"]
    assert (result["metrics"]["evaluated_on"], result["metrics"]["n_instances"]) == ("folds", 30)
    assert result["is_refitted"] is True
    assert job["progress"]["phase"] == "refit"


def test_auto_chooses_a_learning_rate_that_is_reported(train: Callable[..., Any], http: FlaskClient) -> None:
    data = {"features": [[0.0], [1.0], [2.0], [3.0]], "targets": [1.5, 3, 5, 7.0]}
    train({"model": "line", "data": data, "training": {"learning_rate": "auto", "max_epochs": 2000, "tolerance": 0}})
    version = http.get("/models/line/versions/1").get_json()
    # standardized, so that 2/n sum x~ x~' is 2 times the identity: 1 / L = 1/2
    assert version["training"]["learning_rate"] == pytest.approx(0.5, rel=1e-12)
    # least squares by hand: slope = sum (x - 1.5)(y - 4.125) / sum (x - 1.5)^2 = 9.25 / 5
    assert version["weights"][0][0][0] == pytest.approx(1.85, rel=1e-9)


def test_a_warm_start_goes_on_where_the_version_was(train: Callable[..., Any], http: FlaskClient) -> None:
    whole = train(body(training={"max_epochs": 40, "tolerance": 0}))
    train({**body(training={"max_epochs": 25, "tolerance": 0}), "model": "half"})
    rest = train(
        {**body(training={"max_epochs": 15, "tolerance": 0}), "model": "half", "start_from": {"model": "half"}}
    )
    assert rest["config"]["start_from"] == {"model": "half", "version": 1}
    assert rest["result"]["cost"] == pytest.approx(whole["result"]["cost"], rel=1e-12)
    one, other = (http.get(f"/models/{path}").get_json()["bias"][0][0] for path in ("m/versions/1", "half/versions/2"))
    assert one == pytest.approx(other, rel=1e-10)


def test_metrics_are_what_people_expect(train: Callable[..., Any]) -> None:
    metrics = train(body())["result"]["metrics"]
    assert {"accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "confusion_matrix"} <= set(metrics)
    assert sum(map(sum, metrics["confusion_matrix"])) == 30
    assert all(math.isfinite(value) for value in metrics.values() if isinstance(value, float))


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"sweep": {}}, "/sweep"),
        ({"sweep": {"refit": True}}, "/sweep"),
        ({"sweep": {"learning_rate": []}}, "/sweep/learning_rate"),
        ({"sweep": {"learning_rate": [0.1, 0]}}, "/sweep/learning_rate/1"),
        ({"sweep": {"learning_rate": [True]}}, "/sweep/learning_rate/0"),
        ({"sweep": {"learning_rate": ["fast"]}}, "/sweep/learning_rate/0"),
        ({"sweep": {"learning_rate": {"low": 0.1, "high": 1}}}, "/sweep/learning_rate"),
        ({"sweep": {"random": 3, "learning_rate": {"low": 1, "high": 0.1}}}, "/sweep/learning_rate/high"),
        ({"sweep": {"random": 3, "learning_rate": {"low": 0, "high": 1, "log": True}}}, "/sweep/learning_rate/low"),
        ({"sweep": {"seed": list(range(4097))}}, "/sweep"),
        ({"sweep": {"seed": [0], "momentum": [0.9]}}, "/sweep/momentum"),
        ({"validation": {"folds": 1}}, "/validation/folds"),
        ({"validation": {"folds": 31}}, "/validation"),
        ({"validation": {"folds": 3, "fraction": 0.2}}, "/validation/fraction"),
        ({"training": {"learning_rate": "fast"}}, "/training/learning_rate"),
    ],
)
def test_a_wrong_sweep_is_named_by_its_pointer(http: FlaskClient, wrong: dict[str, Any], pointer: str) -> None:
    answer = http.post("/jobs", json=body(**wrong))
    problem = answer.get_json()
    assert (answer.status_code, problem["code"]) == (422, "invalid_request"), problem
    assert pointer in [fault["pointer"] for fault in problem["errors"]], problem


def test_too_many_candidates_are_told_the_limit(http: FlaskClient) -> None:
    detail = http.post("/jobs", json=body(sweep={"seed": list(range(4097))})).get_json()["detail"]
    assert "4096" in detail and "MAX_CANDIDATES" in detail and "4097" in detail


def test_a_start_that_does_not_exist_or_does_not_fit_is_refused(http: FlaskClient, train: Callable[..., Any]) -> None:
    missing = http.post("/jobs", json=body(start_from={"model": "nope"}))
    assert (missing.status_code, missing.get_json()["code"]) == (404, "model_not_found")
    train(body())
    answer = http.post("/jobs", json=body(start_from={"model": "m"}, network={"hidden_layers": [3]}))
    assert (answer.status_code, answer.get_json()["errors"][0]["pointer"]) == (422, "/start_from")


def test_the_config_shows_what_all_candidates_have_in_common(http: FlaskClient) -> None:
    sweep = {"l2": [0.3], "seed": [1, 2]}
    config = http.post("/jobs", json=body(sweep=sweep)).get_json()["config"]["training"]
    assert (config["l2"], config["seed"]) == (0.3, None)
