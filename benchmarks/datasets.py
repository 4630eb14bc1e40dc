"""A large CSV file: uploaded, compared with pyarrow alone, and trained on, with the memory of the processes at work.

The file has 12 million rows: numbers, some of them missing, categories, and a class that depends on them. It is made
once, in `benchmarks/.environments`, which git ignores. pyarrow reads the same file in blocks as text and casts its
columns, and writes nothing. `./run bench datasets 100` takes 100 MB instead.
"""

import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from benchmarks._table import Row, machine, report
from benchmarks.jobs import process, wait_for
from standalone import EmbeddedServer
from standalone.stack import API_COMMAND, WORKER_COMMAND, WORKER_READY_LINE
from tests.free_port import free_port

FOLDER = Path(__file__).parent / ".environments"
ROWS_OF_A_MB = 12_000
PLANS, STATES = np.array(["basic", "plus", "pro", ""]), np.array([f"state-{k:02}" for k in range(50)])
ALLOWED_BYTES = 300_000_000


def table_of(megabytes: int) -> Path:
    """Make the file, unless it is there."""
    path = FOLDER / f"table-{megabytes}.csv"
    if path.exists():
        return path
    FOLDER.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    with path.with_suffix(".partial").open("w") as file:
        file.write("id,age,income,balance,visits,plan,state,member,churned\n")
        for first in range(0, megabytes * ROWS_OF_A_MB, 100_000):
            n = min(100_000, megabytes * ROWS_OF_A_MB - first)
            age, income = rng.integers(18, 90, n), rng.normal(30_000, 9_000, n).round(2)
            plan, state, member = rng.integers(0, 4, n), rng.integers(0, 50, n), rng.random(n) < 0.4
            z = (age - 50) / 20 - (income - 30_000) / 9_000 + plan - state / 25 + member
            has_churned = rng.random(n) < 1 / (1 + np.exp(-z))
            balance = np.where(rng.random(n) < 0.1, "", rng.normal(0, 1e4, n).round(3).astype(str))
            columns = (
                np.arange(first, first + n).astype(str), age.astype(str), income.astype(str), balance,
                rng.poisson(7, n).astype(str), PLANS[plan], STATES[state], np.where(member, "true", "false"),
                np.where(has_churned, "yes", "no"),
            )  # fmt: skip
            file.writelines(f"{','.join(row)}\n" for row in zip(*columns, strict=True))
    path.with_suffix(".partial").rename(path)
    return path


def by_pyarrow(path: Path) -> float:
    """Read the file in blocks as text and cast its columns; return the seconds."""
    names = pa.csv.open_csv(path).schema.names
    numbers = {"id", "age", "income", "balance", "visits"}
    began_at = time.perf_counter()
    convert = pa.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True)
    with pa.csv.open_csv(path, pa.csv.ReadOptions(block_size=1 << 20), convert_options=convert) as reader:
        for batch in reader:
            for name, values in zip(names, batch.columns, strict=True):
                if name in numbers:
                    pc.cast(values, pa.float64())
                else:
                    values.dictionary_encode()
    return time.perf_counter() - began_at


class Memory:
    """The most resident memory of processes, without pages of files, while the block runs."""

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self.peak: dict[str, int] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ends.wait(0.05):
            for pid in _tree(self._roots):
                with suppress(OSError, StopIteration, IndexError):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    own = int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) * 1024
                    name = f"{Path(f'/proc/{pid}/cmdline').read_text().split(chr(0))[2]} {pid}"
                    self.peak[name] = max(self.peak.get(name, 0), own)


def _tree(roots: tuple[int, ...]) -> list[int]:
    pids = list(roots)
    for pid in pids:
        with suppress(OSError):
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return pids


def parts_of(path: Path):
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            yield part


def main(arguments: list[str]) -> None:
    megabytes = int(arguments[0]) if arguments else 1_000
    path = table_of(megabytes)
    n_bytes, n_rows = path.stat().st_size, megabytes * ROWS_OF_A_MB
    rows: list[Row] = []
    alone = by_pyarrow(path)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder, ExitStack() as stack:
        server = stack.enter_context(EmbeddedServer(Path(folder)))
        port = free_port()
        settings = {"REDIS_URL": server.url, "DATA_DIR": folder, "PORT": str(port), "API_PROCESSES": "1"}
        api = stack.enter_context(process(API_COMMAND, Path(folder) / "api.log", **settings))
        worker = stack.enter_context(process(WORKER_COMMAND, Path(folder) / "worker.log", **settings))
        wait_for(WORKER_READY_LINE, Path(folder) / "worker.log")
        http = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600))
        for _ in range(300):
            with suppress(httpx.TransportError):
                if http.get("/readyz").status_code == 200:
                    break
            time.sleep(0.05)
        with Memory(api.pid) as of_upload:
            began_at = time.perf_counter()
            answer = http.post("/datasets", content=parts_of(path), headers={"Content-Type": "text/csv"})
            took = time.perf_counter() - began_at
        found = answer.raise_for_status().json()
        assert found["rows"] == n_rows, found
        what = f"upload of {n_bytes / 1e6:,.0f} MB, {n_rows:,} rows, against pyarrow alone (64 MB/s means 64 MB of CSV)"
        ours, other = f"{n_bytes / took / 1e6:.0f} MB/s", f"{n_bytes / alone / 1e6:.0f} MB/s"
        rows.append(Row("D1", what, ours, other, alone / took, alone / took, alone / took, 0.5))
        rows.append(_memory("D1", "the same: memory of the API's processes", of_upload))
        with Memory(worker.pid) as of_training:
            began_at = time.perf_counter()
            body = {"model": "churn", "dataset": found["id"], "target": "churned"}
            job = http.post("/jobs", json=body).raise_for_status().json()
            while not job["done"]:
                job = http.get(f"/jobs/{job['id']}", headers={"Prefer": "wait=30"}).json()
            took = time.perf_counter() - began_at
        assert job["status"] == "succeeded", job
        metrics = job["result"]["metrics"]
        what = f"training on it: accuracy {metrics['accuracy']:.3f}, {job['result']['epochs']} epochs"
        rows.append(Row("D2", what, f"{took:.0f} s", "none", 1.0, 1.0, 1.0, 1.0))
        rows.append(_memory("D2", "the same: memory of the worker and its child", of_training))
    report("datasets", "Data sets", rows, machine("numpy", "pyarrow"))


def _memory(target: str, what: str, memory: Memory) -> Row:
    total = sum(memory.peak.values())
    parts = ", ".join(f"{name} {n / 1e6:.0f} MB" for name, n in memory.peak.items())
    ratio = ALLOWED_BYTES / total
    return Row(target, f"{what}: {parts}", f"{total / 1e6:.0f} MB", "300 MB", ratio, ratio, ratio, 1.0)


if __name__ == "__main__":
    main(sys.argv[1:])
