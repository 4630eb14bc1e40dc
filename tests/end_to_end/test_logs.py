"""What people send stays out of every log, whatever its level (R24), and every line of a log is an object."""

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from standalone.redis_server import url_of_running
from storage.connection import connect
from tests.faults.rig import wait_for
from tests.receiver import SECRET, Receiver, authority
from tests.stack import ROOT, Stack

MARK = "zq7mark"
"""In every text that is sent."""
NUMBER = 98765.4375
"""In the middle of every column, so that it is no minimum, maximum or first value."""
MARKS = (MARK, str(NUMBER), MARK.upper())
NUMBER_BYTES = (struct.pack("<d", NUMBER), struct.pack(">d", NUMBER), struct.pack("<f", NUMBER))

ROWS = [[0.5, 1.0], [NUMBER, 2.0], [200_000.25, 3.0], [150_000.0, 4.0]]
CSV = f"size,{MARK}-colour,y\n0.5,{MARK}-red,a\n{NUMBER},{MARK}-blue,b\n200000.25,{MARK}-red,a\n1e5,{MARK}-blue,b\n"
MODELS = ("marked", "table", MARK)
"""One of two numbers, one of a table of those columns, and none."""


def new_key(stack: Stack, tenant: str, scope: str) -> str:
    command = [sys.executable, "-m", "cli", "keys", "create", "--scope", scope, "--tenant", tenant]
    env = {"PATH": "", "DATA_DIR": str(stack.data_dir)}
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Refuses webhooks, with an answer that no log may have either."""
    with Receiver(answers=(500,)) as receiver:
        receiver.answer_body = MARK.encode()
        yield receiver


@pytest.fixture
def stack(
    receiver: Receiver, own_stack: Callable[..., Stack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stack]:
    authority().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    settings = {
        "LOG_LEVEL": "debug",
        "LOG_PREDICT_EVERY": "1",
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_HOSTS": f"localhost:{receiver.port}",
        "WEBHOOK_ALLOW_PRIVATE": "true",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    yield own_stack()


def predict_bodies() -> dict[str, tuple[bytes, int, int, int]]:
    """Bodies by media type, each with what the three `MODELS` answer."""
    numbers, rows = io.BytesIO(), io.BytesIO()
    np.save(numbers, np.array(ROWS))
    table = pa.csv.read_csv(io.BytesIO(CSV.encode()))
    with pa.ipc.new_stream(rows, table.schema) as stream:
        stream.write_table(table)
    return {
        "text/csv": (CSV.encode(), 422, 200, 404),
        "application/x-npy": (numbers.getvalue(), 200, 422, 404),
        "application/vnd.apache.arrow.stream": (rows.getvalue(), 422, 200, 404),
        MARK: (CSV.encode(), 415, 415, 415),
    }


def send_everything(http: httpx.Client, webhook: str) -> list[str]:
    """Send marked values in valid, invalid and failing requests; return the ids of the jobs."""
    jobs = []

    def train(status: int, data: Any, **more: Any) -> None:
        body = {"model": "marked", "data": data, "metadata": {"note": MARK}, **more}
        answer = http.post("/jobs", json=body, headers={"Idempotency-Key": f"{MARK}-{len(jobs)}-{status}"})
        assert answer.status_code == status, answer.text
        if status == 202:
            jobs.append(answer.json()["id"])
            http.get(f"/jobs/{jobs[-1]}", headers={"Prefer": "wait=30"})
            http.get(f"/jobs/{jobs[-1]}/events?after={MARK}")

    classes = [f"{MARK}-a", f"{MARK}-b", f"{MARK}-a", f"{MARK}-b"]
    short = {"max_epochs": 3}
    names = [f"{MARK}-x", f"{MARK}-y"]
    train(202, {"features": ROWS, "targets": classes, "feature_names": names}, training=short, webhook={"url": webhook})
    train(422, {"features": ROWS, "targets": classes}, webhook={"url": f"https://{MARK}.example/{MARK}"})
    diverging = {"max_epochs": 50, "optimizer": "gradient_descent", "learning_rate": 1e300, "loss": MARK}
    train(422, {"features": ROWS, "targets": [1, NUMBER, 3, 4]}, training=diverging)
    del diverging["loss"]
    train(202, {"features": ROWS, "targets": [1, NUMBER, 3, 4]}, training={**diverging, "standardize": False})
    train(422, {"features": [[MARK, NUMBER], [1, 2]], "targets": [0, 1]})
    train(422, {"features": ROWS, "targets": [MARK]}, **{MARK: NUMBER})
    for body in (f'{{"{MARK}": ', f'{{"model": "{MARK}", "data": {NUMBER}}}', f'["{MARK}"]', MARK):
        assert http.post("/jobs", content=body, headers={"Content-Type": "application/json"}).status_code < 500
    for kind in ("text/csv", "application/vnd.apache.parquet", "application/x-npy", "application/json", MARK):
        for content in (CSV, f'{CSV}"{MARK},{NUMBER},1,2,3\n{MARK}', f'[{{"{MARK}": {NUMBER}}}, {{"{MARK}": [] }}]'):
            headers = {"Content-Type": kind, "Content-Disposition": f'attachment; filename="{MARK}.csv"'}
            answer = http.post(f"/datasets?{MARK}=1&target=y", content=content, headers=headers)
            assert answer.status_code < 500, answer.text
            files = {"file": (f"{MARK}.csv", content, kind)}
            assert http.post("/datasets", files=files, data={"name": MARK}).status_code < 500
    uploaded = http.post("/datasets", content=CSV, headers={"Content-Type": "text/csv"})
    assert uploaded.status_code == 201, uploaded.text
    answer = http.post("/jobs", json={"model": "table", "dataset": uploaded.json()["id"], "target": "y"})
    if answer.status_code == 202:
        jobs.append(answer.json()["id"])
        http.get(f"/jobs/{jobs[-1]}", headers={"Prefer": "wait=30"})
    for model in MODELS:
        for instances in (ROWS, [[NUMBER, MARK]], [{"size": NUMBER, f"{MARK}-colour": MARK}], [[NUMBER]], MARK):
            body = {"model": model, "instances": instances}
            assert http.post(f"/predict?{MARK}=1", json=body).status_code < 500
        for kind, (content, *statuses) in predict_bodies().items():
            answer = http.post("/predict", params={"model": model}, content=content, headers={"Content-Type": kind})
            assert answer.status_code == statuses[MODELS.index(model)], (model, kind, answer.text)
        tensor = {"name": MARK, "shape": [1, 2], "datatype": "FP64", "data": [NUMBER, MARK]}
        assert http.post(f"/v2/models/{model}/infer", json={"id": MARK, "inputs": [tensor]}).status_code < 500
        assert http.post(f"/v1/models/{model}:predict", json={"instances": [[NUMBER, MARK]]}).status_code < 500
    for method in ("GET", "POST", "DELETE", "PATCH"):
        assert http.request(method, f"/{MARK}/{NUMBER}?{MARK}={NUMBER}", json={MARK: NUMBER}).status_code < 500
    return jobs


def test_no_row_no_name_of_a_file_and_no_key_is_in_a_log_or_in_an_answer_of_others(
    stack: Stack, receiver: Receiver
) -> None:
    keys = {tenant: new_key(stack, tenant, "train,predict") for tenant in ("acme", "bolt")}
    secrets = [*(key.split("_", 2)[2] for key in keys.values()), SECRET.removeprefix("whsec_")]
    assert all(len(secret) > 20 for secret in secrets)
    with httpx.Client(base_url=stack.url, timeout=60, headers={"Authorization": f"Bearer {keys['acme']}"}) as acme:
        jobs = send_everything(acme, f"https://localhost:{receiver.port}/{MARK}?token={MARK}")
        assert len(jobs) == 3
        ends = [acme.get(f"/jobs/{job_id}").json() for job_id in jobs]
        assert [end["status"] for end in ends] == ["succeeded", "failed", "succeeded"], ends
    for bad in (MARK, f"{keys['acme']}{MARK}", f"{keys['acme'][:-4]}{MARK}", f"psk_{MARK}_{MARK}"):
        for headers in ({"Authorization": f"Bearer {bad}"}, {"X-API-Key": bad}, {"Authorization": f"{MARK} {bad}"}):
            assert httpx.get(f"{stack.url}/jobs", headers=headers).status_code == 401
    with httpx.Client(base_url=stack.url, timeout=60, headers={"X-API-Key": keys["bolt"]}) as bolt:
        paths = ("/jobs", "/models", "/datasets", "/models/marked", f"/jobs/{jobs[0]}", f"/jobs/{jobs[0]}/events")
        others = "".join(bolt.get(path).text for path in paths)
        others += bolt.post("/predict", json={"model": "marked", "instances": [[1.0, 2.0]]}).text
    redis = connect(str(url_of_running(stack.data_dir)), timeout_s=5, n_retries=1)
    redis.config_set("rdbcompression", "no")  # else a dump might hide what it holds
    names = list(redis.scan_iter(count=1000))
    values = [redis.dump(name) for name in names]
    log_file = stack.data_dir.with_suffix(".log")
    wait_for(lambda: f"webhook of job acme/{jobs[0]}: attempt 1: " in log_file.read_text())
    assert receiver.received[0].path == f"/{MARK}?token={MARK}"
    assert stack.stop() == 0

    log = log_file.read_text()
    assert [mark for mark in (*MARKS, *secrets) if mark in log or mark in others] == []
    assert [name for name in names for mark in (*MARKS, *secrets) if mark.encode() in name] == []
    # Rows are in blobs. Names of columns and of classes, and metadata, are in the records of their owner.
    rows = (str(NUMBER).encode(), *NUMBER_BYTES, *(secret.encode() for secret in secrets))
    assert [name for name, value in zip(names, values, strict=True) for row in rows if row in (value or b"")] == []

    lines = [json.loads(line) for line in log.splitlines()]
    print(f"{len(lines)} lines of log, {len(names)} keys of Redis")
    assert {line["process"] for line in lines} == {"redis", "api", "worker", "webhooks", "supervisor"}
    requests = [line for line in lines if line["event"] == "request" and line.get("tenant") == "acme"]
    assert {"/jobs", "/predict", "/datasets", "unknown"} <= {line["route"] for line in requests}
    assert all(line["key_id"] == keys["acme"].split("_")[1] and line["request_id"] for line in requests)
    trained = next(line for line in lines if "published version" in line["event"])
    assert (trained["job_id"], trained["tenant"], trained["attempt"], trained["version"]) == (jobs[0], "acme", 1, 1)
