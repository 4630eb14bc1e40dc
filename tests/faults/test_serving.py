"""Predict under reloads, deployments, a lost or hanging Redis, and slow clients: short forms of R14, R15, R16, R21."""

import http.client
import json
import math
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from statistics import quantiles
from typing import Any

import httpx
import pytest

from tests.builders import publish
from tests.faults.rig import Rig, children_of, send, wait_for
from tests.faults.slow_clients import dripping

X = [0.25, 0.5]


class Load:
    """Client threads that predict without a pause, each over one keep-alive connection."""

    def __init__(self, rig: Rig, weights: dict[int, float], *, threads: int = 8, **which: Any) -> None:
        self._address = rig.url.removeprefix("http://")
        self._weights = weights
        self._body = json.dumps({"model": "or", "instances": [X], **which})
        self._stop = threading.Event()
        self.seconds: list[float] = []
        self.wrong: list[object] = []
        self.n_stale = 0
        self._pool = ThreadPoolExecutor(threads)
        self._futures = [self._pool.submit(self._run) for _ in range(threads)]

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                connection.request("POST", "/predict", self._body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                self._judge(answer.status, answer.read())
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(error)
                connection.close()
            self.seconds.append(time.monotonic() - started)
        connection.close()

    def _judge(self, status: int, body: bytes) -> None:
        answer = json.loads(body)
        if status != 200:
            self.wrong.append(answer)
            return
        expected = 1 / (1 + math.exp(-self._weights[answer["version"]] * sum(X)))
        if not math.isclose(answer["outputs"][0][0], expected, rel_tol=1e-14):
            self.wrong.append(answer)
        self.n_stale += answer.get("stale", False)

    @property
    def p99_s(self) -> float:
        return quantiles(self.seconds, n=100)[-1]

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        for future in self._futures:
            future.result()


@pytest.mark.serial
def test_alias_moves_and_reloads_lose_no_answer_and_mix_no_versions(start_rig: Callable[..., Rig]) -> None:
    """R14."""
    rig = start_rig(n_workers=0)
    assert rig.api is not None
    weights = {number: number / 50 - 1 for number in range(1, 60)}
    publish(rig.jobs, weight=weights[1], alias="production")
    first_workers = children_of(rig.api.pid)
    with Load(rig, weights, alias="production") as load:
        for number in range(2, 52):
            assert publish(rig.jobs, weight=weights[number], alias="production") == number
            time.sleep(0.05)
            rig.models.set_alias("or", "production", number - 1)
            time.sleep(0.05)
            if number % 15 == 0:
                rig.api.send_signal(signal.SIGHUP)
        wait_for(lambda: not set(first_workers) & set(children_of(rig.api.pid)))  # type: ignore[union-attr]
    assert load.wrong == []
    assert len(load.seconds) > 1000
    assert load.p99_s < 0.5
    # The old processes answer while the new ones load.
    assert max(load.seconds) < 5


def test_a_drain_answers_the_requests_under_way(start_rig: Callable[..., Rig]) -> None:
    """R15."""
    rig = start_rig(n_workers=0)
    assert rig.api is not None
    publish(rig.jobs)
    body = json.dumps({"model": "or", "instances": [X] * 50_000})
    address = rig.url.removeprefix("http://")

    def predict(_: int) -> int:
        with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            sent.release()
            answer = connection.getresponse()
            assert len(json.loads(answer.read())["outputs"]) == 50_000
            return answer.status

    sent = threading.Semaphore(0)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(predict, range(8))
        for _ in range(8):
            sent.acquire()
        started = time.monotonic()
        rig.api.terminate()
        assert list(answers) == [200] * 8
    assert rig.api.wait(25) == 0
    assert time.monotonic() - started < 20


@pytest.mark.serial
@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_predictions_from_memory_go_on_while_redis_is_away(start_rig: Callable[..., Rig], fault: str) -> None:
    """R16."""
    rig = start_rig(n_workers=0)
    weights = {1: 1.0, 2: 2.0}
    publish(rig.jobs, weight=1.0, alias="production"), publish(rig.jobs, "other", weight=1.0)
    address = rig.url.removeprefix("http://")
    with Load(rig, weights, alias="production", threads=4) as load:
        time.sleep(0.5)
        assert load.n_stale == 0
        if fault == "killed":
            rig.server.kill()
        else:
            send(rig.server.pid, signal.SIGSTOP)
        deadline = time.monotonic() + (3 if fault == "killed" else 6)
        n_unavailable = 0
        while time.monotonic() < deadline:
            started = time.monotonic()
            with closing(http.client.HTTPConnection(address, timeout=10)) as connection:
                connection.request("POST", "/predict", json.dumps({"model": "other", "instances": [X]}))
                answer = connection.getresponse()
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), answer.read()
            assert time.monotonic() - started < 2
            n_unavailable += 1
            time.sleep(0.2)
        n_stale = load.n_stale
        assert n_stale > 100 and n_unavailable >= 3
        if fault == "killed":
            rig.server.start()
        else:
            send(rig.server.pid, signal.SIGCONT)
        wait_for(rig.is_ready)
        # later changes are followed again without a restart
        publish(rig.jobs, weight=2.0, alias="production")

        def is_followed() -> bool:
            before = load.n_stale
            time.sleep(0.3)
            return load.n_stale == before

        wait_for(is_followed)
    assert load.wrong == []
    assert max(load.seconds) < 2


def test_an_emptied_redis_makes_no_model_unknown(start_rig: Callable[..., Rig]) -> None:
    """R8, for predictions."""
    rig = start_rig(n_workers=0, api_processes=1)
    publish(rig.jobs, weight=1.0, alias="production")
    with Load(rig, {1: 1.0}, threads=2) as load:
        time.sleep(0.5)
        rig.redis.flushall()
        time.sleep(3)  # at least one periodic check of the aliases
        assert httpx.post(f"{rig.url}/predict", json={"model": "nope", "instances": [X]}).status_code == 503
    assert load.wrong == []


@pytest.mark.serial
def test_slow_clients_delay_nobody(start_rig: Callable[..., Rig]) -> None:
    """R21. `./run bench serving` reports the p99 with and without slow clients."""
    rig = start_rig(n_workers=0, api_processes=1)
    publish(rig.jobs, weight=1.0)
    with dripping(rig.port, 50), Load(rig, {1: 1.0}, threads=2) as load:
        time.sleep(2)
    assert load.wrong == []
    assert len(load.seconds) > 200 and load.p99_s < 0.25
