"""Two tenants on one service as a user starts it: their jobs go through the queue, a worker, and into predictions."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.stack import ROOT, Stack

OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
AND = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 0, 0, 1]}


def client(stack: Stack, tenant: str) -> httpx.Client:
    """A client with a new key of the tenant, made with the command."""
    command = [sys.executable, "-m", "cli", "keys", "create", "--scope", "train,predict", "--tenant", tenant]
    env = {"PATH": "", "DATA_DIR": str(stack.data_dir)}
    text = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout.strip()
    return httpx.Client(base_url=stack.url, timeout=60, headers={"Authorization": f"Bearer {text}"})


def post(http: httpx.Client, model: str, data: Any, **more: Any) -> str:
    return str(http.post("/jobs", json={"model": model, "data": data, **more}).raise_for_status().json()["id"])


def test_two_tenants_train_and_predict_and_take_turns(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack()
    with client(stack, "acme") as acme, client(stack, "bolt") as bolt:
        slow = {
            "training": {"optimizer": "gradient_descent", "learning_rate": 0.1, "tolerance": 0, "max_epochs": 20_000}
        }
        many = [post(acme, "gate", OR, **slow) for _ in range(12)]
        one = post(bolt, "gate", AND)
        job = bolt.get(f"/jobs/{one}", headers={"Prefer": "wait=50"}).json()
        assert job["status"] == "succeeded", job
        waiting = acme.get("/jobs?status=queued&limit=100").json()["data"]
        assert len(waiting) >= 8, "the one of the other tenant came behind the many"
        predicted = bolt.post("/predict", json={"model": "gate", "instances": [[0, 1], [1, 1]]}).json()
        assert (predicted["version"], predicted["predictions"]) == (1, [0, 1])
        with acme.stream("GET", f"/jobs/{many[0]}/events", headers={"Accept": "text/event-stream"}) as stream:
            kinds = [json.loads(line[6:])["type"] for line in stream.iter_lines() if line.startswith("data:")]
        assert kinds[0] == kinds[-1] == "status"
        assert acme.post("/predict", json={"model": "gate", "instances": [[0, 1]]}).json()["predictions"] == [1]
        for job_id in many:
            acme.post(f"/jobs/{job_id}/cancel")
        assert bolt.get(f"/jobs/{many[0]}").status_code == 404
        with bolt.stream("GET", f"/jobs/{many[0]}/events", headers={"Accept": "text/event-stream"}) as stream:
            assert stream.status_code == 404
        assert bolt.get(f"/jobs/{many[0]}", headers={"Prefer": "wait=5"}).status_code == 404
    with pytest.raises(httpx.HTTPStatusError):
        httpx.get(f"{stack.url}/models").raise_for_status()  # without a key nobody sees anything any more
