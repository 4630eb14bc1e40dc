"""The raw half of R17: requests with damaged bytes, sent over TCP. 10,000 of them: `--times 80 -s`."""

import random
import re
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.access.store import AccessKeyStore
from storage.connection import connect
from tests.api_process import Api, running_api
from tests.builders import publish
from tests.faults.rig import children_of, memory_mb

AT_A_TIME = 125
BODIES = {
    "/predict": b'{"model": "or", "instances": [[0, 1], [1, 0.5]]}',
    "/jobs": b'{"model": "or", "data": {"features": [[0, 1], [1, 1]], "targets": [0, 1]}, "dry_run": true}',
    "/v2/models/or/infer": b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [0, 1]}]}',
    "/datasets": b'[{"a": 1, "b": 2}, {"a": 3, "b": 4}]',
}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    with running_api(tmp_path) as api:
        publish(api.jobs)
        yield api


def good_requests(key: str) -> list[bytes]:
    head = f"Host: h\r\nConnection: close\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n".encode()
    found = [
        b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path.encode(), head, len(body), body)
        for path, body in BODIES.items()
    ]
    table = BODIES["/datasets"]
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(table), table)
    found.append(b"POST /datasets HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n%b" % (head, chunks))
    return [*found, b"GET /jobs?limit=1 HTTP/1.1\r\n%b\r\n" % head]


def damaged(request: bytes, choose: random.Random) -> bytes:
    """Change, cut, double or insert a few bytes somewhere."""
    data = bytearray(request)
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(data))
        end = min(at + choose.choice((1, 1, 4, 40)), len(data))
        match choose.randrange(4):
            case 0:
                data[at] = choose.choice((0, 10, 13, 32, 34, 44, 58, 127, 255, choose.randrange(256)))
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end]
            case _:
                data[at:at] = choose.randbytes(end - at)
        if not data:
            break
    return bytes(data)


def statuses(port: int, request: bytes, *, silence_s: float = 0.1) -> list[int]:
    """Send bytes, and nothing more once no answer comes; return the statuses of all answers."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        try:
            connection.sendall(request)
            for wait_s in (silence_s, 20):
                connection.settimeout(wait_s)
                try:
                    while part := connection.recv(65536):
                        answer += part
                    break
                except TimeoutError:
                    connection.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
    return [int(found) for found in re.findall(rb"^HTTP/1\.[01] (\d{3}) ", answer, re.MULTILINE)]


def test_damaged_requests_are_answered_or_dropped_and_the_process_lives_on(
    api: Api, pytestconfig: pytest.Config
) -> None:
    key = AccessKeyStore(connect(api.server.url, timeout_s=5, n_retries=1)).create(["admin"])[1]
    requests, choose = good_requests(key), random.Random(0)
    for request in requests:
        assert statuses(api.port, request, silence_s=20)[0] in (200, 201, 202, 422), request
    (pid,), before_mb = children_of(api.process.pid), 0
    found = Counter[int]()
    n = AT_A_TIME * pytestconfig.getoption("--times")
    for k in range(n):
        found.update(statuses(api.port, damaged(choose.choice(requests), choose)) or [0])
        if k == n // 4:  # what every process takes once is taken
            before_mb = memory_mb(pid)
    grown_mb = memory_mb(pid) - before_mb
    print(f"{n} damaged requests, answers by status (0: none): {dict(sorted(found.items()))}; grown by {grown_mb} MB")
    assert children_of(api.process.pid) == [pid], "the process died"
    assert not [status for status in found if status >= 500 and status != 505], found  # 505: another version of HTTP
    assert {200, 400, 401, 404} <= set(found)
    assert grown_mb < 50
    assert key.split("_", 2)[2] not in api.log.read_text()
