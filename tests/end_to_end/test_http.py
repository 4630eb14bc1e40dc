"""What only the shipped server can show: bodies in chunks, drop by drop, and too large; many at once."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.stack import Stack

OR = {"features": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [0, 1, 1, 1]}


def raw(stack: Stack, request: bytes, timeout_s: float = 5.0) -> bytes:
    """Send bytes as they are and return the answer's head and body, as far as they come."""
    with socket.create_connection(("127.0.0.1", stack.port), timeout=timeout_s) as connection:
        connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer or b"}" not in answer:
            received = connection.recv(65536)
            if not received:
                break
            answer += received
        return answer


def test_a_body_in_chunks_is_refused_and_nothing_is_truncated(stack: Stack) -> None:
    def chunks() -> object:
        yield json.dumps({"model": "m", "data": OR}).encode()

    answer = stack.http.post("/jobs", content=chunks(), headers={"Content-Type": "application/json"})  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")
    assert stack.http.get("/livez").status_code == 200


def test_a_post_without_a_body_and_its_length_is_refused(stack: Stack) -> None:
    assert raw(stack, b"POST /jobs HTTP/1.1\r\nHost: h\r\n\r\n").startswith(b"HTTP/1.1 411")


def test_no_websocket_is_opened(stack: Stack) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
    assert raw(stack, b"GET /livez HTTP/1.1\r\nHost: h\r\n" + upgrade + b"\r\n").startswith(b"HTTP/1.1 200")


def test_a_body_over_the_limit_is_refused_before_it_is_sent(stack: Stack) -> None:
    head = b"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000000000\r\n\r\n"
    started = time.monotonic()
    answer = raw(stack, head)
    assert time.monotonic() - started < 2
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"too_large"' in answer


def test_no_100_continue_is_given_to_a_body_that_will_be_refused(stack: Stack) -> None:
    answer = raw(stack, b"POST /jobs HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1000000000\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /jobs HTTP/1.1\r\nHost: h\r\nContent-Length: abc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nBad Header: x\r\n\r\n",
        b"NONSENSE\r\n\r\n",
        b"GET /jobs?model=\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /models/\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_malformed_http_is_a_client_error(stack: Stack, request_: bytes) -> None:
    answer = raw(stack, request_)
    assert answer.startswith(b"HTTP/1.1 4"), answer


def test_clients_that_send_drop_by_drop_cost_no_thread(stack: Stack) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", stack.port)) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(head + b"{")
        for _ in range(5):
            assert stack.http.get("/readyz", timeout=2).status_code == 200
    finally:
        for connection in slow:
            connection.close()


def test_many_predictions_at_once_are_all_answered(stack: Stack) -> None:
    job = stack.finished(stack.http.post("/jobs", json={"model": "many", "data": OR}).json())
    version = job["result"]["version"]

    def predict(_: int) -> tuple[int, int]:
        answer = stack.http.post("/predict", json={"model": "many", "instances": [[0, 1]]})
        return answer.status_code, answer.json()["version"]

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(predict, range(200))) == {(200, version)}


def test_head_and_conditional_requests_have_no_body(stack: Stack) -> None:
    job = stack.http.post("/jobs", json={"model": "m", "data": OR}).json()
    job = stack.finished(job)
    first = stack.http.get(f"/jobs/{job['id']}")
    again = stack.http.get(f"/jobs/{job['id']}", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert stack.http.head(f"/jobs/{job['id']}").content == b""


def test_a_late_request_on_a_kept_connection_is_answered(stack: Stack) -> None:
    with httpx.Client(base_url=stack.url) as http:
        for _ in range(3):
            assert http.get("/livez").status_code == 200
            time.sleep(0.3)
