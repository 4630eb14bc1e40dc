"""Predict on a raw connection of the shipped process, with whatever HTTP/1.1 lets clients do."""

import re
import socket
import time
from collections.abc import Iterator

import orjson
import pytest

from tests.api_process import Api
from tests.builders import publish

BODY = b'{"model": "or", "instances": [[0.5, -1.5]]}'


@pytest.fixture
def connection(api: Api) -> Iterator[socket.socket]:
    publish(api.jobs, "or")
    assert api.http.post("/predict", content=BODY).status_code == 200  # in memory from here on
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as connection:
        yield connection


def request(body: bytes = BODY, *headers: str, version: str = "1.1", path: str = "/predict") -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: test", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class Answers:
    """Reads answers from a connection, one after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")

    def next(self) -> tuple[int, dict[str, str], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while line := self._file.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self._file.read(int(headers.get("content-length", 0)))

    def is_over(self) -> bool:
        return self._file.read(1) == b""


def test_pipelined_requests_are_answered_in_their_order(connection):
    unknown = request(b'{"model": "nobody", "instances": [[1, 2]]}')  # asks Redis, so it takes longer
    many = request(b'{"model": "or", "instances": [' + b", ".join([b"[1, 2]"] * 9000) + b"]}")  # goes to a thread
    connection.sendall(request() + unknown + request() + many + request())
    answers = Answers(connection)
    assert [answers.next()[0] for _ in range(5)] == [200, 404, 200, 200, 200]


def test_a_body_may_come_in_pieces(connection):
    whole = request()
    for piece in (whole[:20], whole[20:-30], whole[-30:-1], whole[-1:]):
        connection.sendall(piece)
        time.sleep(0.02)
    status, _, body = Answers(connection).next()
    assert (status, body[:27]) == (200, b'{"model":"or","version":1,"')


def test_a_body_that_takes_longer_than_a_second_is_answered_too(connection):
    connection.sendall(request()[:-1])
    time.sleep(1.3)
    connection.sendall(BODY[-1:] + request())
    answers = Answers(connection)
    assert [answers.next()[0], answers.next()[0]] == [200, 200]


def test_a_large_body_in_pieces_is_answered_once_it_is_complete_and_so_is_what_follows_it(connection):
    rows = b", ".join([b"[0.5, -1.5]"] * 9000)
    whole = request(b'{"model": "or", "instances": [' + rows + b"]}")
    for first in range(0, len(whole), 30_000):
        connection.sendall(whole[first : first + 30_000])
        time.sleep(0.01)
    connection.sendall(request(b'{"model": "or", "instances": [[1]]}') + request())
    answers = Answers(connection)
    status, _, body = answers.next()
    assert (status, len(orjson.loads(body)["outputs"])) == (200, 9000)
    assert [answers.next()[0], answers.next()[0]] == [422, 200]


def test_a_large_body_that_takes_longer_than_a_second_is_answered_too(connection):
    whole = request(b'{"model": "or", "instances": [' + b", ".join([b"[0.5, -1.5]"] * 9000) + b"]}")
    connection.sendall(whole[:60_000])
    time.sleep(1.3)
    connection.sendall(whole[60_000:] + request())
    answers = Answers(connection)
    assert [answers.next()[0], answers.next()[0]] == [200, 200]


def test_a_body_beyond_the_limit_is_refused_from_its_head_alone(connection):
    head = request()[: -len(BODY)]
    connection.sendall(re.sub(rb"(Content-Length): \d+", rb"\1: 99999999999", head))
    assert Answers(connection).next()[0] == 413


def test_the_same_head_may_come_with_another_body(connection):
    answers = Answers(connection)
    outputs = []
    for body in (BODY, BODY.replace(b"0.5", b"2.5"), BODY):
        connection.sendall(request(body))
        outputs.append(orjson.loads(answers.next()[2])["outputs"])
    assert outputs[0] == outputs[2] != outputs[1]


def test_requests_of_both_ways_alternate_on_one_connection(connection):
    answers = Answers(connection)
    show = b"GET /models/or HTTP/1.1\r\nHost: test\r\n\r\n"
    connection.sendall(request() + show + request() + show)
    assert [answers.next()[0] for _ in range(4)] == [200, 200, 200, 200]
    connection.sendall(show[:30])
    time.sleep(0.05)
    connection.sendall(show[30:] + request())
    assert [answers.next()[0] for _ in range(2)] == [200, 200]


def test_what_looks_like_a_predict_inside_another_request_is_none(connection):
    connection.sendall(b"GET /models/or HTTP/1.1\r\nX-Note: ")
    time.sleep(0.1)
    connection.sendall(request() + request())
    answers = Answers(connection)
    assert orjson.loads(answers.next()[2])["name"] == "or"
    assert orjson.loads(answers.next()[2])["model"] == "or"


def test_a_client_that_leaves_in_the_middle_of_its_body_harms_nobody(api, connection):
    connection.sendall(request()[:-5])
    connection.close()
    assert api.http.post("/predict", content=BODY).status_code == 200


def test_a_connection_is_closed_when_the_client_asks_for_it(connection):
    connection.sendall(request(BODY, "Connection: close"))
    answers = Answers(connection)
    status, headers, _ = answers.next()
    assert (status, headers["connection"]) == (200, "close")
    assert answers.is_over()


def test_http_1_0_is_answered_and_closed(connection):
    connection.sendall(request(version="1.0"))
    answers = Answers(connection)
    assert answers.next()[0] == 200
    assert answers.is_over()


def test_whoever_expects_100_gets_it_before_the_answer(connection):
    head, body = request(BODY, "Expect: 100-continue")[: -len(BODY)], BODY
    connection.sendall(head)
    answers = Answers(connection)
    assert answers.next()[0] == 100
    connection.sendall(body)
    assert answers.next()[0] == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (BODY, "/predict"),
        (b'{"model": "or", "instances": [[1]]}', "/predict"),
        (b"not JSON", "/predict"),
        (b'{"instances": [[1, 2]]}', "/v1/models/or:predict"),
        (b'{"instances": [[1, 2]]}', "/invocations?model=or"),
        (b'{"instances": [[1, 2]]}', "/invocations?model=n%6Fbody"),
    ],
)
def test_the_quick_way_answers_like_the_usual_one(connection, body, path):
    answers = Answers(connection)
    connection.sendall(request(body, "X-Request-Id: me", path=path))
    quick = answers.next()
    connection.sendall(request(body, "X-Request-Id: me", "Expect: 100-continue", path=path))
    usual = answers.next()
    while usual[0] == 100:
        usual = answers.next()
    for _, headers, _ in (quick, usual):
        headers.pop("date", None)
        assert re.fullmatch(r"predict;dur=\d+\.\d{3}", headers.pop("server-timing"))
    assert quick == usual


@pytest.mark.parametrize("body", [BODY, b'{"model": "or", "instances": [' + b", ".join([b"[1, 2]"] * 9000) + b"]}"])
def test_a_stopping_process_answers_what_was_begun_and_closes(api, connection, body):
    connection.sendall(request(body)[:-1])
    time.sleep(0.1)
    api.process.terminate()
    time.sleep(0.6)
    connection.sendall(body[-1:])
    answers = Answers(connection)
    status, headers, _ = answers.next()
    assert (status, headers["connection"]) == (200, "close")
    assert answers.is_over()
    assert api.process.wait(25) == 0
