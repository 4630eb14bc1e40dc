"""Hears every change of a job or model as it happens, over one connection to Redis for the whole process."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from storage import keys
from storage.availability import explain, is_unavailable
from storage.log.unexpected import log_unexpected

SILENCE_S = 3.0
"""The server is pinged every second; a connection that is silent for this long is dropped."""

_PING_EVERY_S = 1.0
_RECONNECT_AFTER_S = 0.2
_SAY_EVERY_S = 30.0

_log = logging.getLogger(__name__)


class JobWatch:
    """Wakes one waiter when its job changes."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self.status: str | None = None
        """The last state heard of. None: unknown, read it from Redis."""

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the next change; False if none came in time."""
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def wake(self, status: str | None) -> None:
        """Tell the waiter that the job has changed, and its new state."""
        self.status = status
        self._changed.set()


class Changes:
    """Listens on the event loop and tells its subscribers.

    Messages are hints: one may be lost with a connection. So after each reconnect all subscribers are told that
    anything may have changed, and they read the truth from Redis.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._jobs: dict[str, set[JobWatch]] = defaultdict(set)
        self._on_model: list[Callable[[str | None], None]] = []
        self._on_use: list[Callable[[], None]] = []
        self._on_access: list[Callable[[str | None], None]] = []
        self.is_connected = False
        """True while subscribed; later reads stay current unless a message says otherwise."""

    def on_model(self, callback: Callable[[str | None], None]) -> None:
        """Call back, on the event loop, with the name of each model that changes; None: any may have changed."""
        self._on_model.append(callback)

    def on_use(self, callback: Callable[[], None]) -> None:
        """Call back, on the event loop, when another process has begun to use a version."""
        self._on_use.append(callback)

    def on_access(self, callback: Callable[[str | None], None]) -> None:
        """Call back, on the event loop, with the id of each access key that changes; None: any may have changed."""
        self._on_access.append(callback)

    @contextlib.contextmanager
    def job(self, job_id: str) -> Iterator[JobWatch]:
        """Watch a job inside the `with` block."""
        watch = JobWatch()
        self._jobs[job_id].add(watch)
        try:
            yield watch
        finally:
            self._jobs[job_id].discard(watch)
            if not self._jobs[job_id]:
                del self._jobs[job_id]

    def wake_all(self) -> None:
        """Tell all subscribers that anything may have changed."""
        for watches in self._jobs.values():
            for watch in watches:
                watch.wake(None)
        for callback in self._on_model:
            callback(None)
        for heard in self._on_access:
            heard(None)

    async def listen(self) -> None:
        """Listen until cancelled; reconnect whenever the connection is lost, and say in one line why it is."""
        loop = asyncio.get_running_loop()
        said, say_again_at = "", 0.0
        while True:
            try:
                async with self._redis.pubsub() as subscription:
                    await subscription.subscribe(keys.CHANGES)
                    await self._hear(subscription)
            except Exception as error:
                if not is_unavailable(error):
                    log_unexpected(_log, error, "unexpected error while listening for changes")
                elif (reason := explain(error)) != said or loop.time() >= say_again_at:
                    _log.warning("waiting for Redis: %s", reason)
                    said, say_again_at = reason, loop.time() + _SAY_EVERY_S
            self.is_connected = False
            await asyncio.sleep(_RECONNECT_AFTER_S)

    async def _hear(self, subscription: PubSub) -> None:
        """Pass messages on until the connection is silent.

        Raises:
            redis.ConnectionError: the connection is lost.
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
                _log.warning("no changes are heard until Redis answers again: it was silent for %g s", SILENCE_S)
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
            case ["in-use"]:
                for woken in self._on_use:
                    woken()
            case ["access", key_id]:
                for heard in self._on_access:
                    heard(key_id)
