"""Hosts and rates as they are shipped: on the fast path of predicts, and on every other way."""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from storage.access.store import AccessKeyStore
from storage.connection import connect
from tests.api_process import Api, running_api
from tests.builders import publish
from tests.stack import ROOT

PER_S = 5


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("gate"), MAX_KEY_REQUESTS_PER_S=str(PER_S)) as api:
        publish(api.jobs)
        yield api


def ask(api: Api, path: str, host: str, body: bytes = b"", more: str = "") -> int:
    method, length = (
        ("POST", f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n") if body else ("GET", "")
    )
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}{length}\r\n".encode() + body)
        return int(client.recv(65_536).split()[1])


PREDICT = b'{"model": "or", "instances": [[0, 1]]}'


def test_a_page_of_the_web_cannot_use_a_service_without_keys(api: Api) -> None:
    """DNS rebinding: the browser sends the name of the page's domain."""
    for host, status in (("localhost:8000", 200), ("x", 200), ("rebound.example.com", 421)):
        assert ask(api, "/predict", host, PREDICT) == status
        assert ask(api, "/models", host) == status
        assert ask(api, "/v2/models/or/infer", host, b"{}") == (422 if status == 200 else 421)
    assert ask(api, "/livez", "rebound.example.com") == ask(api, "/readyz", "rebound.example.com") == 200


def test_a_proxy_on_this_machine_lets_nobody_use_a_service_without_keys(api: Api) -> None:
    for header in ("X-Forwarded-For: 203.0.113.9", "forwarded: for=203.0.113.9", "X-Real-IP: 2001:db8::1"):
        for path, body in (("/predict", PREDICT), ("/models", b""), ("/v2/models/or/infer", b"{}"), ("/none", b"")):
            assert ask(api, path, "localhost", body, f"{header}\r\n") == 403, (header, path)
        assert ask(api, "/readyz", "localhost", more=f"{header}\r\n") == 200
    for header in ("X-Forwarded-Proto: https", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: ::1", "Via: 1.1 front"):
        assert ask(api, "/predict", "localhost", PREDICT, f"{header}\r\n") == 200
    refused = api.http.get("/jobs", headers={"X-Forwarded-For": "203.0.113.9"}).json()
    assert refused["code"] == "forbidden"
    assert "its header X-Forwarded-For says" in refused["detail"] and "perceptron keys create" in refused["detail"]
    nginx = (ROOT / "deploy" / "nginx.conf").read_text()
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in nginx


def test_a_page_of_another_origin_changes_nothing_in_a_service_without_keys(api: Api) -> None:
    """A browser sends these bodies without asking first: they have no type, or one that a form may have."""
    pages = ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"})
    own = {"Origin": api.url, "Sec-Fetch-Site": "same-origin"}
    table, job = b"a,b\n1,2\n3,4\n", b'{"model": "m", "data": {"features": [[0], [1]], "targets": [0, 1]}}'
    routes: list[tuple[str, str, str, bytes, int]] = [
        ("POST", "/datasets", "text/plain", table, 201),
        ("POST", "/jobs", "", job, 202),
        ("POST", "/jobs/job_1/cancel", "", b"", 404),
        ("POST", "/predict", "", PREDICT, 200),
        ("POST", "/predict?model=or", "text/plain", b"a,b\n0,1\n", 415),
        ("POST", "/invocations?model=or", "", b'{"instances": [[0, 1]]}', 200),
        ("POST", "/v1/models/or:predict", "application/x-www-form-urlencoded", b'{"instances": [[0, 1]]}', 200),
        ("POST", "/v2/models/or/infer", "text/plain", b"{}", 422),
        ("POST", "/v2/repository/index", "", b"", 200),
        ("POST", "/none", "", b"", 404),
        ("DELETE", "/models/none", "", b"", 404),
        ("GET", "/jobs", "", b"", 200),  # whose answer the page cannot read
    ]
    for method, path, kind, body, status in routes:
        typed = {"Content-Type": kind} if kind else {}
        for page in pages:
            answer = api.http.request(method, path, content=body, headers=typed | page)
            assert answer.status_code == (200 if method == "GET" else 403), (method, path, page, answer.text)
            assert "Access-Control-Allow-Origin" not in answer.headers
        answer = api.http.request(method, path, content=body, headers=typed | own)
        assert answer.status_code == status, (method, path, answer.text)
    refused = api.http.post("/datasets", content=table, headers=pages[0])
    assert "'https://evil.example'" in refused.json()["detail"] and "CORS_ORIGINS" in refused.json()["detail"]


def test_of_many_requests_at_once_as_many_pass_as_may(api: Api) -> None:
    with connect(api.server.url, timeout_s=5, n_retries=1) as redis:
        _, text = AccessKeyStore(redis).create(["admin"])
    headers = {"Authorization": f"Bearer {text}", "Content-Type": "application/json"}
    with httpx.Client(base_url=api.url, headers=headers, timeout=30) as http:
        deadline = time.monotonic() + 10
        while http.get("/jobs").status_code == 401:
            assert time.monotonic() < deadline
        assert ask(api, "/predict", "localhost", PREDICT) == 401  # the key has closed the gate
        proxied = f"Authorization: Bearer {text}\r\nX-Forwarded-For: 203.0.113.9\r\n"
        assert ask(api, "/predict", "localhost", PREDICT, proxied) == 200
        for send in (lambda: http.post("/predict", content=PREDICT), lambda: http.get("/models")):
            time.sleep(1.2)  # the bucket is full again
            began = time.monotonic()
            answers = [send() for _ in range(4 * PER_S)]
            took_s = time.monotonic() - began
            statuses = Counter(answer.status_code for answer in answers)
            assert statuses.keys() == {200, 429}
            n_passed = len(answers) - statuses[429]
            assert PER_S <= n_passed <= PER_S + PER_S * took_s + 1
            refused = next(answer for answer in answers if answer.status_code == 429)
            assert refused.json()["code"] == "rate_limited"
            assert refused.headers["RateLimit-Policy"] == f'"key";q={PER_S};w=1'
            assert int(refused.headers["Retry-After"]) >= 1
        assert http.get("/livez").status_code == 200  # whoever asks for health is not counted


def test_an_address_that_tries_many_keys_is_told_to_wait_and_others_are_not(api: Api) -> None:
    with connect(api.server.url, timeout_s=5, n_retries=1) as redis:
        AccessKeyStore(redis).create(["read"])
        deadline = time.monotonic() + 10
        while api.http.get("/jobs").status_code == 200:
            assert time.monotonic() < deadline

        def n_looked_up() -> int:
            return int(redis.info("commandstats").get("cmdstat_hgetall", {}).get("calls", 0))

        for source in ("127.0.0.2", "127.0.0.3"):  # no proxy, unlike 127.0.0.1
            n_before, began = n_looked_up(), time.monotonic()
            with httpx.Client(base_url=api.url, transport=httpx.HTTPTransport(local_address=source)) as http:
                answers = [
                    http.post("/predict", content=PREDICT, headers={"X-API-Key": f"psk_{k:016x}_{'a' * 43}"})
                    for k in range(80)
                ]
            n_seconds = int(time.monotonic() - began) + 2
            statuses = Counter(answer.status_code for answer in answers)
            assert statuses.keys() == {401, 429}
            assert 20 <= statuses[401] <= 20 * n_seconds
            limited = next(answer for answer in answers if answer.status_code == 429)
            assert (limited.json()["code"], limited.headers["Retry-After"]) == ("rate_limited", "1")
            assert n_looked_up() - n_before <= 10 * n_seconds


def test_a_predict_whose_body_comes_slowly_takes_one_request_and_not_two(api: Api) -> None:
    with connect(api.server.url, timeout_s=5, n_retries=1) as redis:
        _, text = AccessKeyStore(redis).create(["predict"])
    lines = f"Authorization: Bearer {text}\r\nContent-Type: application/json\r\nContent-Length: {len(PREDICT)}\r\n\r\n"
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\n" + lines.encode()

    def begun() -> socket.socket:
        client = socket.create_connection(("127.0.0.1", api.port), timeout=10)
        client.sendall(head + PREDICT[:10])
        return client

    def status(client: socket.socket, rest: bytes) -> int:
        with client:
            client.sendall(rest)
            return int(client.recv(65_536).split()[1])

    deadline = time.monotonic() + 10
    while status(begun(), PREDICT[10:]) == 401:  # the key is not known yet
        assert time.monotonic() < deadline
    time.sleep(1.2)  # the bucket is full: 5
    slow = [begun() for _ in range(PER_S)]
    time.sleep(1.2)  # 5 taken, 5 more came, and after a second the shell got all of them
    fast = [status(begun(), PREDICT[10:]) for _ in range(PER_S)]
    assert [status(client, PREDICT[10:]) for client in slow] == [200] * PER_S
    assert fast == [200] * PER_S


def test_a_body_of_a_route_that_is_free_takes_no_room_and_a_revoke_ends_a_request_on_its_way(api: Api) -> None:
    with connect(api.server.url, timeout_s=5, n_retries=1) as redis:
        store = AccessKeyStore(redis)
        key, text = store.create(["admin"])
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as client:
            client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\nx")
            assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        body = b'{"model": "m", "data": {"features": [[0], [1]], "targets": [0, 1]}}'
        head = f"Authorization: Bearer {text}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as client:
            client.sendall(b"POST /jobs HTTP/1.1\r\nHost: x\r\n" + head.encode() + body[:10])
            time.sleep(0.3)
            store.revoke(key.id)
            time.sleep(0.5)
            client.sendall(body[10:])
            assert client.recv(65_536).startswith(b"HTTP/1.1 401")


def test_a_key_that_is_revoked_while_the_body_of_a_predict_arrives_does_not_predict(api: Api) -> None:
    with connect(api.server.url, timeout_s=5, n_retries=1) as redis:
        store = AccessKeyStore(redis)
        (key, text), (_, other), (third, _) = (store.create(["predict"]) for _ in range(3))
        for headers in ({"X-API-Key": text}, {"X-API-Key": other}):
            deadline = time.monotonic() + 10
            while api.http.post("/predict", content=PREDICT, headers=headers).status_code != 200:
                assert time.monotonic() < deadline
        time.sleep(1.2)  # the buckets are full
        for each, revoked, status in ((other, third, b"200"), (text, key, b"401")):
            head = f"X-API-Key: {each}\r\nContent-Type: application/json\r\nContent-Length: {len(PREDICT)}\r\n\r\n"
            whole = b"POST /predict HTTP/1.1\r\nHost: x\r\n" + head.encode() + PREDICT
            with socket.create_connection(("127.0.0.1", api.port), timeout=10) as client:
                client.sendall(whole[:-10])
                time.sleep(0.1)
                store.revoke(revoked.id)
                time.sleep(0.3)  # less than the second after which the shell gets the request
                client.sendall(whole[-10:] + whole)  # and the next one
                answers = client.makefile("rb")
                for _ in range(2):
                    assert answers.readline().split()[1] == status
                    length = 0
                    while (line := answers.readline()) != b"\r\n":
                        if line.lower().startswith(b"content-length:"):
                            length = int(line.split()[1])
                    answers.read(length)


def test_once_a_loss_is_accepted_the_same_process_is_ready_and_lets_new_keys_in(tmp_path: Path) -> None:
    with running_api(tmp_path) as api, connect(api.server.url, timeout_s=5, n_retries=1) as redis:

        def becomes(path: str, status: int, text: str = "") -> None:
            deadline = time.monotonic() + 10
            while api.http.get(path, headers={"X-API-Key": text}, timeout=5).status_code != status:
                assert time.monotonic() < deadline, (path, status)
                time.sleep(0.05)

        store = AccessKeyStore(redis)
        _, lost = store.create(["admin"])
        becomes("/jobs", 200, lost)
        redis.flushall()
        becomes("/readyz", 503)
        init = [sys.executable, "-m", "cli", "init", "--accept-loss", "--redis-url", api.server.url]
        # Its own data directory: that of the API is open. Both have the blob store in common.
        init += ["--data-dir", str(tmp_path / "other")]
        env = {**os.environ, "BLOB_URL": (tmp_path / "blobs").as_uri()}
        subprocess.run(init, cwd=ROOT, env=env, check=True, capture_output=True, timeout=30)
        becomes("/readyz", 200)
        becomes("/jobs", 200)  # there is no key
        _, made = store.create(["admin"])
        becomes("/jobs", 401, lost)
        becomes("/jobs", 200, made)
