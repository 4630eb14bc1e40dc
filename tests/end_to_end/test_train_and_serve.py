"""The whole promise: post a job, poll it, predict, on real data, and again after a crash."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.perceptron import twin
from tests.stack import ROOT, Stack

OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}


def test_the_weights_of_a_job_are_those_of_the_plain_twin(stack: Stack) -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(30, 4)).tolist()
    targets = rng.integers(0, 2, size=30).tolist()
    training = {"max_epochs": 100, "tolerance": 0, "standardize": False, "learning_rate": 0.7}
    body = {"model": "twin", "data": {"features": features, "targets": targets}, "training": training}
    job = stack.finished(stack.http.post("/jobs", json=body).json())
    version = stack.http.get(f"/models/twin/versions/{job['result']['version']}").json()
    *_, (weights, bias, cost) = twin.train("sigmoid", features, targets, 0.7, 100, [0.0] * 4, 0.0)
    np.testing.assert_allclose(np.ravel(version["weights"][0]), weights, rtol=0, atol=1e-12)
    assert version["bias"][0][0] == pytest.approx(bias, abs=1e-12)
    assert job["result"]["cost"] == pytest.approx(cost, abs=1e-12)


def test_progress_is_seen_while_a_job_runs(stack: Stack) -> None:
    rng = np.random.default_rng(0)
    data = {"features": rng.normal(size=(500, 20)).tolist(), "targets": rng.integers(0, 2, size=500).tolist()}
    body = {"model": "long", "data": data, "training": {"max_epochs": 1_000_000, "tolerance": 0}}
    job = stack.http.post("/jobs", json=body).json()
    seen: list[Any] = []
    deadline = time.monotonic() + 20
    while len({progress["epoch"] for progress in seen}) < 3:
        assert time.monotonic() < deadline
        progress = stack.http.get(f"/jobs/{job['id']}").json()["progress"]
        seen += [progress] if progress else []
    assert stack.http.post(f"/jobs/{job['id']}/cancel").json()["status"] == "cancelled"
    epochs = [progress["epoch"] for progress in seen]
    assert epochs == sorted(epochs)
    assert all(progress["estimated_finish_at"].endswith("Z") for progress in seen)


def test_the_example_reaches_an_r2_of_0_9_on_held_out_rows(stack: Stack) -> None:
    ran = subprocess.run(
        [sys.executable, "examples/planes.py", "--url", stack.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    (line,) = (line for line in ran.stdout.splitlines() if "held-out" in line)
    assert float(line.split()[-1]) >= 0.9
    assert "EMB-145XR: 55 seats" in ran.stdout
    assert "warning at /instances/1/model" in ran.stdout


@pytest.mark.long
def test_a_model_survives_the_loss_of_every_process(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("--api-processes", "2")
    stack.finished(stack.http.post("/jobs", json={"model": "or", "data": OR, "alias": "production"}).json())
    predict = {"model": "or", "instances": [[0, 1], [0, 0]]}
    before = stack.http.post("/predict", json=predict).json()
    rng = np.random.default_rng(0)
    data = {"features": rng.normal(size=(500, 20)).tolist(), "targets": rng.integers(0, 2, size=500).tolist()}
    running = stack.http.post(
        "/jobs", json={"model": "long", "data": data, "training": {"max_epochs": 20_000, "tolerance": 0}}
    ).json()
    while stack.http.get(f"/jobs/{running['id']}").json()["status"] == "queued":
        time.sleep(0.02)
    stack.kill()
    stack.start()
    assert stack.http.post("/predict", json=predict).json() == before
    assert stack.http.get("/models/or").json()["aliases"] == {"production": 1}
    job = stack.finished(running)
    assert (job["status"], job["attempt"]) == ("succeeded", 2)


def test_sigterm_ends_everything_with_status_0(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack()
    tree = stack.tree()
    started = time.monotonic()
    assert stack.stop() == 0
    assert time.monotonic() - started < 25
    assert not [pid for pid in tree if Path(f"/proc/{pid}").exists()]


def test_only_training_workers_have_worker_main_in_their_command_line(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack("--workers", "2")
    commands = [Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ") for pid in stack.tree()]
    assert len([command for command in commands if "worker.main" in command]) == 2
    assert len([command for command in commands if "valkey-server" in command or "redis-server" in command]) == 1


def test_no_api_process_outlives_gunicorn(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack()
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in stack.tree()}
    arbiter, *processes = [pid for pid, command in commands.items() if "gunicorn" in command]
    os.kill(stack.process.pid, signal.SIGKILL)
    os.kill(arbiter, signal.SIGKILL)
    deadline = time.monotonic() + 25
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stack.process.wait()


@pytest.mark.serial
def test_while_redis_hangs_everybody_is_told_soon_and_livez_goes_on(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack()
    stack.finished(stack.http.post("/jobs", json={"model": "or", "data": OR}).json())
    (redis,) = (pid for pid in stack.tree() if "-server" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0])

    def predict(_: int) -> tuple[int, float]:
        started = time.monotonic()
        # One client for all: to make 40 of them would take longer than Redis is silent.
        answer = stack.http.post("/predict", json={"model": "or", "instances": [[0, 1]]})
        return answer.status_code, time.monotonic() - started

    def predict_until(status: int) -> None:
        deadline = time.monotonic() + 10
        while predict(0)[0] != status:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    os.kill(redis, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(40) as pool:
            answers = [pool.submit(predict, k) for k in range(40)]
            n_alive = 0
            while not all(answer.done() for answer in answers):
                assert stack.http.get("/livez").status_code == 200
                n_alive += not all(answer.done() for answer in answers)
            assert n_alive >= 1  # it does not wait for the threads that the others hold
            assert {answer.result()[0] for answer in answers} == {503}
            assert max(answer.result()[1] for answer in answers) < 3
    finally:
        os.kill(redis, signal.SIGCONT)
    predict_until(200)
