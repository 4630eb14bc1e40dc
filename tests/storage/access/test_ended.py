"""The records of access keys that ended long ago are deleted, and no others."""

import pytest
from redis import Redis

from storage import keys
from storage.access.ended import EndedKeys
from storage.access.store import AccessKeyStore

DAY_MS = 86_400_000
NOW_MS = 1_000 * DAY_MS
"""Of the service's clock, which is not the server's."""


@pytest.fixture
def access(redis: Redis) -> AccessKeyStore:
    return AccessKeyStore(redis)


@pytest.fixture
def ended(redis: Redis) -> EndedKeys:
    return EndedKeys(redis)


def test_a_key_is_deleted_90_days_after_it_was_seen_to_have_ended(
    access: AccessKeyStore, ended: EndedKeys, redis: Redis
) -> None:
    revoked, expired = access.create(["read"])[0], access.create(["read"], lifetime_s=0.0)[0]
    access.revoke(revoked.id)
    later, in_force = access.create(["read"], lifetime_s=3_600.0)[0], access.create(["admin"])[0]
    everyone = {revoked.id, expired.id, later.id, in_force.id}
    ended.tend(NOW_MS)
    ended.tend(NOW_MS + 90 * DAY_MS - 1)
    assert set(access.all().keys) == everyone
    access.revoke(later.id)
    ended.tend(NOW_MS + 90 * DAY_MS)
    assert set(access.all().keys) == {later.id, in_force.id}
    assert redis.keys("perceptron:access-key:*" + revoked.id) == []
    ended.tend(NOW_MS + 180 * DAY_MS - 1)
    assert set(access.all().keys) == {later.id, in_force.id}
    ended.tend(NOW_MS + 180 * DAY_MS)
    assert set(access.all().keys) == {in_force.id}
    assert redis.exists(keys.ACCESS_KEYS_ENDED) == 0


def test_a_key_that_had_ended_by_a_wrong_clock_alone_stays(
    access: AccessKeyStore, ended: EndedKeys, redis: Redis
) -> None:
    key, _ = access.create(["read"], lifetime_s=3_600.0)
    redis.zadd(keys.ACCESS_KEYS_ENDED, {key.id: NOW_MS})  # as it was seen while the server's clock was ahead
    ended.tend(NOW_MS + 60_000)
    assert redis.exists(keys.ACCESS_KEYS_ENDED) == 0
    redis.zadd(keys.ACCESS_KEYS_ENDED, {key.id: NOW_MS})
    redis.zrem(keys.ACCESS_KEYS, key.id)  # so that only the last look can save it
    ended.tend(NOW_MS + 90 * DAY_MS)
    assert access.get(key.id) == key


def test_access_stays_on_after_the_last_key_was_deleted(access: AccessKeyStore, ended: EndedKeys) -> None:
    access.revoke(access.create(["read"])[0].id)
    ended.tend(NOW_MS)
    ended.tend(NOW_MS + 90 * DAY_MS)
    assert (access.all().keys, access.all().is_any) == ({}, True)


def test_more_keys_than_one_step_looks_at_are_all_deleted_and_damage_stops_nothing(
    access: AccessKeyStore, ended: EndedKeys, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.access.ended._AT_ONCE", 2)
    for _ in range(5):
        access.revoke(access.create(["read"])[0].id)
    text, number = access.create(["read"])[0], access.create(["read"])[0]
    redis.set(keys.access_key(text.id), "text")
    redis.hset(keys.access_key(number.id), "expires_at_ms", "soon")
    for minute in range(8):
        ended.tend(NOW_MS + minute)
    assert redis.zcard(keys.ACCESS_KEYS_ENDED) == 5
    for minute in range(8):
        ended.tend(NOW_MS + 91 * DAY_MS + minute)
    assert set(redis.zrange(keys.ACCESS_KEYS, 0, -1)) == {text.id.encode(), number.id.encode()}
