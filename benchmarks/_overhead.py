"""What keys, limits, metrics and logs cost a predict, and what slow clients cost others: the targets S7 and R21."""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import orjson

from benchmarks._contestants import load, script
from benchmarks._stage import N_ROUNDS, ONE_ROW, Stage, cpu_per_request
from benchmarks._table import Row, rounds, row
from tests.faults.slow_clients import dripping

_BODY = orjson.dumps({"model": "churn", "instances": ONE_ROW})


def s7(stage: Stage) -> Iterator[Row]:
    """CPU time, since servers on one core share what else happens there."""
    some = "1000000000"  # requests a second: counted, never reached
    limits = {"MAX_KEY_REQUESTS_PER_S": some, "MAX_TENANT_REQUESTS_PER_S": some}
    whole = stage.start_ours_with_keys(**limits)
    open_url, open_pid = stage.start_ours()
    bare_url, bare_pid = stage.start_ours(app="benchmarks._without_metrics:app", LOG_PREDICT_EVERY="0")
    without = script(stage.folder, [_BODY])
    with_key = script(stage.folder, [_BODY], Authorization=f"Bearer {whole.key}")
    figures = rounds(
        {
            "whole": lambda: cpu_per_request(whole.url, whole.pid, with_key),
            "open": lambda: cpu_per_request(open_url, open_pid, without),
            "bare": lambda: cpu_per_request(bare_url, bare_pid, without),
        },
        3 * N_ROUNDS,  # the differences are small
    )
    ours = figures["whole"]
    yield row("S7", "CPU of 1 row with 100 keys, limits, metrics, logs vs none of them", ours, figures["bare"], 0.85)
    yield row("S7", "the same vs metrics and logs alone", ours, figures["open"], 0.85)
    yield revoke(stage)


def statuses(connections: Sequence[socket.socket], request: bytes) -> set[bytes]:
    """Send a request over all connections, then read all answers; return their statuses."""
    for connection in connections:
        connection.sendall(request)
    found = set()
    for connection in connections:
        with connection.makefile("rb") as answer:
            found.add(answer.readline().split(b" ")[1])
            head = b"".join(iter(answer.readline, b"\r\n")).lower()
            answer.read(int(head.split(b"content-length:")[1].split()[0]))
    return found


def revoke(stage: Stage) -> Row:
    """Measure how long after a revoke the last of two processes refuses the key: the worst of 20."""
    ours = stage.start_ours_with_keys(n_processes=2)
    host, port = ours.url.removeprefix("http://").split(":")
    times = []
    for _ in range(20):
        key, text = ours.access.create(["predict"])
        head = f"POST /predict HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {text}\r\n"
        request = f"{head}Content-Length: {len(_BODY)}\r\n\r\n".encode() + _BODY
        with ExitStack() as stack:
            # Enough that each process has some: the system gives them out at random.
            connections = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(8)]
            assert statuses(connections, request) == {b"200"}, "a new key works at once"
            ours.access.revoke(key.id)
            start = time.perf_counter()
            while statuses(connections, request) != {b"401"}:
                pass
            times.append(time.perf_counter() - start)
    worst = max(times)
    ratio = 0.05 / worst
    what = "a revoked key ends in two processes, worst of 20"
    return Row("S7", what, f"{worst * 1e3:.3g} ms", "50 ms", ratio, ratio, ratio, 1)


def r21(stage: Stage) -> Iterator[Row]:
    url = stage.ours()
    lua = script(stage.folder, [_BODY])

    def p99() -> float:
        return load(f"{url}/predict", lua, connections=8)[1]

    def p99_among_slow_clients() -> float:
        with dripping(int(url.rpartition(":")[2]), 50):
            return p99()

    figures = rounds({"among": p99_among_slow_clients, "alone": p99}, N_ROUNDS)
    yield row("R21", "p99 beside 50 clients that drip vs without", figures["among"], figures["alone"], 0.5)
