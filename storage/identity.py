"""The identity of the store: a random text in Redis and beside the blobs that tells our Redis from any other.

Without it, a Redis that lost its data would look like a new one: accepted jobs would be unknown, and version numbers
would start again at 1.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError

from storage import keys
from storage.availability import NewerSchemaError, ReplacedRedisError, is_unavailable
from storage.blobs import BlobStore
from storage.errors import BlobStoreBeingMarkedError, BlobStoreUnavailableError, WrongBlobStoreError
from storage.log.alarm_codes import REDIS_REPLACED
from storage.schema import must_be_written, raising

_ALARM_EVERY_S = 10.0

_MARKING_S = 60
"""Longer than the first mark takes to be written. If its process dies meanwhile, another one may write it then."""

_QUESTIONS = (("GET", keys.STORE_IDENTITY), ("GET", keys.SCHEMA))

_log = logging.getLogger(__name__)


class StoreIdentity:
    """Compares the identity in Redis with the one beside the blobs, and refuses any other Redis or blob store.

    Every new connection is checked before its first command, so that no answer of a replaced server reaches anybody.
    The blob store is checked before it is used. One that cannot be read, or has no identity, says nothing about Redis:
    what needs Redis alone continues.

    Args:
        on_loss: called after `--accept-loss`: version numbers restart, so drop every cache.
    """

    def __init__(self, blobs: BlobStore, on_loss: Callable[[], None] = lambda: None) -> None:
        self._blobs = blobs
        self.on_loss = on_loss
        self._known: bytes | None = None
        self._taken: bytes | None = None
        """The last one that was known: what the caches hold is its data."""
        self._recorded: bytes | None = None
        self._alarm_at_s = float("-inf")

    def on_connect(self, connection: Any) -> None:
        """Set up a new connection as redis-py does, then check it (its `redis_connect_func`).

        Without a health check: its PING fails if Redis wants a password, and then connects again, which comes here.

        Raises:
            ReplacedRedisError: this Redis does not hold our data.
            NewerSchemaError: a newer release wrote it.
        """

        def ask(*command: bytes | str) -> Any:
            connection.send_command(*command, check_health=False)
            return connection.read_response()

        try:
            connection.on_connect_check_health(check_health=False)
            connection.send_packed_command(connection.pack_commands(_QUESTIONS), check_health=False)
            found, schema = (connection.read_response() for _ in _QUESTIONS)
            self._compare(ask, found, schema)
        except BaseException:
            connection.disconnect()  # otherwise it would be used unchecked
            raise

    async def on_connect_on_loop(self, connection: Any) -> None:
        """Do the same with a new connection on an event loop.

        Raises:
            ReplacedRedisError: this Redis does not hold our data.
            NewerSchemaError: a newer release wrote it.
        """

        async def ask(*command: bytes | str) -> Any:
            await connection.send_command(*command, check_health=False)
            return await connection.read_response()

        try:
            await connection.on_connect_check_health(check_health=False)
            await connection.send_packed_command(connection.pack_commands(_QUESTIONS), check_health=False)
            found, schema = [await connection.read_response() for _ in _QUESTIONS]
            with self._alarmed():
                is_older = must_be_written(schema)
            if found is None and (older := await ask("GET", keys.OLDER_STORE_IDENTITY)) is not None:
                found = older
                with _unless_full():
                    await ask("SET", keys.STORE_IDENTITY, older, "NX")
            if found is None or found != self._known:
                # The blob store may take its time.
                if await asyncio.to_thread(self._is_new, found):
                    await ask("SET", keys.STORE_IDENTITY, uuid.uuid4().hex, "NX")
                    found = await ask("GET", keys.STORE_IDENTITY)
                await asyncio.to_thread(self._judge, found)
            if is_older:
                with _unless_full(), self._alarmed():
                    must_be_written(await ask(*raising()))
        except BaseException:
            await connection.disconnect()
            raise

    def check(self, redis: Redis) -> None:
        """Check a Redis that is connected already: it may have been emptied since.

        Raises:
            ReplacedRedisError: it does not hold our data any more; all connections are closed.
            NewerSchemaError: a newer release has written it since.
        """
        questions = redis.pipeline(transaction=False)
        for question in _QUESTIONS:
            questions.execute_command(*question)
        found, schema = questions.execute()
        try:
            self._compare(redis.execute_command, found, schema)
        except (ReplacedRedisError, NewerSchemaError):
            redis.connection_pool.disconnect()
            raise

    def check_blobs(self, redis: Redis) -> None:
        """Check that the blob store is the one of this Redis, which has been checked.

        Two stores that are both new become one another's: the first process that may write the mark of the blob store
        writes it, and no other. Of two processes with different folders, the second one is so refused.

        Raises:
            WrongBlobStoreError: it has no mark or another one, so it must not be used.
            BlobStoreUnavailableError: it cannot be read now.
        """
        if self._known is None:
            self.check(redis)
        mark = self._mark()
        if mark not in (None, self._known):
            self._known = None  # perhaps Redis was taken unseen while the blob store was away, or a loss was accepted
            with suppress(ReplacedRedisError):
                self.check(redis)
        if mark is None:
            known = self._known
            assert known is not None, "it was checked"
            if self._may_mark(redis):
                self._blobs.write_mark(keys.STORE_IDENTITY_MARK, known)
                self._record(redis, known)
                return
            if redis.get(keys.STORE_IS_MARKED) == b"0":
                raise BlobStoreBeingMarkedError("another process writes the store identity beside the blobs")
        elif mark == self._known:
            self._record(redis, mark)
            return
        error = WrongBlobStoreError(None if mark is None else mark.decode())
        self._alarm(error)
        raise error

    def _record(self, redis: Redis, mark: bytes) -> None:
        """Let Redis know, once in each process, that a blob store has the mark.

        Not only whoever writes the mark: that process may have died just after it, or been of an older release.
        """
        if mark == self._recorded:
            return
        if self._blobs.read_mark(keys.STORE_IDENTITY_MARK) is None:  # an older release wrote its own
            self._blobs.write_mark(keys.STORE_IDENTITY_MARK, mark)
        with _unless_full():
            redis.set(keys.STORE_IS_MARKED, 1)
            self._recorded = mark

    def _may_mark(self, redis: Redis) -> bool:
        """Whether no blob store was in use yet: no job and no version names a blob, and nobody has written a mark."""
        is_used = (
            redis.exists(keys.jobs(), keys.models(), keys.TENANTS) or redis.get(keys.STORE_IDENTITY) != self._known
        )
        return not is_used and bool(redis.set(keys.STORE_IS_MARKED, 0, nx=True, ex=_MARKING_S))

    def _compare(self, ask: Callable[..., Any], found: bytes | None, schema: bytes | None) -> None:
        with self._alarmed():
            is_older = must_be_written(schema)
        if found is None and (found := ask("GET", keys.OLDER_STORE_IDENTITY)) is not None:
            with _unless_full():
                ask("SET", keys.STORE_IDENTITY, found, "NX")
        if self._is_new(found):
            # NX: of two processes that start together, both take the identity of the first.
            ask("SET", keys.STORE_IDENTITY, uuid.uuid4().hex, "NX")
            found = ask("GET", keys.STORE_IDENTITY)
        self._judge(found)
        if is_older:
            with _unless_full(), self._alarmed():
                must_be_written(ask(*raising()))

    def _mark(self) -> bytes | None:
        mark = self._blobs.read_mark(keys.STORE_IDENTITY_MARK)
        return self._blobs.read_mark(keys.OLDER_STORE_IDENTITY_MARK) if mark is None else mark

    def _is_new(self, found: bytes | None) -> bool:
        """Whether neither Redis nor the blob store nor this process knows an identity."""
        return found is None and self._known is None and self._mark() is None

    def _judge(self, found: bytes | None) -> None:
        if found is not None and found == self._known:
            return
        try:
            mark = self._mark()
        except BlobStoreUnavailableError:
            if found is None:
                raise
            mark = None  # models are in Redis, so predictions need no blob store
        expected = mark or self._known or found
        assert expected is not None, "it was set just now"
        if found != expected:
            error = ReplacedRedisError(None if found is None else found.decode(), expected.decode())
            self._alarm(error)
            raise error
        is_loss = self._taken not in (None, found)
        self._known = self._taken = found  # first: what drops its caches may connect, and so come here again
        if is_loss:
            self.on_loss()

    @contextmanager
    def _alarmed(self) -> Iterator[None]:
        try:
            yield
        except NewerSchemaError as error:
            self._alarm(error)
            raise

    def _alarm(self, error: Exception) -> None:
        if time.monotonic() - self._alarm_at_s >= _ALARM_EVERY_S:
            self._alarm_at_s = time.monotonic()
            _log.critical("ALARM: %s", error, extra={"code": REDIS_REPLACED})


@contextmanager
def _unless_full() -> Iterator[None]:
    """Go on if Redis refuses a write now, as a full one does: the next check tries again."""
    try:
        yield
    except ResponseError as error:
        if not is_unavailable(error):
            raise


def accept_loss(redis: Redis, blobs: BlobStore) -> None:
    """Give up what the stores held before: write the identity of the Redis there is now beside the blobs there are."""
    redis.set(keys.STORE_IDENTITY, uuid.uuid4().hex, nx=True)
    identity: Any = redis.get(keys.STORE_IDENTITY)
    blobs.write_mark(keys.STORE_IDENTITY_MARK, identity)
    redis.set(keys.STORE_IS_MARKED, 1)
