"""Predict compared with Flask, FastAPI and MLServer: the targets S1 to S7 in one table.

Run it as `./run bench serving [S1 S3 ...]`. Every server is one process on the first core, ours as it is shipped
(`service.server.gunicorn_config`). The load comes from the second core. The contestants of a row take turns.
FastAPI and MLServer are installed into their own environments under benchmarks/.environments on the first use.
"""

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import orjson
import simdjson
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks._contestants import (
    Missing,
    environment,
    installed,
    load,
    require_wrk,
    script,
)
from benchmarks._overhead import r21, s7
from benchmarks._stage import MANY_ROWS, N_FEATURES, N_ROUNDS, ONE_ROW, Stage, store
from benchmarks._table import Row, machine, report, rounds, row

N_MODELS = 10_000


def s1_and_s2(stage: Stage) -> Iterator[Row]:
    request: dict[str, object] = {"model": "churn", "instances": ONE_ROW}
    contestants = {
        "ours": stage.rate(f"{stage.ours()}/predict", request),
        "Flask jsonify hello, gthread": stage.rate(f"{stage.flask()}/hello", None),
        "the simple route, gthread": stage.rate(f"{stage.flask()}/predict", request),
    }
    for name, url_of, path, body in (
        ("FastAPI + uvicorn", stage.fastapi, "/predict", request),
        (
            "MLServer",
            stage.mlserver,
            "/v2/models/churn/infer",
            {"inputs": [{"name": "x", "shape": [1, N_FEATURES], "datatype": "FP64", "data": ONE_ROW[0]}]},
        ),
    ):
        try:
            contestants[name] = stage.rate(f"{url_of()}{path}", body)
        except Missing as error:
            stage.notes.append(str(error))
            print(error, file=sys.stderr)
    figures = rounds(contestants, N_ROUNDS)
    goals = {
        "Flask jsonify hello, gthread": ("S1", 6.0),
        "the simple route, gthread": ("S1", 6.0),
        "FastAPI + uvicorn": ("S2", 4.5),
        "MLServer": ("S2", 12.0),
    }
    for name, (target, goal) in goals.items():
        if name in figures:
            yield row(target, f"1 row vs {name}", figures["ours"], figures[name], goal, unit="requests/s")


def seconds_of(url: str, body: bytes, headers: dict[str, str]) -> Callable[[], float]:
    """Time one large request at a time over a kept connection, from its first byte to the last byte of the answer."""
    authority, _, path = url.removeprefix("http://").partition("/")
    host, port = authority.split(":")
    head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def once(connection: socket.socket) -> float:
        start = time.perf_counter()
        connection.sendall(request)
        answer = connection.recv(1 << 20)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1 << 20)
        head_end = answer.index(b"\r\n\r\n") + 4
        length = int(answer[:head_end].lower().split(b"content-length:")[1].split()[0])
        n_left = head_end + length - len(answer)
        while n_left > 0:
            n_left -= len(connection.recv(1 << 20))
        assert answer.startswith(b"HTTP/1.1 200"), answer[:500]
        return time.perf_counter() - start

    def run() -> float:
        with socket.create_connection((host, int(port))) as connection:
            return median(once(connection) for _ in range(7))

    return run


def in_binary(values: NDArray[Any], datatype: str) -> tuple[bytes, dict[str, str]]:
    """Make the body and headers of an infer request as Triton's client sends them by default: binary in and out."""
    size = {"binary_data_size": values.nbytes}
    given = {"name": "input", "shape": values.shape, "datatype": datatype, "parameters": size}
    header = orjson.dumps({"inputs": [given], "parameters": {"binary_data_output": True}})
    return header + values.tobytes(), {"Inference-Header-Content-Length": str(len(header))}


def seconds_of_simdjson(body: bytes) -> Callable[[], float]:
    """Time simdjson alone: from the bytes of a request to its numbers, not even checked for their nesting."""
    parser = simdjson.Parser()

    def once() -> float:
        start = time.perf_counter()
        numbers = np.frombuffer(parser.parse(body)["instances"].as_buffer(of_type="d"))
        assert numbers.size == MANY_ROWS.size
        return time.perf_counter() - start

    return lambda: median(once() for _ in range(7))


def s3_and_s4(stage: Stage) -> Iterator[Row]:
    as_json = orjson.dumps({"model": "churn", "instances": MANY_ROWS}, option=orjson.OPT_SERIALIZE_NUMPY)
    of_json = {"Content-Type": "application/json"}
    ours, simple = f"{stage.ours()}/predict", f"{stage.flask()}/predict"
    contestants = {
        "ours": seconds_of(ours, as_json, of_json),
        "the simple route": seconds_of(simple, as_json, of_json),
        "simdjson alone": seconds_of_simdjson(as_json),
    }
    infer = f"{stage.ours()}/v2/models/churn/infer"
    for datatype, dtype in (("FP32", "<f4"), ("FP64", "<f8")):
        contestants[datatype] = seconds_of(infer, *in_binary(MANY_ROWS.astype(dtype), datatype))
    figures = rounds(contestants, N_ROUNDS)
    for datatype, goal in (("FP32", 100), ("FP64", 75)):
        what = f"10,000 x 30 as a binary tensor of {datatype} vs the simple route in JSON"
        yield row("S4", what, figures[datatype], figures["the simple route"], goal)
    yield row("S3", "10,000 x 30 as JSON vs the simple route", figures["ours"], figures["the simple route"], 10)
    what = "the same vs simdjson alone, without a server: at most 1.6 times its time"
    yield row("S3", what, figures["ours"], figures["simdjson alone"], 1 / 1.6)


def s5(stage: Stage) -> Iterator[Row]:
    url, request = f"{stage.ours()}/predict", {"model": "churn", "instances": ONE_ROW}
    figures = rounds(
        {
            "version": stage.rate(url, {**request, "version": 1}, duration_s=1),
            "latest": stage.rate(url, request, duration_s=1),
            "alias": stage.rate(url, {**request, "alias": "production"}, duration_s=1),
        },
        3 * N_ROUNDS,  # short rounds: the differences are small
    )
    for name in ("latest", "alias"):
        yield row("S5", f"by {name} vs by version", figures[name], figures["version"], 0.95, unit="requests/s")
    yield follow(stage)


def follow(stage: Stage) -> Row:
    """Measure how long after the answer to PUT predictions follow the alias: the worst of 100 moves."""
    times = []
    with httpx.Client(base_url=stage.ours()) as http:
        for k in range(100):
            alias = f"moved-{k}"
            body = {"model": "churn", "instances": ONE_ROW, "alias": alias}
            http.post("/predict", json=body)
            http.put(f"/models/churn/aliases/{alias}", json={"version": 1}).raise_for_status()
            start = time.perf_counter()
            while http.post("/predict", json=body).status_code != 200:
                pass
            times.append(time.perf_counter() - start)
            http.delete(f"/models/churn/aliases/{alias}")
    worst = max(times)
    ratio = 0.05 / worst
    return Row(
        "S5", "a moved alias is followed, worst of 100", f"{worst * 1e3:.3g} ms", "50 ms", ratio, ratio, ratio, 1
    )


def s6(stage: Stage) -> Iterator[Row]:
    names = [f"model-{k:05}" for k in range(N_MODELS)]
    store(stage.redis, names, alias="production")
    url, pid = stage.start_ours()
    bodies = [orjson.dumps({"model": name, "instances": ONE_ROW}) for name in names]
    all_of_them = script(stage.folder, bodies)
    one_of_them = script(stage.folder, bodies[:1] * 2)  # twice, so that wrk cycles through bodies here, too
    with httpx.Client(base_url=url) as http:
        for body in bodies:
            http.post("/predict", content=body, headers={"Content-Type": "application/json"}).raise_for_status()
    figures = rounds(
        {
            "all": lambda: load(f"{url}/predict", all_of_them)[1],
            "one": lambda: load(f"{url}/predict", one_of_them)[1],
        },
        N_ROUNDS,
    )
    status = Path(f"/proc/{pid}/status").read_text()
    resident_mb = int(status.split("VmRSS:")[1].split()[0]) / 1024
    ratio = 300 / resident_mb
    what = "10,000 models of 30 weights: resident memory"
    yield Row("S6", what, f"{resident_mb:.0f} MB", "300 MB", ratio, ratio, ratio, 1)
    yield row("S6", "the same: p99 of all models vs of one", figures["all"], figures["one"], 1 / 1.5)


BENCHMARKS = {"S1": s1_and_s2, "S3": s3_and_s4, "S5": s5, "S6": s6, "S7": s7, "R21": r21}


def main(chosen: list[str]) -> None:
    if unknown := set(chosen) - set(BENCHMARKS):
        sys.exit(f"expected some of {', '.join(BENCHMARKS)} (S2 is part of S1, S4 of S3), got {', '.join(unknown)}")
    require_wrk()
    rows: list[Row] = []
    about = machine("numpy", "gunicorn", "uvicorn", "uvloop", "flask", "orjson", "msgspec", "pysimdjson")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stage = Stage(stack, Path(folder))
        for name in chosen or BENCHMARKS:
            for new in BENCHMARKS[name](stage):
                rows.append(new)
                print(f"{new.target} {new.what}: {new.ratio:.3g} (goal {new.goal:g})", file=sys.stderr, flush=True)
        for name, packages in {"fastapi": ("fastapi", "uvicorn", "pydantic"), "mlserver": ("mlserver",)}.items():
            if name in stage._urls:
                others = installed(environment(name, ()), *packages)
                about |= {f"{package} (of {name})": version for package, version in others.items()}
        about |= {f"note {k}": note for k, note in enumerate(stage.notes, 1)}
    report("serving", "Serving", rows, about)


if __name__ == "__main__":
    main(sys.argv[1:])
