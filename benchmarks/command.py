"""The command: `perceptron predict` on 1,000,000 rows, and the start of `perceptron --help`: the targets L1 to L3.

L1: the start of `perceptron --help`, against 150 ms. L2: `perceptron predict` of a CSV file of 1,000,000 rows and 10
columns, its start and the writing of the answers included, against the kernel in this process, which writes nothing. It
reads the same file with pyarrow: in blocks, as the command does, and in one piece with all cores, which takes 350 MB.
L3: the most memory that the command takes meanwhile.
"""

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter, sleep

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks._contestants import ROOT, free_port, server
from benchmarks._table import Row, machine, report, rounds, row, shown
from perceptron import Layer, Network, predict_outputs
from perceptron_client import Client

N_ROWS, N_COLUMNS = 1_000_000, 10
N_ROUNDS = 5
N_STARTS = 15
HELP_WITHIN_S = 0.15
ALLOWED_BYTES = 300_000_000

COMMAND = [sys.executable, "-P", "-m", "cli"]


def call(*arguments: str, env: dict[str, str] | None = None) -> tuple[float, int]:
    """Run the command; return the seconds that it took, and the bytes of its largest resident memory."""
    start = perf_counter()
    process = subprocess.Popen(
        [*COMMAND, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}, stdout=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        # not ru_maxrss, which begins with the memory of this process
        with suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peak = 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
        sleep(0.005)
    assert process.returncode == 0, arguments
    return perf_counter() - start, peak


def start_of_help() -> Row:
    figures = [call("--help")[0] for _ in range(N_STARTS)]
    best, worst = min(figures), max(figures)
    median = sorted(figures)[len(figures) // 2]
    ratios = [HELP_WITHIN_S / each for each in (median, worst, best)]
    return Row("L1", "start of `perceptron --help`; other: the goal", shown(figures), "150 ms", *ratios, 1.0)


def table_of(folder: Path) -> Path:
    numbers = np.random.default_rng(0).normal(size=(N_ROWS, N_COLUMNS)).round(6)
    path = folder / "rows.csv"
    pa.csv.write_csv(pa.table({f"x{j}": numbers[:, j] for j in range(N_COLUMNS)}), path)
    return path


def predictions(url: str, client: Client, path: Path) -> list[Row]:
    version = client.models.version("bench", 1)
    assert version.weights is not None and version.bias is not None
    network = Network((Layer(version.weights[0], version.bias[0], "sigmoid"),))
    answers = path.with_name("answers.csv")
    memory: list[int] = []

    def by_stream() -> float:
        start, n_rows = perf_counter(), 0
        with pa.csv.open_csv(path) as batches:
            for batch in batches:
                matrix = np.column_stack([column.to_numpy() for column in batch.columns])
                n_rows += len(predict_outputs(network, matrix))
        assert n_rows == N_ROWS
        return N_ROWS / (perf_counter() - start)

    def by_kernel() -> float:
        start = perf_counter()
        table = pa.csv.read_csv(path)
        outputs = predict_outputs(network, np.column_stack([column.to_numpy() for column in table.columns]))
        assert len(outputs) == N_ROWS
        return N_ROWS / (perf_counter() - start)

    def by_command() -> float:
        seconds, n_bytes = call("predict", "bench", str(path), "-o", str(answers), "-q", env={"PERCEPTRON_URL": url})
        memory.append(n_bytes)
        return N_ROWS / seconds

    figures = rounds({"ours": by_command, "blocks": by_stream, "kernel": by_kernel}, N_ROUNDS)
    assert len(pa.csv.read_csv(answers)) == N_ROWS
    what = (
        f"`perceptron predict`, {N_ROWS:,} rows x {N_COLUMNS} columns of CSV; other: pyarrow in blocks and the kernel"
    )
    whole = "the same; other: pyarrow in one piece with all cores, and the kernel"
    ratio = ALLOWED_BYTES / max(memory)
    return [
        row("L2", what, figures["ours"], figures["blocks"], 1 / 3, unit="rows/s"),
        row("L2", whole, figures["ours"], figures["kernel"], 1 / 3, unit="rows/s"),
        Row("L3", "the same: memory of the command", f"{max(memory) / 1e6:.0f} MB", "300 MB", *3 * [ratio], 1.0),
    ]


def main() -> None:
    rows = [start_of_help()]
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        command = [*COMMAND, "up", "--port", str(port), "--data-dir", f"{folder}/data"]
        with server(command, Path(folder), f"{url}/readyz", {"PYTHONPATH": str(ROOT)}), Client(url) as client:
            features = np.random.default_rng(1).normal(size=(1_000, N_COLUMNS))
            targets = (features[:, 0] > 0).astype(int)
            client.jobs.wait(client.jobs.create(model="bench", data=(features, targets)))
            rows += predictions(url, client, table_of(Path(folder)))
    report("command", "The command", rows, machine("click", "httpx", "numpy", "pyarrow"))


if __name__ == "__main__":
    main()
