"""Default jobs against scikit-learn's estimators with their defaults, on real data sets: `docs/defaults.md`.

For each data set of `_datasets.py` and each seeded split: POST a job that names nothing but the data (and, in the
second half, one hidden layer of 16), and one that names `"l2": "auto"` besides, then score `/predict` on the held-out
rows. The reference is StandardScaler with LogisticRegression or LinearRegression, and with MLPClassifier or
MLPRegressor of 16 neurons, the latter on standardized targets, both with enough epochs to converge. A cell is accuracy
/ log loss, or R2, as the mean over the splits.

Run it as `./run bench defaults [DATA SET ...]`; `--before` writes the figures to compare later runs with.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import numpy as np
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks._datasets import DATASETS, Table, load, splits

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "defaults.json"
BEFORE = ROOT / "benchmarks" / "results" / "defaults-before.json"
NETWORKS: dict[str, list[int]] = {"none": [], "[16]": [16]}
LEFT_OUT = {("diamonds", "[16]")}
"""The reference takes minutes for it."""

Score = dict[str, float]
"""`accuracy` and `log_loss`, or `r2`; empty when there is no model to score."""


@contextmanager
def service() -> Iterator[httpx.Client]:
    """Run the whole service as `./run up` does, on a free port and in a new folder."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="pd") as folder:
        command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data-dir", f"{folder}/data"]
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
                _wait_until_ready(http)
                yield http
        finally:
            running.terminate()
            running.wait(40)


def _wait_until_ready(http: httpx.Client) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if http.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the service is not ready after 60 s")


def ours(
    http: httpx.Client,
    table: Table,
    hidden_layers: list[int],
    train: NDArray[np.intp],
    held_out: NDArray[np.intp],
    **training: Any,
) -> Score:
    job = {
        "model": "default",
        "data": {"features": table.features[train].tolist(), "targets": table.targets[train].tolist()},
        "network": {"hidden_layers": hidden_layers},
        "training": training,
    }
    location = http.post("/jobs", json=job).raise_for_status().headers["Location"]
    done = http.get(location, headers={"Prefer": "wait=60"}).raise_for_status().json()
    while not done["done"]:
        done = http.get(location, headers={"Prefer": "wait=60"}).raise_for_status().json()
    if done["status"] != "succeeded":
        return {}
    request = {"model": "default", "version": done["result"]["version"], "instances": table.features[held_out].tolist()}
    outputs = np.array(http.post("/predict", json=request).raise_for_status().json()["outputs"])
    if not table.is_classification:
        return _regression(table.targets[held_out], outputs)
    if outputs.shape[1] == 1:
        outputs = np.column_stack([1 - outputs, outputs])
    return _classification(table.targets[held_out], outputs, done["config"]["classes"])


def reference(table: Table, hidden_layers: list[int], train: NDArray[np.intp], held_out: NDArray[np.intp]) -> Score:
    estimator: Any
    if table.is_classification:
        estimator = (
            MLPClassifier((16,), max_iter=2000, random_state=0) if hidden_layers else LogisticRegression(max_iter=1000)
        )
        model = make_pipeline(StandardScaler(), estimator)
        model.fit(table.features[train], table.targets[train])
        probabilities = model.predict_proba(table.features[held_out])
        return _classification(table.targets[held_out], probabilities, list(model.classes_))
    estimator = (
        MLPRegressor(hidden_layer_sizes=(16,), max_iter=2000, random_state=0) if hidden_layers else LinearRegression()
    )
    scaled = TransformedTargetRegressor(estimator, transformer=StandardScaler())
    model = make_pipeline(StandardScaler(), scaled).fit(table.features[train], table.targets[train])
    return _regression(table.targets[held_out], model.predict(table.features[held_out]))


def _classification(targets: NDArray[Any], probabilities: NDArray[np.float64], classes: list[str]) -> Score:
    predictions = np.array(classes)[probabilities.argmax(axis=1)]
    return {
        "accuracy": float(accuracy_score(targets, predictions)),
        "log_loss": float(log_loss(targets, probabilities, labels=classes)),
    }


def _regression(targets: NDArray[Any], outputs: NDArray[np.float64]) -> Score:
    return {"r2": float(r2_score(targets, outputs.reshape(np.shape(targets))))}


def measure(http: httpx.Client, name: str, network: str) -> dict[str, Any]:
    table, hidden_layers = load(name), NETWORKS[network]
    scores: dict[str, list[Score]] = {"ours": [], "l2 auto": [], "reference": []}
    seconds = dict.fromkeys(scores, 0.0)
    for train, held_out in splits(table):
        for who in scores:
            started = time.perf_counter()
            if who == "reference":
                score = reference(table, hidden_layers, train, held_out)
            else:
                training = {"l2": "auto"} if who == "l2 auto" else {}
                score = ours(http, table, hidden_layers, train, held_out, **training)
            seconds[who] += time.perf_counter() - started
            scores[who].append(score)
    return {who: {**_means(scores[who]), "seconds": round(seconds[who], 2), "splits": scores[who]} for who in scores}


def _means(scores: list[Score]) -> dict[str, float]:
    good = [score for score in scores if score]
    means = {name: round(float(np.mean([score[name] for score in good])), 6) for name in (good[0] if good else ())}
    return {**means, "n_failed": len(scores) - len(good)}


def cell(figures: dict[str, float] | None) -> str:
    if figures is None:
        return "-"
    failed = f"{figures['n_failed']:g} failed" if figures["n_failed"] else ""
    if "r2" in figures:
        r2 = figures["r2"]
        return " ".join(filter(None, [f"{r2:.3f}" if abs(r2) < 100 else f"{r2:.0e}", failed]))
    if "accuracy" in figures:
        return " ".join(filter(None, [f"{figures['accuracy']:.3f} / {figures['log_loss']:.3f}", failed]))
    return failed


def table_of(results: dict[str, Any], before: dict[str, Any]) -> str:
    lines = [
        "| data set | none: ours | l2 auto | reference | before | [16]: ours | l2 auto | reference | before |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, networks in results.items():
        cells = [name]
        for network in NETWORKS:
            figures = networks.get(network, {})
            was = before.get(name, {}).get(network, {})
            cells += [cell(figures.get(who)) for who in ("ours", "l2 auto", "reference")] + [cell(was.get("ours"))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    warnings.simplefilter("ignore")
    is_before = "--before" in arguments
    names = [name for name in arguments if name != "--before"] or list(DATASETS)
    results: dict[str, Any] = {}
    with service() as http:
        for name in names:
            results[name] = {
                network: measure(http, name, network) for network in NETWORKS if (name, network) not in LEFT_OUT
            }
            print(name, *(f"{network} {figures}" for network, figures in results[name].items()), flush=True)
    before = json.loads(BEFORE.read_text()) if BEFORE.exists() else {}
    if names == list(DATASETS):
        (BEFORE if is_before else RESULTS).write_text(json.dumps(results, indent=1) + "\n")
    print(table_of(results, before))


if __name__ == "__main__":
    main(sys.argv[1:])
