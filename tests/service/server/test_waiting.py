"""How those who wait are sent away when their key ends, without a server."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from service.access.flask_admission import CALLER
from service.http.caller import Caller
from service.server import waiting
from service.server.changes import Changes, JobWatch
from service.server.waiting import STILL_HERE_EVERY_S, Waiting
from standalone import EmbeddedServer
from storage.connection import connect_on_loop
from storage.jobs.store import JobStore
from tests.builders import claimed

HEADERS = {True: (b"accept", b"text/event-stream"), False: (b"prefer", b"wait=50")}


class SomeKeys:
    """A gate that knows which keys have ended, and how often it was asked for each."""

    def __init__(self) -> None:
        self.ended: set[str | None] = set()
        self.n_asked: Counter[str | None] = Counter()

    def is_in_force(self, caller: Caller) -> bool:
        self.n_asked[caller.key_id] += 1
        return caller.key_id not in self.ended


@pytest.fixture
def waits_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait for a change may last."""
    found: list[float] = []
    wait = JobWatch.wait

    async def note(watch: JobWatch, timeout_s: float) -> bool:
        found.append(timeout_s)
        return await wait(watch, timeout_s)

    monkeypatch.setattr(JobWatch, "wait", note)
    monkeypatch.setattr(waiting, "_LOOK_AT_KEYS_EVERY_S", 0.02)
    return found


async def running(scope: Any, receive: Any, send: Any) -> None:
    """An app that knows one job, which runs."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"status": "running"}'})


async def still_connected() -> Any:
    await asyncio.sleep(60)


def test_one_timer_looks_at_the_keys_of_all_who_wait_and_wakes_only_those_whose_key_has_ended(
    server: EmbeddedServer, jobs: JobStore, waits_s: list[float]
) -> None:
    path, gate = f"/jobs/{claimed(jobs).job.id}", SomeKeys()
    sent: dict[str, list[Any]] = {"stream of a": [], "stream of b": [], "poll of a": []}

    async def wait(held: Waiting, name: str) -> None:
        async def send(message: Any) -> None:
            sent[name].append(message)

        is_stream, caller = name.startswith("stream"), Caller(name[-1], "", frozenset({"read"}))
        scope = {"type": "http", "method": "GET", "query_string": b"", CALLER: caller}
        scope |= {"path": path + "/events" if is_stream else path, "headers": [HEADERS[is_stream]]}
        assert await held.handle(scope, still_connected, send)

    async def run() -> None:
        redis = connect_on_loop(server.url, timeout_s=5, max_connections=4)
        held = Waiting(running, redis, Changes(redis), gate)  # type: ignore[arg-type]
        looking = asyncio.create_task(held.watch_keys())
        tasks = {name: asyncio.create_task(wait(held, name)) for name in sent}
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in tasks.values())
        assert sorted(map(round, waits_s)) == [STILL_HERE_EVERY_S, STILL_HERE_EVERY_S, 50]
        assert gate.n_asked["a"] > 10 and gate.n_asked["b"] > 5
        gate.ended.add("a")
        await asyncio.wait_for(asyncio.gather(tasks["stream of a"], tasks["poll of a"]), 2)
        gate.n_asked.clear()
        await asyncio.sleep(0.2)
        assert set(gate.n_asked) == {"b"}, "whoever has gone is not asked for"
        assert len(waits_s) == 3 and not tasks["stream of b"].done()
        for task in (looking, tasks["stream of b"]):
            task.cancel()
        await redis.aclose()

    asyncio.run(run())
    assert sent["stream of a"][-1] == {"type": "http.response.body", "body": b""}
    assert sent["poll of a"][0] == {
        "type": "http.response.start",
        "status": 200,
        "headers": [],
    }  # no preference-applied
    assert b"still here" not in b"".join(each.get("body", b"") for each in sent["stream of a"])


def test_without_a_gate_no_timer_looks_at_keys() -> None:
    redis = connect_on_loop("redis://127.0.0.1:1", timeout_s=1, max_connections=1)
    asyncio.run(asyncio.wait_for(Waiting(running, redis, Changes(redis)).watch_keys(), 0.5))
