"""Write `data_of_<commit>.tar.xz`: the data directory that `perceptron up` of an older commit leaves when it is killed.

    .venv/bin/python -m tests.upgrade.write_archive 15a4f66

Runs the code of that commit, as git has it, with the packages installed here. The data directory has models with
several versions and aliases, and a job in each state: with one worker, the job that runs keeps the next one queued.
Beside it, `answers.json` holds what that service answered. Run it again only to begin with another commit: the test
wants what an older release wrote, and not what this script would write today.
"""

import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from tests.free_port import free_port
from tests.stack import SETTINGS

FOLDER = Path(__file__).parent
OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}
LINE = {"features": [[0.0], [1.0], [2.0], [3.0], [4.0]], "targets": [1.0, 3.0, 5.0, 7.0, 9.0]}
THREE = {
    "features": [[0.1, 1.0], [0.2, 0.9], [2.0, 0.1], [2.1, 0.2], [4.0, 3.0], [4.1, 3.2]],
    "targets": ["elm", "elm", "fir", "fir", "oak", "oak"],
    "feature_names": ["height", "width"],
}
LONG = {"tolerance": 0, "learning_rate": 1e-6, "max_epochs": 1_000_000}
INSTANCES: dict[str, Any] = {
    "or": [[0, 0], [1, 0], [0.25, 0.5]],
    "line": [[1.5], [-2.0]],
    "trees": [[0.15, 0.95], [4.0, 3.1]],
    "layers": [[0, 1], [1, 1]],
    "step": [[0, 0], [1, 1]],
}


class Service:
    """`perceptron up` of an older commit."""

    def __init__(self, source: Path, data_dir: Path) -> None:
        port = free_port()
        env = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data-dir", str(data_dir)]
        self.process = subprocess.Popen(command, cwd=source, env=env | {"PYTHONPATH": str(source)})
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        while self.status_of("/readyz") != 200:
            time.sleep(0.1)

    def status_of(self, path: str) -> int | None:
        try:
            return self.http.get(path).status_code
        except httpx.TransportError:
            return None

    def ask(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self.http.request(method, path, **({"json": body} if body else {}))
        assert answer.is_success, answer.text
        return answer.json() if answer.content else {}

    def wait(self, job_id: str, is_reached: Any) -> dict[str, Any]:
        while not is_reached(job := self.ask("GET", f"/jobs/{job_id}")):
            time.sleep(0.1)
        return job

    def train(self, model: str, data: Any, **more: Any) -> str:
        job_id: str = self.ask("POST", "/jobs", model=model, data=data, **more)["id"]
        self.wait(job_id, lambda job: job["done"])
        return job_id

    def kill(self) -> None:
        """Kill every process at once, as a power cut would."""
        pids = [self.process.pid]
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            pids += [int(child) for child in children.read_text().split()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()


def fill(service: Service) -> dict[str, Any]:
    """Make models and jobs of each kind; return what the service answers about them."""
    service.train("or", OR, training={"max_epochs": 50}, metadata={"owner": "growth"})
    service.train("or", OR, training={"max_epochs": 200, "optimizer": "adam"})
    service.train("or", OR, training={"max_epochs": 5})
    service.train("line", LINE)
    service.train("trees", THREE)
    service.train("layers", OR, network={"hidden_layers": [3]}, training={"max_epochs": 100})
    service.train("step", OR, network={"activation": "step"})
    service.train("swept", OR, sweep={"learning_rate": [0.1, 0.5]}, training={"max_epochs": 20})
    diverging = {"learning_rate": 1e6, "optimizer": "gradient_descent", "max_epochs": 1000, "standardize": False}
    service.train("line", LINE, training=diverging)
    service.ask("PUT", "/models/or/aliases/production", version=1)
    service.ask("PUT", "/models/or/aliases/candidate", version=2)
    service.ask("PUT", "/models/trees/aliases/production", version=1)
    service.ask("DELETE", "/models/or/versions/3")
    running: str = service.ask("POST", "/jobs", model="long", data=OR, training=LONG)["id"]
    service.ask("POST", "/jobs", model="queued", data=THREE, training={"max_epochs": 20})
    cancelled: str = service.ask("POST", "/jobs", model="cancelled", data=OR)["id"]
    service.ask("POST", f"/jobs/{cancelled}/cancel")
    service.wait(running, lambda job: job["status"] == "running" and (job["progress"] or {}).get("epoch", 0) > 1000)
    time.sleep(6)  # until it has a checkpoint
    names = [model["name"] for model in service.ask("GET", "/models")["data"]]
    models = {name: service.ask("GET", f"/models/{name}") for name in names}
    return {
        "models": models,
        "versions": {
            f"{name}/{version['version']}": service.ask("GET", f"/models/{name}/versions/{version['version']}")
            for name, model in models.items()
            for version in model["versions"]
        },
        "predictions": [
            (question, service.ask("POST", "/predict", **question))
            for name, instances in INSTANCES.items()
            for version in models[name]["versions"]
            for question in [{"model": name, "version": version["version"], "instances": instances}]
        ]
        + [
            (question, service.ask("POST", "/predict", **question))
            for alias in models["or"]["aliases"]
            for question in [{"model": "or", "alias": alias, "instances": INSTANCES["or"]}]
        ],
        "jobs": {job["id"]: service.ask("GET", f"/jobs/{job['id']}") for job in service.ask("GET", "/jobs")["data"]},
    }


def main(commit: str) -> None:
    root = FOLDER.parents[1]
    with tempfile.TemporaryDirectory(prefix="older-") as folder:
        source, data_dir = Path(folder, "source"), Path(folder, "data")
        source.mkdir()
        code = subprocess.run(["git", "archive", commit], cwd=root, stdout=subprocess.PIPE, check=True).stdout
        subprocess.run(["tar", "-x"], cwd=source, input=code, check=True)
        service = Service(source, data_dir)
        try:
            answers = fill(service)
        finally:
            service.kill()
        Path(folder, "answers.json").write_text(json.dumps(answers, indent=1))
        with tarfile.open(FOLDER / f"data_of_{commit}.tar.xz", "w:xz") as archive:
            for name in ("data", "answers.json"):
                archive.add(Path(folder, name), name, filter=_without_owner)


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry if entry.isfile() or entry.isdir() else None


if __name__ == "__main__":
    main(sys.argv[1])
