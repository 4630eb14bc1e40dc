"""The identity of the store: a random text in Redis and beside the blobs that tells our Redis from any other.

Without it, a Redis that lost its data would look like a new one: accepted jobs would be unknown, and version numbers
would start again at 1.
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

_ALARM_EVERY_S = 10.0

_log = logging.getLogger(__name__)


class StoreIdentity:
    """Compares the identity in Redis with the one beside the blobs, and refuses any Redis with another one.

    Every new connection is checked before its first command, so that no answer of a replaced server reaches anybody.

    Args:
        on_loss: called after `--accept-loss`: version numbers restart, so drop every cache.
    """

    def __init__(self, blobs: BlobStore, on_loss: Callable[[], None] = lambda: None) -> None:
        self._blobs = blobs
        self.on_loss = on_loss
        self._known: bytes | None = None
        self._alarm_at_s = float("-inf")

    def on_connect(self, connection: Any) -> None:
        """Set up a new connection as redis-py does, then check it (its `redis_connect_func`).

        Without a health check: its PING fails if Redis wants a password, and then connects again, which comes here.

        Raises:
            ReplacedRedisError: this Redis does not hold our data.
        """

        def ask(*command: bytes | str) -> Any:
            connection.send_command(*command, check_health=False)
            return connection.read_response()

        try:
            connection.on_connect_check_health(check_health=False)
            self._compare(ask)
        except BaseException:
            connection.disconnect()  # otherwise it would be used unchecked
            raise

    async def on_connect_on_loop(self, connection: Any) -> None:
        """Do the same with a new connection on an event loop.

        Raises:
            ReplacedRedisError: this Redis does not hold our data.
        """

        async def ask(*command: str) -> Any:
            await connection.send_command(*command, check_health=False)
            return await connection.read_response()

        try:
            await connection.on_connect_check_health(check_health=False)
            found = await ask("GET", keys.STORE_IDENTITY)
            if self._is_new(found):
                await ask("SET", keys.STORE_IDENTITY, uuid.uuid4().hex, "NX")
                found = await ask("GET", keys.STORE_IDENTITY)
            self._judge(found)
        except BaseException:
            await connection.disconnect()
            raise

    def check(self, redis: Redis) -> None:
        """Check a Redis that is connected already: it may have been emptied since.

        Raises:
            ReplacedRedisError: it does not hold our data any more; all connections are closed.
        """
        try:
            self._compare(redis.execute_command)
        except ReplacedRedisError:
            redis.connection_pool.disconnect()
            raise

    def _compare(self, ask: Callable[..., Any]) -> None:
        found = ask("GET", keys.STORE_IDENTITY)
        if self._is_new(found):
            # NX: of two processes that start together, both take the identity of the first.
            ask("SET", keys.STORE_IDENTITY, uuid.uuid4().hex, "NX")
            found = ask("GET", keys.STORE_IDENTITY)
        self._judge(found)

    def _is_new(self, found: bytes | None) -> bool:
        """Whether neither Redis nor the blob store nor this process knows an identity."""
        return found is None and self._known is None and self._blobs.read_mark(keys.STORE_IDENTITY_MARK) is None

    def _judge(self, found: bytes | None) -> None:
        if found is not None and found == self._known:
            return
        mark = self._blobs.read_mark(keys.STORE_IDENTITY_MARK)
        expected = mark or self._known or found
        assert expected is not None, "it was set just now"
        if found != expected:
            error = ReplacedRedisError(None if found is None else found.decode(), expected.decode())
            if time.monotonic() - self._alarm_at_s >= _ALARM_EVERY_S:
                self._alarm_at_s = time.monotonic()
                _log.critical("%s", error)
            raise error
        if mark is None:
            self._blobs.write_mark(keys.STORE_IDENTITY_MARK, expected)
        if self._known is not None:
            self.on_loss()
        self._known = found


def accept_loss(redis: Redis, blobs: BlobStore) -> None:
    """Give up what Redis held before, and write the identity of the Redis there is now beside the blobs."""
    redis.set(keys.STORE_IDENTITY, uuid.uuid4().hex, nx=True)
    identity: Any = redis.get(keys.STORE_IDENTITY)
    blobs.write_mark(keys.STORE_IDENTITY_MARK, identity)
