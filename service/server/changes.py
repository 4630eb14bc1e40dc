"""Hears of every change of a job or a model as it happens: one connection to Redis for the whole process."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from storage import keys
from storage.availability import is_unavailable

SILENCE_S = 3.0
"""The server is asked to answer every second; a connection without any answer for so long is given up."""

_PING_EVERY_S = 1.0
_TRY_AGAIN_AFTER_S = 0.2

_log = logging.getLogger(__name__)


class JobWatch:
    """Wakes whoever waits for a change of one job."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.status: str | None = None
        """The job's state as far as heard; None: unknown, anything may have happened."""

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next change; False when none came in time."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def wake(self, status: str | None) -> None:
        """Say that the job has changed, and its state."""
        self.status = status
        self._changed.set()


class Changes:
    """Listens on the event loop and tells whoever asked.

    What is heard is a hint: a message may be lost with a connection. So everybody is told after each connection is made
    anew that anything may have changed, and reads Redis for the truth.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._jobs: dict[str, set[JobWatch]] = defaultdict(set)
        self._on_model: list[Callable[[str | None], None]] = []
        self.is_connected = False
        """Whether changes are heard now: what was read since the connection was made and not told of is up to date."""

    def on_model(self, callback: Callable[[str | None], None]) -> None:
        """Call back, on the event loop, with the name of each model that changes; with None when any may have."""
        self._on_model.append(callback)

    @contextlib.contextmanager
    def job(self, job_id: str) -> Iterator[JobWatch]:
        """Watch a job inside a `with` block."""
        watch = JobWatch()
        self._jobs[job_id].add(watch)
        try:
            yield watch
        finally:
            self._jobs[job_id].discard(watch)
            if not self._jobs[job_id]:
                del self._jobs[job_id]

    def wake_all(self) -> None:
        """Tell everybody that anything may have changed."""
        for watches in self._jobs.values():
            for watch in watches:
                watch.wake(None)
        for callback in self._on_model:
            callback(None)

    async def listen(self) -> None:
        """Listen until cancelled, over every loss of the connection."""
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(keys.CHANGES)
                    await self._hear(subscription)
            except Exception as error:
                if not is_unavailable(error):
                    _log.exception("the listener for changes met an unexpected error")
                elif self.is_connected:
                    _log.warning("changes are not heard until Redis is back: %s", error)
            self.is_connected = False
            await asyncio.sleep(_TRY_AGAIN_AFTER_S)

    async def _hear(self, subscription: PubSub) -> None:
        """Pass messages on until the connection is lost or silent.

        Raises:
            One of UNAVAILABLE_ERRORS: it is lost.
        """
        loop = asyncio.get_running_loop()
        heard_at = asked_at = loop.time()
        while True:
            message = await subscription.get_message(timeout=_PING_EVERY_S)
            now = loop.time()
            if message is not None:
                heard_at = now
                match message["type"]:
                    case "subscribe":
                        self.is_connected = True
                        self.wake_all()
                    case "message":
                        self._pass_on(message["data"].decode())
            elif now - heard_at > SILENCE_S:
                _log.warning("changes are not heard until Redis answers again: silent for %g s", SILENCE_S)
                return
            if now - asked_at >= _PING_EVERY_S:
                await subscription.ping()
                asked_at = now

    def _pass_on(self, message: str) -> None:
        match message.split(" "):
            case ["job", job_id, status]:
                for watch in self._jobs.get(job_id, ()):
                    watch.wake(status)
            case ["model", name]:
                for callback in self._on_model:
                    callback(name)
