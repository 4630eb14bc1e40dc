"""One trace from a request to train to the published version, as a collector of OpenTelemetry receives it."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.free_port import free_port
from tests.stack import ROOT, Stack

OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NOT_SAMPLED = "5bf92f3577b34da6a3ce929d0e0e4737"


@pytest.fixture
def spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file to which a collector adds spans. What is started from here on sends them there."""
    port, file = free_port(), tmp_path / "spans"
    file.touch()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    command = [sys.executable, "-m", "tests.otlp_receiver", str(port), str(file)]
    process = subprocess.Popen(command, cwd=ROOT)
    yield file
    process.terminate()
    process.wait(10)


def of_trace(file: Path, trace: str) -> dict[str, dict[str, Any]]:
    read = [json.loads(line) for line in file.read_text().splitlines()]
    return {span["name"]: span for span in read if span["trace"] == trace}


def test_a_job_is_one_trace_from_its_request_to_its_version(spans: Path, own_stack: Callable[..., Stack]) -> None:
    stack = own_stack()
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=abc"}
    job = stack.http.post("/jobs", json={"model": "or", "data": OR}, headers=headers).json()
    assert stack.http.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=30"}).json()["status"] == "succeeded"
    body = {"model": "or", "instances": [[0, 1]]}
    for flag, trace in (("01", TRACE), ("00", NOT_SAMPLED)):
        asked = {"traceparent": f"00-{trace}-{SPAN}-{flag}"}
        assert stack.http.post("/predict", json=body, headers=asked).json()["predictions"] == [1]
    for unusual in ({}, {"Origin": stack.url}):  # the second one takes the way of all other requests
        assert stack.http.post("/predict", json=body, headers=unusual).status_code == 200
    deadline = time.monotonic() + 20
    while len(of_trace(spans, TRACE)) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stack.stop() == 0

    found = of_trace(spans, TRACE)
    assert set(found) == {"POST /jobs", "queue", "attempt", "train", "publish", "POST /predict"}
    request, attempt = found["POST /jobs"], found["attempt"]
    parents = {name: span["parent"] for name, span in found.items()}
    assert parents == {
        "POST /jobs": SPAN,
        "POST /predict": SPAN,
        "queue": request["id"],
        "attempt": request["id"],
        "train": attempt["id"],
        "publish": attempt["id"],
    }
    assert {span["service"] for span in (request, found["POST /predict"])} == {"perceptron-api"}
    assert {found[name]["service"] for name in ("queue", "attempt", "train", "publish")} == {"perceptron-worker"}
    assert request["attributes"] == {
        "http.request.method": "POST", "http.route": "/jobs", "http.response.status_code": 202,
    }  # fmt: skip
    assert attempt["attributes"] == {"job.id": job["id"], "attempt": 1}
    assert (request["state"], attempt["state"], request["path"]) == ("vendor=abc", "vendor=abc", "/v1/traces")
    assert 0 <= found["queue"]["ms"] < 20_000
    assert attempt["ms"] >= found["train"]["ms"] + found["publish"]["ms"] > 0

    every = [json.loads(line) for line in spans.read_text().splitlines()]
    assert [span for span in every if span["trace"] == NOT_SAMPLED] == []
    assert sum(span["name"] == "POST /predict" for span in every) == 1
    lines = [json.loads(line) for line in stack.data_dir.with_suffix(".log").read_text().splitlines()]
    said = next(line for line in lines if line["event"].endswith("published version 1 of model or"))
    assert (said["trace_id"], said["span_id"]) == (TRACE, attempt["id"])


def test_without_an_endpoint_nothing_that_sends_spans_is_imported() -> None:
    # redis-py imports the SDK's metrics by itself where it is installed.
    program = """
import os, sys
from storage.log import traces
PARTS = ("opentelemetry.exporter", "opentelemetry.proto", "opentelemetry.sdk.trace", "google.protobuf")
traces.begin("worker", os.environ)
with traces.span("train"):
    assert traces.carried() == {} and not traces.is_on()
traces.end()
import service.app, worker.tasks
print([name for name in sys.modules if name.startswith(PARTS)])
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_an_end_waits_for_a_silent_collector_two_seconds_in_all() -> None:
    # 1,200 spans are three batches, and each of them may take 2 s to send.
    program = """
import os, time
from storage.log import traces
traces.begin("worker", os.environ)
for _ in range(1200):
    with traces.span("train"):
        pass
began_at = time.monotonic()
traces.end()
print(time.monotonic() - began_at)
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert 1.9 < float(result.stdout) < 2.5
