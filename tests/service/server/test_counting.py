"""Which answers of the shell are counted, how long the service took for them, and which are logged."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from werkzeug.routing import Map, Rule

from service.observe.access_log import SLOW_NS, AccessLog
from service.observe.metrics.traffic import Traffic
from service.server import counting
from service.server.counting import counted

RULES = Map([Rule("/jobs", methods=["GET", "POST"]), Rule("/predict", methods=["POST"])])
JSON = (b"content-type", b"application/json")
SECOND_NS = 1_000_000_000


class Clock:
    """Nanoseconds that pass when something says so."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(counting, "perf_counter_ns", clock)
    return clock


def answer(
    traffic: Traffic,
    clock: Clock,
    *,
    method: str = "GET",
    path: str = "/jobs",
    headers: Sequence[tuple[bytes, bytes]] = (),
    status: int = 200,
    answer_headers: Sequence[tuple[bytes, bytes]] = (JSON,),
    body_ns: int = 0,
    own_ns: int = 0,
) -> None:
    """Send a request whose body takes some time, to an app that takes some time after it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["more_body"]:
            clock.ns += body_ns
        clock.ns += own_ns
        await send({"type": "http.response.start", "status": status, "headers": list(answer_headers)})
        await send({"type": "http.response.body", "body": b"12345"})

    parts = iter([True, False])

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": next(parts)}

    async def send(_: Any) -> None:
        pass

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers)}
    asyncio.run(counted(app, traffic, RULES)(scope, receive, send))


def durations_s(traffic: Traffic) -> list[float]:
    return [times.sum_ns / SECOND_NS for times, n in traffic.requests().values() if sum(times.buckets) == n]


def test_a_request_takes_time_from_when_it_is_complete(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    traffic = Traffic()
    answer(traffic, clock, method="POST", body_ns=9 * SECOND_NS, own_ns=SECOND_NS)
    assert durations_s(traffic) == [1.0]
    (line,) = caplog.records
    assert vars(line)["duration_ms"] == 10_000
    assert line.levelname == "INFO"  # it was the client who took 9 s


def test_what_takes_the_service_more_than_a_second_is_a_warning(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    answer(Traffic(), clock, own_ns=SLOW_NS + 1)
    assert [line.levelname for line in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    "of_waiting", [(b"Preference-Applied", b"wait=20"), (b"content-type", b"text/event-stream; charset=utf-8")]
)
def test_what_the_client_asked_to_wait_for_has_no_duration_and_is_no_warning(
    clock: Clock, caplog: pytest.LogCaptureFixture, of_waiting: tuple[bytes, bytes]
) -> None:
    caplog.set_level(logging.INFO)
    traffic = Traffic()
    answer(traffic, clock, answer_headers=[of_waiting], own_ns=20 * SECOND_NS)
    ((labels, (times, n)),) = traffic.requests().items()
    assert (labels.rule, n, sum(times.buckets)) == ("/jobs", 1, 0)
    assert [(line.levelname, vars(line)["duration_ms"]) for line in caplog.records] == [("INFO", 20_000)]


def test_a_preference_that_was_not_applied_takes_no_request_out_of_the_durations(clock: Clock) -> None:
    traffic = Traffic()
    answer(traffic, clock, headers=[(b"prefer", b"wait=1")], own_ns=SECOND_NS)
    assert durations_s(traffic) == [1.0]


def test_predicts_that_are_refused_are_logged_as_seldom_as_others(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    traffic = Traffic(access_log=AccessLog(predict_every=5))
    for status in (401, 403, 429, 413, 401, 401):
        answer(traffic, clock, method="POST", path="/predict", status=status)
    assert [(vars(line)["status"], vars(line)["sampled"]) for line in caplog.records] == [(401, 5)]
    assert sum(n for _, n in traffic.requests().values()) == 6
    answer(traffic, clock, method="POST", path="/predict", status=503)
    assert caplog.records[-1].levelname == "WARNING"
