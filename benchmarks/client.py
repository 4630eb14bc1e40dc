"""The Python client compared with bare httpx and requests: the targets C1 and C2.

C1: `client.predict` of one row, and the same request by an open `httpx.Client`, body and answer as JSON. C2: 10,000
rows of a data frame of 20 columns by `client.predict`, and as JSON through `requests`, `frame.to_numpy().tolist()`
included. Both against `perceptron up` on this machine; the contestants of a row take turns.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import numpy as np
import pandas as pd
import requests

from benchmarks._contestants import ROOT, free_port, server
from benchmarks._table import Row, machine, report, rounds, row
from perceptron_client import Client

N_COLUMNS = 20
N_ROUNDS = 15
N_CALLS = 200

rng = np.random.default_rng(0)


def per_call(run: Callable[[], object], n_calls: int = N_CALLS) -> Callable[[], float]:
    """Return what times many calls and gives the median of one."""

    def timed() -> float:
        figures = []
        for _ in range(n_calls):
            start = perf_counter()
            run()
            figures.append(perf_counter() - start)
        return median(figures)

    return timed


def one_row(url: str, client: Client) -> Row:
    rows = rng.normal(size=(1, N_COLUMNS)).tolist()
    http = httpx.Client(base_url=url)
    figures = rounds(
        {
            "ours": per_call(lambda: client.predict("bench", rows)),
            "httpx": per_call(lambda: http.post("/predict", json={"model": "bench", "instances": rows}).json()),
        },
        N_ROUNDS,
    )
    what = "client.predict of one row; other: httpx.Client.post(...).json()"
    return row("C1", what, figures["ours"], figures["httpx"], 1 / 1.3)


def frame(url: str, client: Client) -> Row:
    table = pd.DataFrame(rng.normal(size=(10_000, N_COLUMNS)), columns=[f"x{j}" for j in range(N_COLUMNS)])
    session = requests.Session()

    def by_requests() -> object:
        body = {"model": "bench", "instances": table.to_numpy().tolist()}
        answer = session.post(f"{url}/predict", json=body).json()
        return np.asarray(answer["outputs"]), np.asarray(answer["predictions"])

    by_client = client.predict("bench", table)
    np.testing.assert_allclose(by_client.outputs, by_requests()[0], rtol=1e-12)  # type: ignore[index]
    figures = rounds(
        {"ours": per_call(lambda: client.predict("bench", table), 5), "requests": per_call(by_requests, 5)}, N_ROUNDS
    )
    what = "10,000 rows of a data frame of 20 columns; other: JSON through requests"
    return row("C2", what, figures["ours"], figures["requests"], 5)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "cli", "up", "--port", str(port), "--data-dir", f"{folder}/data"]
        with server(command, Path(folder), f"{url}/readyz", {"PYTHONPATH": str(ROOT)}), Client(url) as client:
            features = rng.normal(size=(200, N_COLUMNS))
            client.jobs.wait(client.jobs.create(model="bench", data=(features, (features[:, 0] > 0).astype(int))))
            rows = [one_row(url, client), frame(url, client)]
    report("client", "The Python client", rows, machine("httpx", "requests", "numpy", "pandas", "pyarrow"))


if __name__ == "__main__":
    main()
