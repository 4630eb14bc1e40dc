"""R40: commit 15a4f66 and today's code on one Redis for a while, then that commit alone, then today's code again.

Runs the code of that commit as git has it, where git has it: a shallow clone does not.
"""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.rig import ROOT, Rig, answers, running_rig, wait_for
from tests.free_port import free_port

COMMIT = "15a4f66"
OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
X = [[0, 0], [0.25, 0.5], [1, 1]]


@pytest.fixture
def older_code(tmp_path: Path) -> Path:
    """The code of that commit, in a folder."""
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True)
    if archive.returncode != 0:
        pytest.skip(f"git has no commit {COMMIT} here: git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tmp_path / "older", filter="data")
    return tmp_path / "older"


@contextmanager
def older(code: Path, rig: Rig, *command: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of that commit on the stores of the rig."""
    env = {**os.environ, **rig.settings, "PYTHONPATH": str(code), **settings}
    with (rig.folder / f"older-{command[0]}.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "cli", *command], cwd=code, env=env, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        assert process.wait(30) == 0


def train(http: httpx.Client, model: str, n_epochs: int) -> str:
    """Send a job as the documentation of both releases has it."""
    training = {"optimizer": "gradient_descent", "learning_rate": 0.5, "max_epochs": n_epochs, "tolerance": 0}
    answer = http.post("/jobs", json={"model": model, "data": OR, "training": training})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def is_done(http: httpx.Client, job_id: str) -> bool:
    answer = http.get(f"/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["done"])


def outcome(http: httpx.Client, job_id: str) -> tuple[Any, ...]:
    """Return what a release says of a job, of the version that it made, and of the predictions with it."""
    job = http.get(f"/jobs/{job_id}").json()
    version = {"model": job["model"], "version": job["result"]["version"]}
    description = http.get(f"/models/{version['model']}/versions/{version['version']}").json()
    prediction = http.post("/predict", json={**version, "instances": X}).json()
    outputs = [f"{output:.9f}" for (output,) in prediction["outputs"]]
    return job["status"], version, description["weights"], description["job"], prediction["version"], outputs


@pytest.mark.long
def test_both_serve_and_train_what_the_other_one_accepted_and_either_may_go(older_code: Path, tmp_path: Path) -> None:
    with ExitStack() as on_exit:
        rig = on_exit.enter_context(running_rig(tmp_path / "rig", n_workers=1, api_processes=1))
        new = on_exit.enter_context(httpx.Client(base_url=rig.url, timeout=30))
        first = train(new, "new", 5)
        wait_for(lambda: is_done(new, first))
        port = free_port()
        on_exit.enter_context(older(older_code, rig, "serve", PORT=str(port), API_PROCESSES="1"))
        on_exit.enter_context(older(older_code, rig, "worker"))
        old = on_exit.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
        wait_for(lambda: answers(old) and old.get("/readyz").json().get("workers") == 2)
        apis: dict[str, httpx.Client] = {"new": new, "old": old}
        job_ids = [first, *(train(api, name, k + 1) for k in range(6) for name, api in apis.items())]
        for job_id in job_ids:
            for api in apis.values():
                wait_for(lambda api=api, job_id=job_id: is_done(api, job_id))  # type: ignore[misc]
            assert outcome(new, job_id)[0] == "succeeded"
            assert outcome(new, job_id) == outcome(old, job_id)
        workers = [(rig.folder / f"{name}.log").read_text() for name in ("worker-0", "older-worker")]
        assert all("published version" in log for log in workers), "both have trained"
        assert new.put("/models/new/aliases/production", json={"version": 3}).status_code == 200
        aliased = {"model": "new", "alias": "production", "instances": X}
        wait_for(lambda: old.post("/predict", json=aliased).json().get("version") == 3)

        for process in (rig.api, *rig.workers):  # back again
            assert process is not None
            process.terminate()
            assert process.wait(30) == 0
        job_ids.append(train(old, "old", 20))
        wait_for(lambda: is_done(old, job_ids[-1]))
        before = [outcome(old, job_id) for job_id in job_ids]
        assert old.post("/predict", json=aliased).json()["version"] == 3

        rig.tend()
        wait_for(rig.is_ready)
        assert [outcome(new, job_id) for job_id in job_ids] == before
        listed = {job["id"] for job in new.get("/jobs", params={"limit": 100}).json()["data"]}
        assert listed == set(job_ids)
