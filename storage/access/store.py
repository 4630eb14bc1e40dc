"""All access keys, in Redis."""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from storage import keys
from storage.access.key_text import Credentials, new_text, read_text
from storage.access.record import AccessKey, Scope, decode_access_key
from storage.alarm import report
from storage.damage import each_answer, names, reported
from storage.errors import AccessKeyEndedError, AccessKeyNotFoundError, AccessKeyRotatedError
from storage.scripts import load_script

_READ_AT_ONCE = 500
"""So many records are one pipeline: Redis and this process do other things in between."""


@dataclass(frozen=True)
class AllKeys:
    """What Redis holds about access."""

    keys: dict[str, AccessKey]
    """By id, the oldest first; without those whose record is damaged."""
    is_any: bool
    """Whether any was ever made, be it damaged or revoked."""


class AccessKeyStore:
    """The records of all access keys. Each change tells all API processes."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # its types allow for decoded answers too; ours are bytes

    def create(
        self, scopes: Collection[Scope], *, tenant: str = "", name: str = "", lifetime_s: float | None = None
    ) -> tuple[AccessKey, str]:
        """Make a key; return it with its text, which nobody can read again.

        Args:
            lifetime_s: None: it does not expire.
        """
        text, made = _new()
        load_script(self._redis, "create_access_key")(
            keys=[keys.access_key(made.key_id), keys.ACCESS_KEYS, keys.ACCESS_STATE],
            args=[
                secrets.token_hex(8),
                "" if lifetime_s is None else round(lifetime_s * 1000),
                *("digest", made.digest, "scopes", " ".join(sorted(scopes)), "tenant", tenant, "name", name),
            ],
        )
        return self.get(made.key_id), text

    @names("access key")
    def get(self, key_id: str) -> AccessKey:
        """Return one key.

        Raises:
            AccessKeyNotFoundError: there is no such key.
            CorruptDataError: its record is damaged.
        """
        record = self._redis.hgetall(keys.access_key(key_id))
        if not record:
            raise AccessKeyNotFoundError(key_id)
        return decode_access_key(key_id, record)

    def all(self) -> AllKeys:
        """Return all keys. A damaged record is reported and left out."""
        ids = [member.decode("ascii", "replace") for member in self._redis.zrange(keys.ACCESS_KEYS, 0, -1)]
        for text in ids:
            if not keys.is_access_key_id(text):
                report(f"{keys.ACCESS_KEYS} has the member {text[:100]!r}, which is no access key's id")
        good = [text for text in ids if keys.is_access_key_id(text)]
        found: dict[str, AccessKey] = {}
        for k in range(0, len(good), _READ_AT_ONCE):
            for key_id, record in self._records(good[k : k + _READ_AT_ONCE]):
                with reported(f"access key {key_id}"):
                    found[key_id] = _decoded(key_id, record)
        # The first key has set the state, which nothing deletes: without the list, the gate must not open.
        return AllKeys(found, bool(ids) or self.state() is not None)

    def some(self, key_ids: Collection[str]) -> dict[str, AccessKey]:
        """Return those of some keys that exist. A damaged record is reported and left out."""
        found: dict[str, AccessKey] = {}
        for key_id, record in self._records([each for each in key_ids if keys.is_access_key_id(each)]):
            if record != {}:
                with reported(f"access key {key_id}"):
                    found[key_id] = _decoded(key_id, record)
        return found

    def _records(self, key_ids: Sequence[str]) -> list[tuple[str, Any]]:
        """Return each id with its record; with an error where that is a key of another type."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for key_id in key_ids:
                pipeline.hgetall(keys.access_key(key_id))
            return list(zip(key_ids, each_answer(pipeline), strict=True))

    def state(self) -> bytes | None:
        """Return a text that differs after each change of any key."""
        state: bytes | None = self._redis.get(keys.ACCESS_STATE)
        return state

    @names("access key")
    def revoke(self, key_id: str) -> AccessKey | None:
        """End a key at once, for good; one that has ended already stays as it is. It works when memory is full.

        Returns None for one whose record is damaged: it is revoked all the same.

        Raises:
            AccessKeyNotFoundError: there is no such key.
            CorruptDataError: it cannot be revoked, since it has no record; it opens nothing.
        """
        known = load_script(self._redis, "revoke_access_key")(
            keys=[keys.access_key(key_id), keys.ACCESS_STATE], args=[secrets.token_hex(8)]
        )
        if not known:
            raise AccessKeyNotFoundError(key_id)
        with reported(f"access key {key_id}"):
            return self.get(key_id)
        return None

    @names("access key")
    def rotate(self, key_id: str, *, overlap_s: float) -> tuple[AccessKey, str]:
        """Make a key with the same rights, name and lifetime; the old one expires after the overlap at the latest.

        A key has one successor: what was said about its end stays true.

        Raises:
            AccessKeyNotFoundError: there is no such key.
            AccessKeyEndedError: it was revoked or has expired, so it has no rights to hand on.
            AccessKeyRotatedError: it was rotated before.
            CorruptDataError: its record is damaged.
        """
        self.get(key_id)  # a damaged one is not copied
        text, made = _new()
        outcome = load_script(self._redis, "rotate_access_key")(
            keys=[keys.access_key(key_id), keys.access_key(made.key_id), keys.ACCESS_KEYS, keys.ACCESS_STATE],
            args=[secrets.token_hex(8), round(overlap_s * 1000), made.digest],
        )
        match outcome:
            case 0:
                raise AccessKeyNotFoundError(key_id)
            case [b"rotated", successor]:
                raise AccessKeyRotatedError(key_id, successor.decode("ascii", "replace"))
            case [reason]:
                raise AccessKeyEndedError(key_id, reason.decode("ascii", "replace"))
        return self.get(made.key_id), text


def _decoded(key_id: str, record: Any) -> AccessKey:
    if isinstance(record, Exception):
        raise record
    return decode_access_key(key_id, record)


def _new() -> tuple[str, Credentials]:
    text = new_text()
    made = read_text(text)
    assert made is not None, "its form is ours"
    return text, made
