"""Train a model on a table of aeroplanes, and ask it for the seats of some: `./run example`.

    planes.py [--url http://127.0.0.1:8000]

Without --url it uses the service that runs on this machine, or starts one of its own.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent
DEFAULT_URL = f"http://127.0.0.1:{os.environ.get('PORT', '8000')}"
PLANE = {
    "year": 2004,
    "type": "Fixed wing multi engine",
    "manufacturer": "EMBRAER",
    "model": "EMB-145XR",
    "engines": 2,
    "speed": None,
    "engine": "Turbo-fan",
}
"""Its seats are 55."""


def main() -> int:
    """Run the example. The exit status says whether it worked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help=f"the service's address (default: {DEFAULT_URL} when it answers)")
    url = parser.parse_args().url
    if url is None and is_perceptron_service(DEFAULT_URL):
        url = DEFAULT_URL
        print(f"using the service at {url}: its model planes gets one more version")
    try:
        if url is not None:
            run(url)
        else:
            with own_service() as own_url:
                run(own_url)
    except (httpx.HTTPError, RuntimeError) as error:
        print(f"the example failed: {error}", file=sys.stderr)
        return 1
    return 0


def run(url: str) -> None:
    """Upload, train, watch, predict."""
    table = HERE / "planes.csv"
    with httpx.Client(base_url=url, timeout=30) as http:
        dataset = answer(
            http.post(
                "/datasets",
                params={"name": table.name},
                content=table.read_bytes(),
                headers={"Content-Type": "text/csv"},
            )
        )
        print(f"{dataset['rows']} planes from {table.name}, to {url}: POST /datasets -> {dataset['id']}")
        for column in dataset["columns"]:
            show_column(column)
        job = answer(
            http.post(
                "/jobs",
                json={
                    "model": "planes",
                    "dataset": dataset["id"],
                    "target": "seats",
                    "validation": {"fraction": 0.2},
                    "metadata": {"example": "planes"},
                },
            )
        )
        print(f"POST /jobs -> {job['id']}")
        while not job["done"]:
            time.sleep(0.1)
            job = answer(http.get(f"/jobs/{job['id']}"))
            show_progress(job)
        if job["status"] != "succeeded":
            raise RuntimeError(f"the job {job['status']}: {job['error']}")
        result = job["result"]
        metrics = result["metrics"]
        print(f"model planes, version {result['version']}: {result['stop_reason']} after {result['epochs']} epochs")
        print(f"R2 of the seats of {metrics['n_instances']} held-out planes: {metrics['r2']:.3f}")

        records = [PLANE, {**PLANE, "model": "never seen", "speed": 432}]
        answered = answer(http.post("/predict", json={"model": "planes", "instances": records}))
        print("POST /predict")
        for record, seats in zip(records, answered["predictions"], strict=True):
            print(f"  {record['manufacturer']} {record['model']}: {seats:.0f} seats")
        for warning in answered.get("warnings", []):
            print(f"  warning at {warning['pointer']}: {warning['detail']}")


def show_column(column: dict[str, Any]) -> None:
    """Print in one line what a column holds."""
    if column["type"] == "numeric":
        what = f"{column['min']:g} to {column['max']:g}"
    else:
        what = f"{column['distinct']} different values"
    missing = f", {column['nulls']} missing" if column["nulls"] else ""
    print(f"  {column['name']}: {column['type']}, {what}{missing}{'' if column['use'] else ', not used'}")


def answer(response: httpx.Response) -> Any:
    """Return the answer's JSON. Raise RuntimeError with the service's message if it is an error."""
    if response.is_error:
        raise RuntimeError(f"{response.status_code} from {response.request.url}: {response.text}")
    return response.json()


def show_progress(job: dict[str, Any]) -> None:
    """Print the job's progress in one line."""
    progress = job["progress"]
    if progress is None:
        print(f"  {job['status']}")
    else:
        print(f"  {job['status']}: epoch {progress['epoch']}/{progress['max_epochs']}, cost {progress['cost']:.4f}")


def is_perceptron_service(url: str) -> bool:
    """Tell whether a Perceptron Service answers there."""
    try:
        document = httpx.get(f"{url}/openapi.json", timeout=2).json()
        return bool(document["info"]["title"] == "Perceptron Service")
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def own_service() -> Iterator[str]:
    """Run a service of our own on a free port, with temporary data."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    print(f"no service answers at {DEFAULT_URL}: starting one at {url}")
    with tempfile.TemporaryDirectory(prefix="perceptron-example-") as folder:
        log = Path(folder, "log")
        env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
        command = [
            sys.executable,
            "-m",
            "cli",
            "up",
            "--port",
            str(port),
            "--data-dir",
            str(Path(folder, "data")),
        ]
        with log.open("w") as output:
            service = subprocess.Popen(command, cwd=HERE.parent, env=env, stdout=output, stderr=output)
        try:
            wait_until_ready(url, service, log)
            yield url
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(30)


def wait_until_ready(url: str, service: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the service is ready."""
    deadline = time.monotonic() + 60
    while service.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start:\n{log.read_text()}")


if __name__ == "__main__":
    sys.exit(main())
