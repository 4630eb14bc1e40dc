"""Requests that wait for a job, event streams and long polls: they wait on the event loop, without a thread."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import orjson
from redis.asyncio import Redis

from service.access.flask_admission import CALLER
from service.access.gate import Gate
from service.http.caller import ANYONE, Caller
from service.jobs.payloads import EventPayload
from service.server.changes import Changes, JobWatch
from service.server.messages import App, Receive, Scope, Send, ask, header, own_headers, send_answer, without
from storage import keys
from storage.availability import as_unavailable
from storage.circuit_breaker import RETRY_AFTER_S, CircuitBreaker
from storage.errors import UnavailableError
from storage.jobs.events import Event, decode_events
from storage.jobs.record import DONE_STATUSES
from storage.tenants import owned

MAX_WAIT_S = 60
"""The most that `Prefer: wait=N` holds an answer."""

STILL_HERE_EVERY_S = 15.0
"""How often a silent stream sends a sign of life: proxies close connections that are silent for a minute."""

_LOOK_AT_KEYS_EVERY_S = 1.0
"""How often the keys of all who wait are looked at. That is one look into memory for each."""

_READ_AT_ONCE = 500
_RETRY_MS = 1_000
_SHOW_OR_EVENTS = re.compile(r"/jobs/([^/]+)(/events)?")
_WAIT = re.compile(rb"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?:[,;]|$)", re.IGNORECASE)


class Waiting:
    """Holds requests until their job changes.

    Each request goes to the Flask app first, so that its checks, errors and representations apply here, too.

    Args:
        gate: tells whether who waits may still; None: everybody may.
    """

    def __init__(self, flask: App, redis: Redis, changes: Changes, gate: Gate | None = None) -> None:
        self._gate = gate
        self._flask = flask
        self._redis: Any = redis
        self._changes = changes
        # Its own: connections of the event loop can run out, which says nothing about those of the threads.
        self._breaker = CircuitBreaker(as_unavailable)
        self._is_draining = False
        self._callers: dict[JobWatch, Caller] = {}
        """Who waits, if there is a gate."""

    async def watch_keys(self) -> None:
        """Wake those whose key has ended, until cancelled. Without a gate there is nothing to do.

        One timer serves all: if each of a thousand streams had its own, they would double what silent ones cost.
        """
        while self._gate is not None:
            await asyncio.sleep(_LOOK_AT_KEYS_EVERY_S)
            for watch, caller in self._callers.items():
                if not self._gate.is_in_force(caller):
                    watch.wake(None)

    def drain(self) -> None:
        """Stop all waiting: the process is about to end. Clients resume their streams elsewhere."""
        self._is_draining = True
        self._changes.wake_all()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Answer the request if it is one that waits; return whether it is."""
        match = _SHOW_OR_EVENTS.fullmatch(scope["path"]) if scope["method"] == "GET" else None
        if match is None:
            return False
        # The Flask app decides whether the job is the caller's: nothing is told before it has answered with 200.
        job_id, is_events = owned(scope.get(CALLER, ANYONE).tenant, match[1]), match[2] is not None
        if is_events and b"text/event-stream" in header(scope, b"accept").lower():
            await self._stream(scope, receive, send, job_id)
            return True
        wait_s = _wait_s(scope)
        if not is_events and wait_s is not None:
            await self._hold(scope, receive, send, job_id, wait_s)
            return True
        return False

    async def _hold(self, scope: Scope, receive: Receive, send: Send, job_id: str, wait_s: int) -> None:
        """Answer `GET /jobs/{id}` when the job is done, or after `wait_s`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_s
        async with self._watched(scope, receive, job_id) as (watch, gone):
            # Without If-None-Match: a 304 would not say whether the job is done.
            first = await ask(self._flask, without(scope, b"if-none-match"))
            if first.status != 200:
                await first.relay(send)
                return
            status: str | None = orjson.loads(first.body)["status"]
            while status not in DONE_STATUSES and not self._must_end(scope) and not gone.is_set():
                if not await watch.wait(deadline - loop.time()):
                    break
                status = watch.status or await self._status(job_id)
        if gone.is_set():
            return
        # A drain or a key that ends cuts the wait short, so the preference was not applied.
        applied = [] if self._must_end(scope) else [(b"preference-applied", b"wait=%d" % wait_s)]
        await (await ask(self._flask, scope)).relay(send, *applied)  # which asks again whether his key is in force

    async def _stream(self, scope: Scope, receive: Receive, send: Send, job_id: str) -> None:
        """Send the events of a job as they come, until it is done."""
        answer = await ask(self._flask, without(scope, b"accept"))
        if answer.status != 200:
            await answer.relay(send)
            return
        last_id = header(scope, b"last-event-id").decode("latin-1")
        # The first one, if there are several: Flask has checked that one.
        after = last_id or parse_qs(scope["query_string"].decode("latin-1")).get("after", ["0-0"])[0]
        if after != "0-0" and await self._is_over(job_id, after):
            # An EventSource reconnects after each end of a stream, but not after a 204.
            await send_answer(scope, send, 204, own_headers(scope, b"text/event-stream"), b"")
            return
        async with self._watched(scope, receive, job_id) as (watch, gone):
            headers = [*own_headers(scope, b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            chunk = b"retry: %d\n\n" % _RETRY_MS
            while True:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if self._must_end(scope) or gone.is_set():
                    break
                events = await self._events(job_id, after)
                chunk = b"".join(map(_as_server_sent, events or ()))
                if events:
                    after = events[-1].id
                    if events[-1].ends_the_job:
                        await send({"type": "http.response.body", "body": chunk, "more_body": True})
                        break
                elif not await watch.wait(STILL_HERE_EVERY_S if events is not None else RETRY_AFTER_S):
                    if await self._status(job_id) == "" or await self._is_over(job_id, after):
                        break  # the job has expired, or the client began after its last event
                    chunk = b": still here\n\n"
        await send({"type": "http.response.body", "body": b""})

    def _must_end(self, scope: Scope) -> bool:
        """Whether the process drains, or the key of whoever waits has ended."""
        return self._is_draining or not (self._gate is None or self._gate.is_in_force(scope[CALLER]))

    @contextlib.asynccontextmanager
    async def _watched(
        self, scope: Scope, receive: Receive, job_id: str
    ) -> AsyncIterator[tuple[JobWatch, asyncio.Event]]:
        """Watch a job and its client: the watch also wakes up when the client disconnects, or its key ends."""
        gone = asyncio.Event()
        with self._changes.job(job_id) as watch:

            async def notice() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                gone.set()
                watch.wake(None)

            noticing = asyncio.create_task(notice())
            if self._gate is not None:
                self._callers[watch] = scope[CALLER]
            try:
                yield watch, gone
            finally:
                noticing.cancel()
                self._callers.pop(watch, None)

    async def _is_over(self, job_id: str, after: str) -> bool:
        # The state first: the last event is written together with it, and must not be missed in between.
        return await self._status(job_id) in DONE_STATUSES and await self._events(job_id, after) == []

    async def _status(self, job_id: str) -> str | None:
        """Return the job's state, empty if there is no such job, None while Redis is away."""
        try:
            with self._breaker.calling():
                return (await self._redis.hget(keys.job(job_id), "status") or b"").decode()
        except UnavailableError:
            return None

    async def _events(self, job_id: str, after: str) -> list[Event] | None:
        """Return the next events; None while Redis is away."""
        try:
            with self._breaker.calling():
                entries = await self._redis.xrange(keys.events(job_id), f"({after}", "+", count=_READ_AT_ONCE)
        except UnavailableError:
            return None
        return decode_events(job_id, entries)


def _wait_s(scope: Scope) -> int | None:
    """Return the seconds of `Prefer: wait=N` (RFC 7240), at most 60."""
    preferences = b",".join(value for name, value in scope["headers"] if name == b"prefer")
    match = _WAIT.search(preferences)
    return None if match is None else min(int(match[1]), MAX_WAIT_S)


def _as_server_sent(event: Event) -> bytes:
    data = EventPayload.of(event).model_dump_json()
    return f"id: {event.id}\nevent: {event.type}\ndata: {data}\n\n".encode()
