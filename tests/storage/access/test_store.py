"""Access keys in Redis: what is stored, what ends a key, and what damage does."""

import hashlib
import re
import time
from typing import Any

import pytest
from redis import Redis

from storage import keys
from storage.access.key_text import new_text, read_text
from storage.access.store import AccessKeyStore
from storage.errors import AccessKeyEndedError, AccessKeyNotFoundError, AccessKeyRotatedError, CorruptDataError


@pytest.fixture
def access(redis: Redis) -> AccessKeyStore:
    return AccessKeyStore(redis)


@pytest.fixture(autouse=True)
def every_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have reported in the last minute."""
    monkeypatch.setattr("storage.alarm._said_at_s", {})


def test_a_text_has_an_id_and_a_secret_of_256_bits() -> None:
    text = new_text()
    assert re.fullmatch(r"psk_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", text)  # 43 x 6 bits >= 256
    assert text != new_text()


def test_the_digest_is_the_sha256_of_the_secret_alone() -> None:
    # printf aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | sha256sum
    expected = "66d34fba71f8f450f7e45598853e53bfc23bbd129027cbb131a2f4ffd7878cd0"
    assert hashlib.sha256(b"a" * 43).hexdigest() == expected
    assert read_text(f"psk_0123456789abcdef_{'a' * 43}") == ("0123456789abcdef", expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "psk_",
        f"psk_0123456789ABCDEF_{'a' * 43}",
        f"psk_0123456789abcdef_{'a' * 42}",
        f"psk_0123456789abcdef_{'a' * 44}",
        f"psk_0123456789abcdef_{'a' * 43}\n",
        f"psk_0123456789abcde:_{'a' * 43}",
        f"psk_0123456789abcdef_{'é' * 43}",
    ],
)
def test_a_text_of_another_form_is_no_key(text: str) -> None:
    assert read_text(text) is None


def test_nothing_of_the_secret_is_stored_but_its_digest(access: AccessKeyStore, redis: Redis) -> None:
    key, text = access.create(["predict", "train"], tenant="acme", name="billing", lifetime_s=90.0)
    secret = text.split("_", 2)[2]
    record = redis.hgetall(keys.access_key(key.id))
    assert record[b"digest"].decode() == hashlib.sha256(secret.encode()).hexdigest()
    assert not any(secret[:8] in value.decode() for value in record.values())
    assert (key.scopes, key.tenant, key.name) == ({"predict", "train"}, "acme", "billing")
    assert key.expires_at_ms == key.created_at_ms + 90_000


def test_a_key_ends_when_it_is_revoked_and_at_the_moment_it_expires(access: AccessKeyStore) -> None:
    key, _ = access.create(["read"], lifetime_s=1.0)
    assert key.expires_at_ms is not None
    assert key.refusal(key.expires_at_ms - 1) is None
    assert key.refusal(key.expires_at_ms) == "expired"
    revoked = access.revoke(key.id)
    assert revoked.refusal(0) == "revoked"
    assert access.revoke(key.id).revoked_at_ms == revoked.revoked_at_ms  # the first time counts


def test_a_rotated_key_hands_on_its_rights_and_its_lifetime(access: AccessKeyStore) -> None:
    old, _ = access.create(["train"], tenant="acme", name="billing", lifetime_s=3_600.0)
    new, text = access.rotate(old.id, overlap_s=60.0)
    assert (new.scopes, new.tenant, new.name) == (old.scopes, "acme", "billing")
    assert new.expires_at_ms == new.created_at_ms + 3_600_000
    assert access.get(old.id).expires_at_ms == new.created_at_ms + 60_000
    assert read_text(text) == (new.id, new.digest)
    assert new.digest != old.digest


def test_an_overlap_never_makes_the_old_key_live_longer(access: AccessKeyStore) -> None:
    old, _ = access.create(["read"], lifetime_s=10.0)
    access.rotate(old.id, overlap_s=86_400.0)
    assert access.get(old.id).expires_at_ms == old.expires_at_ms


def test_a_key_that_has_ended_cannot_be_rotated(access: AccessKeyStore) -> None:
    revoked, _ = access.create(["admin"])
    access.revoke(revoked.id)
    expired, _ = access.create(["admin"], lifetime_s=0.0)
    for key, how in ((revoked, "was revoked"), (expired, "has expired")):
        with pytest.raises(AccessKeyEndedError, match=how):
            access.rotate(key.id, overlap_s=1.0)
    assert len(access.all().keys) == 2


def test_a_key_is_rotated_once_and_its_successor_after_it(access: AccessKeyStore) -> None:
    old, _ = access.create(["admin"])
    new, _ = access.rotate(old.id, overlap_s=3_600.0)
    before = access.get(old.id)
    assert before.successor == new.id
    with pytest.raises(AccessKeyRotatedError, match=f"was rotated before, into '{new.id}': rotate that one"):
        access.rotate(old.id, overlap_s=1.0)
    assert access.get(old.id) == before
    newest, _ = access.rotate(new.id, overlap_s=60.0)
    assert (access.get(old.id), access.get(new.id).successor, newest.successor) == (before, newest.id, None)
    assert set(access.all().keys) == {old.id, new.id, newest.id}


def test_a_rotation_whose_command_is_sent_twice_makes_one_key(
    access: AccessKeyStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As redis-py does when it got no answer to the first one."""
    old, _ = access.create(["admin"])
    send = redis.evalsha
    afterwards = []

    def send_twice(*command: Any) -> Any:
        send(*command)
        afterwards.append(redis.hgetall(keys.access_key(old.id)))
        time.sleep(0.01)
        return send(*command)

    access.rotate(access.create(["read"])[0].id, overlap_s=1.0)  # Redis knows the script now
    n_before = len(access.all().keys)
    monkeypatch.setattr(redis, "evalsha", send_twice)
    new, text = access.rotate(old.id, overlap_s=3_600.0)
    assert len(access.all().keys) == n_before + 1
    assert redis.hgetall(keys.access_key(old.id)) == afterwards[0]
    assert read_text(text) == (new.id, new.digest)


@pytest.mark.parametrize("key_id", ["0123456789abcdef", "x:y", ""])
def test_an_unknown_id_is_not_found(access: AccessKeyStore, key_id: str) -> None:
    for attempt in (access.get, access.revoke, lambda key_id: access.rotate(key_id, overlap_s=1.0)):
        with pytest.raises(AccessKeyNotFoundError):
            attempt(key_id)


def test_each_change_has_another_state_and_is_told(access: AccessKeyStore, redis: Redis) -> None:
    states = [access.state()]
    with redis.pubsub() as subscription:
        subscription.subscribe(keys.CHANGES)
        subscription.get_message(timeout=5)
        key, _ = access.create(["read"])
        states.append(access.state())
        new, _ = access.rotate(key.id, overlap_s=1.0)
        states.append(access.state())
        access.revoke(key.id)
        states.append(access.state())
        told = [subscription.get_message(timeout=5)["data"].decode() for _ in range(4)]
        assert told == [f"access {changed.id}" for changed in (key, key, new, key)]
    assert states[0] is None
    assert len(set(states)) == 4


DAMAGE = {
    "no digest": ("digest", None),
    "another digest": ("digest", "5"),
    "no scopes": ("scopes", ""),
    "an unknown scope": ("scopes", "admin root"),
    "no tenant": ("tenant", None),
    "a tenant that is none": ("tenant", "Acme:jobs"),
    "a line break behind a tenant": ("tenant", "acme\n"),
    "an end that is no time": ("revoked_at_ms", ""),
    "a successor that is no id": ("successor", "x"),
    "no text": ("name", b"\xff"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_reported_and_opens_nothing(
    access: AccessKeyStore, redis: Redis, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    good, _ = access.create(["read"])
    bad, _ = access.create(["admin"])
    field, value = DAMAGE[damage]
    if value is None:
        redis.hdel(keys.access_key(bad.id), field)
    else:
        redis.hset(keys.access_key(bad.id), field, value)
    found = access.all()
    assert (list(found.keys), found.is_any) == ([good.id], True)
    assert any("ALARM" in line and bad.id in line for line in caplog.messages)
    assert bad.digest not in caplog.text
    with pytest.raises(CorruptDataError):
        access.get(bad.id)


def test_access_is_on_though_every_record_is_damaged(access: AccessKeyStore, redis: Redis) -> None:
    key, _ = access.create(["read"])
    redis.delete(keys.access_key(key.id))
    redis.set(keys.access_key(key.id), "text")
    redis.zadd(keys.ACCESS_KEYS, {b"\xff": 1})
    assert (access.all().keys, access.all().is_any) == ({}, True)


def test_without_any_key_there_is_nothing(access: AccessKeyStore) -> None:
    assert (access.all().keys, access.all().is_any) == ({}, False)


def test_a_key_is_revoked_although_memory_is_full(access: AccessKeyStore, redis: Redis) -> None:
    key, _ = access.create(["read"])
    redis.config_set("maxmemory", 1)
    try:
        assert access.revoke(key.id).refusal(0) == "revoked"
    finally:
        redis.config_set("maxmemory", 0)
