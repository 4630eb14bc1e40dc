"""Event streams and long polls, on the process that is shipped; the attempts are this test's own."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from storage.jobs.reports import JobError
from tests.api_process import Api
from tests.builders import claimed, progress, publish

ROOT = Path(__file__).parents[2]


def events_in(stream: httpx.Response) -> Iterator[dict[str, Any]]:
    """Parse a stream of server-sent events."""
    fields: dict[str, str] = {}
    for line in stream.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        elif "data" in fields:
            event = json.loads(fields["data"])
            assert (fields["id"], fields["event"]) == (event["id"], event["type"])
            yield event
            fields = {}


SSE = {"Accept": "text/event-stream"}


def test_a_stream_tells_what_happens_as_it_happens_and_ends_with_the_job(api: Api) -> None:
    attempt = claimed(api.jobs)
    with api.http.stream("GET", f"/jobs/{attempt.job.id}/events", headers=SSE) as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        events = events_in(stream)
        assert [next(events)["data"]["status"] for _ in range(2)] == ["queued", "running"]
        attempt.report(progress(), on_curve=True)
        assert next(events)["data"] == {"attempt": 1, "epoch": 1, "cost": 0.25, "validation_cost": None}
        attempt.log("halfway")
        assert next(events)["data"] == {"attempt": 1, "message": "halfway"}
        api.jobs.cancel(attempt.job.id)
        assert [event["data"]["status"] for event in events] == ["cancelled"]


def test_a_stream_is_resumed_after_the_last_event_seen_and_ends_for_good(api: Api) -> None:
    attempt = claimed(api.jobs)
    url = f"/jobs/{attempt.job.id}/events"
    with api.http.stream("GET", url, headers=SSE) as stream:
        events = events_in(stream)
        next(events)
        seen = next(events)["id"]
    attempt.log("meanwhile")
    api.jobs.cancel(attempt.job.id)
    with api.http.stream("GET", url, headers={**SSE, "Last-Event-ID": seen}) as stream:
        rest = list(events_in(stream))
    assert [event["type"] for event in rest] == ["log", "status"]
    with api.http.stream("GET", f"{url}?after={rest[0]['id']}", headers=SSE) as stream:
        assert [event["id"] for event in events_in(stream)] == [rest[1]["id"]]
    assert api.http.get(url, headers={**SSE, "Last-Event-ID": rest[-1]["id"]}).status_code == 204


def test_a_stream_of_no_job_or_from_no_place_is_a_problem(api: Api) -> None:
    missing = api.http.get("/jobs/job_0/events", headers=SSE)
    assert (missing.status_code, missing.json()["code"]) == (404, "job_not_found")
    url = f"/jobs/{claimed(api.jobs).job.id}/events"
    assert api.http.get(url, headers={**SSE, "Last-Event-ID": "x"}).status_code == 422


def test_a_stream_that_begins_after_the_last_event_does_not_wait_for_another(api: Api) -> None:
    attempt = claimed(api.jobs)
    attempt.fail(JobError("diverged", ""))
    url = f"/jobs/{attempt.job.id}/events"
    last_id = api.http.get(url).json()["last_id"]
    assert api.http.get(url, params={"after": last_id}, headers=SSE, timeout=5).status_code == 204


def test_a_stream_begins_at_the_place_that_was_checked(api: Api) -> None:
    attempt = claimed(api.jobs)
    attempt.fail(JobError("diverged", ""))
    url = f"/jobs/{attempt.job.id}/events?after=0-1&after=nowhere"
    with api.http.stream("GET", url, headers=SSE) as stream:
        assert len(list(events_in(stream))) == 3


def test_a_stream_goes_on_after_redis_was_killed_and_came_back(api: Api) -> None:
    attempt = claimed(api.jobs)
    with api.http.stream("GET", f"/jobs/{attempt.job.id}/events", headers=SSE) as stream:
        events = events_in(stream)
        next(events), next(events)
        api.server.kill()
        api.server.start()
        attempt.log("after the fall")
        assert next(events)["data"]["message"] == "after the fall"


def test_a_long_poll_is_answered_when_the_job_is_done(api: Api) -> None:
    attempt = claimed(api.jobs)
    job_id = attempt.job.id
    etag = api.http.get(f"/jobs/{job_id}").headers["etag"]

    async def poll() -> tuple[httpx.Response, float]:
        async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
            held = asyncio.create_task(
                http.get(f"/jobs/{job_id}", headers={"Prefer": "respond-async, wait=20", "If-None-Match": etag})
            )
            await asyncio.sleep(0.3)
            assert not held.done()
            attempt.log("a change that is no end")
            await asyncio.sleep(0.3)
            assert not held.done()
            started = time.monotonic()
            api.jobs.cancel(job_id)
            return await held, time.monotonic() - started

    answer, delay_s = asyncio.run(poll())
    assert answer.json()["status"] == "cancelled"
    assert answer.headers["preference-applied"] == "wait=20"
    assert delay_s < 5  # and not the 20 s


def test_a_long_poll_gives_up_after_its_time_and_shows_the_job(api: Api) -> None:
    job_id = claimed(api.jobs).job.id
    started = time.monotonic()
    answer = api.http.get(f"/jobs/{job_id}", headers={"Prefer": "wait=1"})
    assert answer.json()["status"] == "running" and time.monotonic() - started >= 1
    etag = {"If-None-Match": answer.headers["etag"]}
    assert api.http.get(f"/jobs/{job_id}", headers={"Prefer": "wait=0", **etag}).status_code == 304


def test_a_long_poll_on_a_job_that_is_done_or_unknown_does_not_wait(api: Api) -> None:
    publish(api.jobs)
    done = api.jobs.page(limit=1)[0][0].id
    assert api.http.get(f"/jobs/{done}", headers={"Prefer": "wait=60"}).json()["done"]
    assert api.http.get("/jobs/job_0", headers={"Prefer": "wait=60"}).status_code == 404


def test_five_hundred_waiting_clients_cost_no_thread_and_predict_goes_on(api: Api) -> None:
    publish(api.jobs)
    attempt = claimed(api.jobs)
    job_id = attempt.job.id
    (pid,) = map(int, Path(f"/proc/{api.process.pid}/task/{api.process.pid}/children").read_text().split())

    async def run() -> tuple[list[str], int, int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=api.url, timeout=60, limits=limits) as http:
            polls = [
                asyncio.create_task(http.get(f"/jobs/{job_id}", headers={"Prefer": "wait=60"})) for _ in range(250)
            ]
            streams = [asyncio.create_task(http.get(f"/jobs/{job_id}/events", headers=SSE)) for _ in range(250)]
            await asyncio.sleep(4)
            n_threads = len(os.listdir(f"/proc/{pid}/task"))
            answer = await http.post("/predict", json={"model": "or", "instances": [[0.0, 1.0]]})
            assert answer.status_code == 200
            n_waiting = sum(not task.done() for task in (*polls, *streams))
            api.jobs.cancel(job_id)
            answers = await asyncio.gather(*polls, *streams)
            return [answer.text for answer in answers], n_waiting, n_threads

    texts, n_waiting, n_threads = asyncio.run(run())
    assert n_waiting == 500
    assert n_threads < 40
    assert all('"cancelled"' in text for text in texts)


def test_a_drain_ends_every_wait_at_once(api: Api) -> None:
    job_id = claimed(api.jobs).job.id

    async def run() -> tuple[httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(base_url=api.url, timeout=30) as http:
            poll = asyncio.create_task(http.get(f"/jobs/{job_id}", headers={"Prefer": "wait=60"}))
            stream = asyncio.create_task(http.get(f"/jobs/{job_id}/events", headers=SSE))
            await asyncio.sleep(0.5)
            api.process.terminate()
            return await poll, await stream

    started = time.monotonic()
    poll, stream = asyncio.run(run())
    assert poll.json()["status"] == "running" and "preference-applied" not in poll.headers
    assert stream.text.count("event: status") == 2
    assert api.process.wait(30) == 0
    assert time.monotonic() - started < 10
