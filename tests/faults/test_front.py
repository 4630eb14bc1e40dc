"""The API behind the front of deploy/nginx.conf: slow clients, limits, a replica that is away."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.builders import publish
from tests.faults.nginx import running_nginx
from tests.faults.paced_load import PacedLoad
from tests.faults.rig import Rig, running_rig, wait_for
from tests.faults.slow_clients import dripping
from tests.free_port import free_port

QUESTION = {"model": "or", "instances": [[0.25, 0.5]]}


def measured(port: int, seconds: float) -> PacedLoad:
    """Predict over this port for a while; every answer must be right."""
    answer = httpx.post(f"http://127.0.0.1:{port}/predict", json=QUESTION).json()
    with PacedLoad(f"127.0.0.1:{port}", QUESTION, answer, per_second=100) as load:
        time.sleep(seconds)
    return load


def p99_ms(load: PacedLoad) -> float:
    return float(np.percentile(load.seconds, 99)) * 1000


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One API."""
    with running_rig(tmp_path_factory.mktemp("rig"), n_workers=0, api_processes=1) as rig:
        publish(rig.jobs)
        yield rig


@pytest.fixture(scope="module")
def port(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a front, of whose two replicas only one is there."""
    with running_nginx(tmp_path_factory.mktemp("front"), rig.port, free_port()) as port:
        yield port


@pytest.mark.serial
def test_fifty_slow_clients_fail_no_request_behind_the_front_which_passes_by_a_replica_that_is_away(
    rig: Rig, port: int, times: int
) -> None:
    """R21. With `--times 8 -s` it takes long enough for the p99 that it prints, also of the API without the front."""
    for name, at in (("front", port), ("no front", rig.port))[: 1 if times < 5 else 2]:
        before = measured(at, times)
        with dripping(at, 50):
            load = measured(at, times)
        print(f"{name}: p99 {p99_ms(before):.1f} ms alone, {p99_ms(load):.1f} ms with 50 slow clients; {load}")
        assert load.failed == before.failed == []
        assert len(load.seconds) > 50 * times


def test_a_prediction_that_a_replica_dropped_goes_to_the_other_one_and_a_new_job_does_not(
    rig: Rig, tmp_path: Path
) -> None:
    n_dropped = 0
    with (
        socket.create_server(("127.0.0.1", 0)) as dropping,
        running_nginx(tmp_path, rig.port, dropping.getsockname()[1]) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as http,
    ):

        def drop() -> None:
            nonlocal n_dropped
            with suppress(OSError):
                while True:
                    connection, _ = dropping.accept()
                    with connection:
                        if b"POST" in connection.recv(65536):
                            n_dropped += 1

        threading.Thread(target=drop, daemon=True).start()

        def until_dropped(path: str, body: Any) -> list[int]:
            """Ask until the other replica has dropped a request; it gets none for 2 s after one."""
            before, statuses = n_dropped, []
            deadline = time.monotonic() + 10
            while n_dropped == before:
                assert time.monotonic() < deadline
                statuses.append(http.post(path, json=body).status_code)
                time.sleep(0.05)
            return statuses

        assert set(until_dropped("/predict", QUESTION)) == {200}
        job = {"model": "dropped", "data": {"features": [[0], [1]], "targets": [0, 1]}}
        *accepted, last = until_dropped("/jobs", job)
        assert set(accepted) <= {202} and last == 503
        assert len(http.get("/jobs", params={"model": "dropped", "limit": 100}).json()["data"]) == len(accepted)


def test_without_any_replica_the_answer_is_503_in_the_form_of_the_api(tmp_path: Path) -> None:
    with running_nginx(tmp_path, free_port(), free_port()) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json=QUESTION)
    assert problem_in(answer) == ("Service Unavailable", 503, "unavailable", "no replica answers", "1")


def problem_in(answer: httpx.Response) -> tuple[str, int, str, str, str | None]:
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == problem["status"] and problem["error"] == problem["detail"]
    assert set(problem) == {"type", "title", "status", "code", "detail", "error"} and problem["type"] == "about:blank"
    return problem["title"], problem["status"], problem["code"], problem["detail"], answer.headers.get("retry-after")


def test_limits_of_head_body_and_connections(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as client:
            client.request("POST", "/predict", headers={"Content-Length": "67108865"})  # and nothing of it
            answer = client.getresponse()
            too_long = httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())
        detail = "the body is longer than the front takes"
        assert problem_in(too_long) == ("Content Too Large", 413, "too_large", detail, None)
        assert http.get("/livez", headers={"X-Long": "a" * 9000}).status_code == 400  # as nginx says it
        with held_connections(port, 300):
            detail = "this address has too many connections"
            assert problem_in(http.get("/livez")) == ("Too Many Requests", 429, "rate_limited", detail, "1")
        wait_for(lambda: http.get("/livez").status_code == 200)


def test_events_arrive_one_by_one(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        data = {"features": [[0], [1]], "targets": [0, 1]}
        job = http.post("/jobs", json={"model": "m", "data": data}).json()
        with http.stream("GET", f"/jobs/{job['id']}/events", headers={"Accept": "text/event-stream"}) as events:
            lines = events.iter_lines()
            assert any("queued" in line for line in lines)  # at once, though the stream goes on
            http.post(f"/jobs/{job['id']}/cancel")
            assert any("cancelled" in line for line in lines)


@contextmanager
def held_connections(port: int, n_connections: int) -> Iterator[None]:
    """Hold connections whose request has begun, all from one address."""
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n{"
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(n_connections)]
    try:
        for connection in connections:
            connection.sendall(head)
        time.sleep(0.5)
        yield
    finally:
        for connection in connections:
            connection.close()
