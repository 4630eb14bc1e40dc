"""What is repeated: against a service that restarts, connections that are cut, and answers that get lost."""

import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from perceptron_client import Client, ConnectionFailed, RequestTimedOut
from perceptron_client.errors import DatasetNotFound, RateLimited, ServerFault, Unavailable
from tests.faults.proxy import Proxy
from tests.free_port import free_port
from tests.stack import Stack

from .conftest import LINE, ONE_STEP

OR = ([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 1])
CSV = b"a,b\n1,2\n3,4\n"


def test_calls_and_wait_survive_a_restart_of_the_service(own_stack: Callable[..., Stack]):
    stack = own_stack()
    with Client(stack.url, retry_for_s=50) as client, ThreadPoolExecutor() as threads:
        client.jobs.wait(client.jobs.create(model="line", data=LINE, training=ONE_STEP))
        settings = {"optimizer": "gradient_descent", "tolerance": 0, "max_epochs": 1_000_000, "time_limit_s": 2}
        job = client.jobs.create(model="long", data=OR, training=settings)
        waiting = threads.submit(client.jobs.wait, job)
        following = threads.submit(lambda: list(client.jobs.events(job.id)))
        next(event for event in client.jobs.events(job.id) if event.type == "epoch")
        assert stack.stop() == 0
        during = [
            threads.submit(lambda: client.predict("line", [[2, 1]]).outputs[0, 0]),
            threads.submit(lambda: client.datasets.upload(CSV, media_type="text/csv").rows),
            threads.submit(lambda: client.jobs.wait(client.jobs.create(model="during", data=OR)).version),
        ]
        time.sleep(0.5)
        assert not any(each.done() for each in (waiting, following, *during))
        stack.start()
        assert [each.result(50) for each in during] == [pytest.approx(0.38), 2, 1]
        assert waiting.result(50).status == "succeeded"
        events = following.result(50)
        assert events[-1].ends_the_job and len({event.id for event in events}) == len(events)
        assert len(list(client.jobs.list(model="during"))) == 1


def test_a_stream_that_is_cut_is_resumed_without_loss_or_repetition(stack: Stack):
    with Proxy(stack.port) as proxy, Client(f"http://127.0.0.1:{proxy.port}", retry_for_s=20) as client:
        settings = {"optimizer": "gradient_descent", "tolerance": 0, "max_epochs": 60_000}
        job = client.jobs.create(model="cut", data=OR, training=settings)
        seen = []
        for event in client.jobs.events(job.id):
            seen.append(event)
            if len(seen) in (3, 6):
                proxy.cut()
                threading.Timer(0.2, proxy.open).start()
        kept = list(client.jobs.events(job.id, follow=False))
    assert [event.id for event in seen] == [event.id for event in kept]
    assert len(seen) > 6 and seen[-1].ends_the_job


class LosesFirstAnswer(httpx.HTTPTransport):
    """The service does what it is asked for, and its first answer does not arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.n_requests = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        self.n_requests += 1
        if self.n_requests == 1:
            response.read()
            raise httpx.ReadError("the answer got lost", request=request)
        return response


def test_a_job_whose_answer_got_lost_is_started_once(stack: Stack):
    transport = LosesFirstAnswer()
    with Client(stack.url, transport=transport) as client:
        job = client.jobs.create(model="lost", data=OR)
        assert [each.id for each in client.jobs.list(model="lost")] == [job.id]


def test_a_deletion_whose_answer_got_lost_has_succeeded(stack: Stack, client: Client):
    dataset = client.datasets.upload(CSV + b"5,6\n", media_type="text/csv")
    with Client(stack.url, transport=LosesFirstAnswer()) as losing:
        losing.datasets.delete(dataset.id)
    with pytest.raises(DatasetNotFound):
        client.datasets.delete(dataset.id)


def test_a_file_is_sent_again_and_a_stream_is_not(stack: Stack, tmp_path: Path, capsys):
    path = tmp_path / "rows.csv"
    path.write_bytes(CSV + b"7,8\n")
    transport = LosesFirstAnswer()
    with Client(stack.url, transport=transport) as client:
        assert client.datasets.upload(path, progress=True).rows == 3
    assert transport.n_requests == 2
    assert "100%" in capsys.readouterr().err.splitlines()[-1].rpartition("\r")[2]  # and not 200 %
    transport = LosesFirstAnswer()
    with Client(stack.url, transport=transport) as client, pytest.raises(ConnectionFailed, match="got lost"):
        client.datasets.upload(io.BytesIO(path.read_bytes()), media_type="text/csv")
    assert transport.n_requests == 1


def test_a_hanging_connection_times_out_and_is_tried_again(stack: Stack):
    with Proxy(stack.port) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        proxy.is_hanging = True
        with Client(url, timeout_s=0.2, retry_for_s=0) as client, pytest.raises(RequestTimedOut) as caught:
            client.ready()
        assert isinstance(caught.value, TimeoutError)
        threading.Timer(0.5, setattr, (proxy, "is_hanging", False)).start()
        with Client(url, timeout_s=0.3, retry_for_s=10) as client:
            assert list(client.models.list()) is not None


def test_a_refused_connection_is_tried_until_the_deadline_and_no_longer():
    began_at = time.monotonic()
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, retry_for_s=0.5) as client, pytest.raises(ConnectionFailed, match=r"refused, \d+ tries") as caught:
        client.jobs.get("job_1")
    assert isinstance(caught.value, ConnectionError)
    assert 0.4 < time.monotonic() - began_at < 3


def test_a_server_that_speaks_no_http_is_not_tried_again():
    began_at = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"220 smtp.example.org ESMTP\r\n500 unknown command\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        client = Client(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_s=5)
        with client, pytest.raises(ConnectionFailed, match="illegal status line"):
            client.jobs.get("job_1")
    assert time.monotonic() - began_at < 10


def test_wait_does_not_try_longer_than_its_timeout():
    began_at = time.monotonic()
    with Client(f"http://127.0.0.1:{free_port()}", retry_for_s=60) as client, pytest.raises(ConnectionFailed):
        client.jobs.wait("job_1", timeout_s=0.5)
    assert time.monotonic() - began_at < 5


def test_a_host_that_does_not_exist_is_not_tried_again(monkeypatch):
    asked = []

    def no_such_host(*arguments: object, **more: object) -> None:
        asked.append(arguments)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", no_such_host)
    with Client("http://no-such-host.invalid", retry_for_s=60) as client, pytest.raises(ConnectionFailed):
        client.jobs.get("job_1")
    assert len(asked) == 1


class Script:
    """A service that gives these statuses one after the other, and the delays between them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, str | None]) -> None:
        self.delays: list[float] = []
        self.n_requests = 0
        self._answers = answers
        monkeypatch.setattr("perceptron_client._sync.http.sleep_in_thread", self.delays.append)

    def client(self, **settings: float) -> Client:
        return Client("http://service", transport=httpx.MockTransport(self._answer), **settings)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        status, retry_after = self._answers[min(self.n_requests, len(self._answers) - 1)]
        self.n_requests += 1
        headers = {} if retry_after is None else {"retry-after": retry_after}
        body = {"status": "ready"} if status == 200 else {"code": "x", "detail": "y"}
        return httpx.Response(status, headers=headers, json=body | {"data": []})


def test_retry_after_is_a_lower_bound_and_jitter_comes_on_top(monkeypatch):
    script = Script(monkeypatch, (429, "3"), (503, "1"), (502, None), (504, "soon"), (200, None))
    with script.client() as client:
        assert list(client.models.list()) == []
    first, second, third, fourth = script.delays
    # full jitter: up to 0.1 s, 0.2 s, 0.4 s, 0.8 s
    assert 3 <= first <= 3.1 and 1 <= second <= 1.2 and 0 <= third <= 0.4 and 0 <= fourth <= 0.8


def test_a_retry_after_beyond_the_deadline_is_the_callers_to_wait_for(monkeypatch):
    script = Script(monkeypatch, (429, "120"))
    with script.client(retry_for_s=60) as client, pytest.raises(RateLimited) as caught:
        client.jobs.get("job_1")
    assert (caught.value.retry_after_s, script.delays, script.n_requests) == (120, [], 1)


@pytest.mark.parametrize("status", [500, 501])
def test_a_fault_of_the_service_is_not_repeated(monkeypatch, status: int):
    script = Script(monkeypatch, (status, None))
    with script.client() as client, pytest.raises(ServerFault):
        client.jobs.get("job_1")
    assert script.n_requests == 1


def test_a_stream_of_one_way_is_not_repeated_after_an_answer(monkeypatch):
    script = Script(monkeypatch, (503, None))
    with script.client() as client, pytest.raises(Unavailable):
        client.datasets.upload(io.BytesIO(CSV), media_type="text/csv")
    assert script.n_requests == 1


def test_the_delays_are_spread_over_the_whole_range_and_do_not_exceed_five_seconds(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("perceptron_client.retries.time.monotonic", lambda: clock[0])
    script = Script(monkeypatch, (503, None))
    with script.client(retry_for_s=1_000) as client, pytest.raises(Unavailable):

        def sleep(delay_s: float) -> None:
            script.delays.append(delay_s)
            clock[0] += delay_s

        monkeypatch.setattr("perceptron_client._sync.http.sleep_in_thread", sleep)
        client.jobs.get("job_1")
    late = script.delays[8:]
    assert max(late) <= 5 and min(late) < 1 and max(late) > 4 and sum(script.delays) == pytest.approx(1_000)


def test_a_process_after_a_fork_has_connections_of_its_own():
    class TellsPort(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps({"status": "ready", "port": self.client_address[1]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), TellsPort)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server, Client(f"http://127.0.0.1:{server.server_port}") as client:
        before = client.ready().port
        from_child, to_parent = os.pipe()
        if (child := os.fork()) == 0:
            try:
                os.write(to_parent, str(client.ready().port).encode())
            finally:
                os._exit(0)
        os.close(to_parent)
        in_child = os.read(from_child, 100)
        os.waitpid(child, 0)
        os.close(from_child)
        assert in_child and int(in_child) != before
        assert client.ready().port == before
        server.shutdown()
