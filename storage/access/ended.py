"""Deletes the records of access keys that ended long ago, so that the list of all keys does not grow for ever."""

import logging
from typing import Any

from redis import Redis

from storage import keys
from storage.damage import each_answer
from storage.scripts import load_script

KEEP_S = 90 * 86_400
"""How long after its end a key is listed."""

_AT_ONCE = 500

_log = logging.getLogger(__name__)


class EndedKeys:
    """Works in small steps, as housekeeping does, which calls `tend` every minute.

    The age of a key counts from when it was first seen to have ended, by a clock that does not leap. So no key is
    deleted because the server's clock was wrong for a while.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes
        self._n_seen = 0
        """How many have been looked at in this round."""

    def tend(self, now_ms: int) -> None:
        """Look at some keys, and delete some that ended long ago.

        Args:
            now_ms: by `SERVICE_CLOCK`.
        """
        members = self._redis.zrange(keys.ACCESS_KEYS, self._n_seen, self._n_seen + _AT_ONCE - 1)
        self._n_seen = 0 if len(members) < _AT_ONCE else self._n_seen + _AT_ONCE
        self._note(_ids_in(members), now_ms)
        old = self._redis.zrangebyscore(keys.ACCESS_KEYS_ENDED, "-inf", now_ms - KEEP_S * 1000, start=0, num=_AT_ONCE)
        with self._redis.pipeline(transaction=False) as pipeline:
            delete = load_script(pipeline, "delete_ended_access_key")
            for key_id in _ids_in(old):
                delete(keys=[keys.access_key(key_id), keys.ACCESS_KEYS, keys.ACCESS_KEYS_ENDED])
            n_deleted = sum(pipeline.execute())
        if n_deleted:
            _log.info("deleted %d access keys that ended more than %d days ago", n_deleted, KEEP_S // 86_400)

    def _note(self, key_ids: list[str], now_ms: int) -> None:
        """Note which keys have ended by the server's clock, and forget that of those that have not."""
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for key_id in key_ids:
                pipeline.hmget(keys.access_key(key_id), "expires_at_ms", "revoked_at_ms")
            (seconds, microseconds), *records = each_answer(pipeline)
        server_ms = seconds * 1000 + microseconds // 1000
        # Whoever reads all keys reports a damaged record.
        readable = {key_id: each for key_id, each in zip(key_ids, records, strict=True) if isinstance(each, list)}
        ended = {key_id for key_id, each in readable.items() if _has_ended(*each, server_ms=server_ms)}
        if ended:
            self._redis.zadd(keys.ACCESS_KEYS_ENDED, dict.fromkeys(ended, now_ms), nx=True)
        if in_force := readable.keys() - ended:
            self._redis.zrem(keys.ACCESS_KEYS_ENDED, *in_force)


def _has_ended(expires_at_ms: bytes | None, revoked_at_ms: bytes | None, *, server_ms: int) -> bool:
    if revoked_at_ms is not None:
        return True
    return expires_at_ms is not None and expires_at_ms.isdigit() and int(expires_at_ms) <= server_ms


def _ids_in(members: list[bytes]) -> list[str]:
    found = (member.decode("ascii", "replace") for member in members)
    return [key_id for key_id in found if keys.is_access_key_id(key_id)]
