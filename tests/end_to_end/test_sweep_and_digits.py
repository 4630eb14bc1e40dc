"""Whole networks and sweeps through the shipped service, on real data."""

import time
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from tests.stack import Stack


def test_digits_with_one_hidden_layer_reach_0_96_on_held_out_rows(stack: Stack) -> None:
    digits = load_digits()
    body = {
        "model": "digits",
        "data": {"features": digits.data.tolist(), "targets": [str(target) for target in digits.target]},
        "network": {"hidden_layers": [32], "hidden_activation": "tanh"},
        "training": {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 64, "max_epochs": 40, "l2": 1e-4},
        "validation": {"fraction": 0.25, "early_stopping_patience": 10},
    }
    job = stack.finished(stack.http.post("/jobs", json=body).json())
    metrics = job["result"]["metrics"]
    assert job["config"]["task"] == "classification"
    assert metrics["n_instances"] == 449
    assert metrics["accuracy"] >= 0.96, metrics
    answer = stack.http.post("/predict", json={"model": "digits", "instances": digits.data[:5].tolist()}).json()
    assert answer["predictions"] == ["0", "1", "2", "3", "4"]


def test_64_candidates_on_5_folds_are_one_job_with_progress(stack: Stack) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 20))
    targets = (features @ rng.normal(size=20) + rng.normal(size=2000) > 0).astype(int)
    body = {
        "model": "swept",
        "data": {"features": features.tolist(), "targets": targets.tolist()},
        "training": {"max_epochs": 300, "tolerance": 1e-7},
        "validation": {"folds": 5},
        "sweep": {
            "learning_rate": [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
            "l2": [0, 1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3],
        },
    }
    job = stack.http.post("/jobs", json=body).json()
    seen: list[Any] = []
    deadline = time.monotonic() + 120
    while not job["done"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        job = stack.http.get(f"/jobs/{job['id']}").json()
        seen += [job["progress"]] if job["progress"] else []
    assert job["status"] == "succeeded", job["error"]
    assert len(job["result"]["leaderboard"]) == 64
    assert job["result"]["metrics"]["n_instances"] == 2000
    running = [progress["running"] for progress in seen if progress["phase"] is None]
    assert seen[0]["candidates"] == 64
    assert running == sorted(running, reverse=True)
    assert running[0] > 64  # candidates times folds
