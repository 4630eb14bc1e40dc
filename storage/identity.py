"""Tells a Redis that was emptied or replaced from a new one, by an epoch that is written into it and beside the blobs.

Without it, a server that lost its data would look like one that never had any: accepted jobs would be unknown, and
version numbers begin again at 1.
"""

import logging
import time
import uuid
from collections.abc import Callable
from typing import Any

from redis import Redis

from storage import keys
from storage.availability import ReplacedRedisError
from storage.blobs import BlobStore

_MARKER = "epoch"
_ALARM_EVERY_S = 10.0

_log = logging.getLogger(__name__)


class Epoch:
    """Compares the epoch of a Redis with that of the blob store, and lets nobody use a Redis with another one.

    Every new connection is checked before its first command, so that no answer of a replaced server reaches anybody.

    Args:
        on_loss: called when a Redis with another epoch is taken for ours, since somebody gave up what was before: its
            version numbers begin anew, so nothing that was read of it is right any more.
    """

    def __init__(self, blobs: BlobStore, on_loss: Callable[[], None] = lambda: None) -> None:
        self._blobs = blobs
        self.on_loss = on_loss
        self._known: bytes | None = None
        self._alarm_at = float("-inf")

    def on_connect(self, connection: Any) -> None:
        """Do what redis-py does with a new connection, then check (its `redis_connect_func`).

        Raises:
            ReplacedRedisError: this Redis is not the one that our data was in.
        """

        def ask(*command: bytes | str) -> Any:
            connection.send_command(*command)
            return connection.read_response()

        try:
            connection.on_connect()
            self._compare(ask)
        except BaseException:
            connection.disconnect()  # else it would be used unchecked
            raise

    async def on_connect_on_loop(self, connection: Any) -> None:
        """Do the same with a new connection on an event loop.

        Raises:
            ReplacedRedisError: this Redis is not the one that our data was in.
        """

        async def ask(*command: str) -> Any:
            await connection.send_command(*command)
            return await connection.read_response()

        try:
            await connection.on_connect()
            found = await ask("GET", keys.EPOCH)
            if self._is_new(found):
                await ask("SET", keys.EPOCH, uuid.uuid4().hex, "NX")
                found = await ask("GET", keys.EPOCH)
            self._judge(found)
        except BaseException:
            await connection.disconnect()
            raise

    def check(self, redis: Redis) -> None:
        """Check a Redis that this process is connected to: somebody may have emptied it meanwhile.

        Raises:
            ReplacedRedisError: it is not the one that our data was in; all connections are closed.
        """
        try:
            self._compare(redis.execute_command)
        except ReplacedRedisError:
            redis.connection_pool.disconnect()
            raise

    def _compare(self, ask: Callable[..., Any]) -> None:
        found = ask("GET", keys.EPOCH)
        if self._is_new(found):
            # Of two processes that come at once, both take the epoch of the first.
            ask("SET", keys.EPOCH, uuid.uuid4().hex, "NX")
            found = ask("GET", keys.EPOCH)
        self._judge(found)

    def _is_new(self, found: bytes | None) -> bool:
        """Say whether neither Redis nor anything of ours knows of an epoch."""
        return found is None and self._known is None and self._blobs.read_mark(_MARKER) is None

    def _judge(self, found: bytes | None) -> None:
        if found is not None and found == self._known:
            return
        marker = self._blobs.read_mark(_MARKER)
        expected = marker or self._known or found
        assert expected is not None, "it was set just now"
        if found != expected:
            error = ReplacedRedisError(None if found is None else found.decode(), expected.decode())
            if time.monotonic() - self._alarm_at >= _ALARM_EVERY_S:
                self._alarm_at = time.monotonic()
                _log.critical("%s", error)
            raise error
        if marker is None:
            self._blobs.write_mark(_MARKER, expected)
        if self._known is not None:
            self.on_loss()
        self._known = found


def accept_loss(redis: Redis, blobs: BlobStore) -> None:
    """Take the Redis as it is, emptied or replaced, for ours from now on: what it had before is given up."""
    redis.set(keys.EPOCH, uuid.uuid4().hex, nx=True)
    epoch: Any = redis.get(keys.EPOCH)
    blobs.write_mark(_MARKER, epoch)
