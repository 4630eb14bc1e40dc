"""The gate, on a real Redis: when it is open, what it remembers, and what it asks Redis."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from redis import Redis

from service.access.gate import Gate
from service.access.needs import LOOK
from service.access.rates import Rates
from service.access.ring import KeyRing
from service.app import create_app
from service.http.caller import ANYONE
from service.http.errors import ForbiddenError, MisdirectedError, ProxiedError, RateLimitedError, UnauthenticatedError
from service.server.shell import Shell
from service.settings import Limits
from standalone import EmbeddedServer
from storage import keys
from storage.access.store import AccessKeyStore, AllKeys
from storage.availability import as_unavailable
from storage.blobs import BlobStore
from storage.circuit_breaker import CircuitBreaker
from storage.connection import connect, connect_on_loop
from storage.errors import UnavailableError
from storage.models.store import ModelStore
from tests.builders import loaded_models
from tests.clock import Clock


@pytest.fixture
def access(redis: Redis) -> AccessKeyStore:
    return AccessKeyStore(redis)


def ring_of(redis: Redis) -> KeyRing:
    return KeyRing(AccessKeyStore(redis), CircuitBreaker(as_unavailable))


@pytest.fixture
def ring(redis: Redis) -> KeyRing:
    return ring_of(redis)


def sent(text: str) -> dict[bytes, bytes]:
    return {b"x-api-key": text.encode()}


def test_without_any_key_everybody_comes_in_from_this_machine_alone(ring: KeyRing, access: AccessKeyStore) -> None:
    ring.read()
    local, public, insecure = Gate(ring), Gate(ring), Gate(ring, is_insecure=True)
    local.listens_on(["127.0.0.1", "::1"])
    public.listens_on(["127.0.0.1", "0.0.0.0"])
    insecure.listens_on(["0.0.0.0"])
    assert local.let_in(LOOK, {}) is ANYONE
    assert insecure.let_in(LOOK, sent("psk_1")) is ANYONE
    for closed in (public, Gate(ring)):
        with pytest.raises(UnauthenticatedError):
            closed.let_in(LOOK, {})
    access.revoke(access.create(["admin"])[0].id)
    ring.read()
    for gate in (local, insecure):
        with pytest.raises(UnauthenticatedError):
            gate.let_in(LOOK, {})


def test_a_request_through_a_proxy_comes_in_with_a_key_or_where_everybody_does(
    ring: KeyRing, access: AccessKeyStore
) -> None:
    ring.read()
    proxied = {b"x-forwarded-for": b"203.0.113.9"}
    local, named, insecure = Gate(ring), Gate(ring, allowed_hosts=["h"]), Gate(ring, is_insecure=True)
    for gate in (local, named):
        gate.listens_on(["127.0.0.1"])
        with pytest.raises(ProxiedError, match="header X-Forwarded-For says"):
            gate.let_in(LOOK, proxied | {b"host": b"h"})
    assert insecure.let_in(LOOK, proxied) is ANYONE
    key, text = access.create(["read"])
    ring.read()
    assert local.let_in(LOOK, proxied | sent(text)).key_id == key.id
    with pytest.raises(UnauthenticatedError):
        local.let_in(LOOK, proxied)


@pytest.mark.parametrize(
    ("header", "value", "is_here"),
    [
        (b"x-forwarded-for", b"127.0.0.1", True),
        (b"x-forwarded-for", b"203.0.113.9, 127.0.0.1", True),  # the last one is what the nearest proxy saw
        (b"x-forwarded-for", b"127.0.0.1, 203.0.113.9", False),
        (b"x-forwarded-for", b"127.0.0.1:5000", True),
        (b"x-forwarded-for", b"::1", True),
        (b"x-forwarded-for", b"", False),
        (b"x-forwarded-for", b"unknown", False),
        (b"x-real-ip", b"127.0.0.1", True),
        (b"x-real-ip", b"10.0.0.1", False),
        (b"forwarded", b'for="[::1]:4711";proto=http', True),
        (b"forwarded", b"for=127.0.0.1, For=198.51.100.7;by=127.0.0.1", False),
        (b"forwarded", b"by=127.0.0.1", False),
    ],
)
def test_a_proxy_may_tell_of_this_machine(ring: KeyRing, header: bytes, value: bytes, is_here: bool) -> None:
    ring.read()
    gate = Gate(ring)
    gate.listens_on(["127.0.0.1"])
    if is_here:
        assert gate.let_in(LOOK, {header: value}) is ANYONE
    else:
        with pytest.raises(ProxiedError):
            gate.let_in(LOOK, {header: value})


def test_a_page_under_a_name_of_its_own_does_not_come_in_where_everybody_does(
    ring: KeyRing, access: AccessKeyStore
) -> None:
    """DNS rebinding: the page has the same origin as the service then."""
    ring.read()
    page = {
        b"host": b"rebound.example.com",
        b"origin": b"http://rebound.example.com",
        b"sec-fetch-site": b"same-origin",
    }
    insecure = Gate(ring, is_insecure=True)
    with pytest.raises(MisdirectedError, match="name it in ALLOWED_HOSTS"):
        insecure.let_in(LOOK, page)
    for host in (b"api:8000", b"10.0.0.7", b"localhost"):
        assert insecure.let_in(LOOK, {b"host": host}) is ANYONE
    for allowed in ("rebound.example.com", "*"):
        assert Gate(ring, is_insecure=True, allowed_hosts=[allowed]).let_in(LOOK, page) is ANYONE
    _, text = access.create(["read"])
    ring.read()
    assert insecure.let_in(LOOK, page | sent(text)).key_id is not None, "the page would have to know the key"


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/version", "/v2", "/jobs", "/none"])
def test_all_but_health_checks_are_answered_under_the_listed_names_alone(
    ring: KeyRing, redis: Redis, blobs: BlobStore, path: str
) -> None:
    ring.read()
    http = create_app(redis, blobs, Limits(), gate=Gate(ring, allowed_hosts=["api.example.com"])).test_client()
    other, listed = {"Host": "evil.example"}, {"Host": "api.example.com"}
    assert http.get(path, headers=other).status_code == 421
    assert http.options(path, headers=other).status_code == 421
    assert http.get(path, headers=listed).status_code in (200, 302, 401)
    for health in ("/livez", "/readyz", "/ping", "/health", "/v2/health/live", "/v2/health/ready"):
        assert http.get(health, headers=other).status_code != 421


def test_a_gate_that_listens_nowhere_is_closed(ring: KeyRing) -> None:
    ring.read()
    gate = Gate(ring)
    gate.listens_on([])
    with pytest.raises(UnauthenticatedError):
        gate.let_in(LOOK, {})


def test_nobody_comes_in_before_the_keys_were_read(tmp_path: Path) -> None:
    ring = ring_of(connect(f"unix://{tmp_path}/nobody.sock", timeout_s=0.2, n_retries=0))
    gate = Gate(ring, is_insecure=True)
    with pytest.raises(UnavailableError):
        ring.read()
    with pytest.raises(UnavailableError, match="the access keys could not be read yet"):
        gate.let_in(LOOK, {})


def test_a_process_that_has_seen_a_key_is_never_open_again(ring: KeyRing, access: AccessKeyStore, redis: Redis) -> None:
    gate = Gate(ring, is_insecure=True)
    _, text = access.create(["read"])
    ring.read()
    redis.flushall()
    ring.read()
    for headers in ({}, sent(text)):
        with pytest.raises(UnauthenticatedError):
            gate.let_in(LOOK, headers)
    ring.forget()  # the loss was accepted
    ring.read()
    assert gate.let_in(LOOK, {}) is ANYONE


def test_a_redis_that_was_replaced_is_not_believed(redis: Redis) -> None:
    def refuse() -> None:
        raise UnavailableError

    ring = KeyRing(AccessKeyStore(redis), CircuitBreaker(as_unavailable), check_store=refuse)
    with pytest.raises(UnavailableError):
        ring.read()
    assert ring.keys is None


def test_damaged_keys_open_nothing(ring: KeyRing, access: AccessKeyStore, redis: Redis) -> None:
    gate = Gate(ring, is_insecure=True)
    damaged, text = access.create(["admin"])
    good, other = access.create(["read"])
    redis.hset(keys.access_key(damaged.id), "tenant", "A B")
    ring.read()
    assert gate.let_in(LOOK, sent(other)).key_id == good.id
    with pytest.raises(UnauthenticatedError):
        gate.let_in(LOOK, sent(text))
    redis.set(keys.ACCESS_KEYS, "text")
    with pytest.raises(UnavailableError):
        ring.read()
    assert gate.let_in(LOOK, sent(other)).key_id == good.id


def test_a_key_that_nobody_has_told_of_is_looked_up_once(ring: KeyRing, access: AccessKeyStore, redis: Redis) -> None:
    gate = Gate(ring)
    access.create(["read"])
    ring.read()
    made, text = access.create(["read"])
    assert gate.let_in(LOOK, sent(text)).key_id == made.id
    redis.delete(keys.access_key(made.id))
    assert gate.let_in(LOOK, sent(text)).key_id == made.id  # from memory
    ring.read_one(made.id)  # as when its change is heard
    with pytest.raises(UnauthenticatedError):
        gate.let_in(LOOK, sent(text))


class HeldStore(AccessKeyStore):
    """Holds a read of all keys between Redis's answer and its end."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.is_read, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()

    def all(self) -> AllKeys:
        found = super().all()
        self.is_read.set()
        assert self.may_end.wait(5)
        return found

    @contextmanager
    def held(self, ring: KeyRing) -> Iterator[None]:
        """Read all keys, and end that after the block."""
        self.is_read.clear()
        self.may_end.clear()
        reading = threading.Thread(target=ring.read)
        reading.start()
        assert self.is_read.wait(5)
        try:
            yield
        finally:
            self.may_end.set()
            reading.join(5)


def test_a_revoke_counts_at_once_while_all_keys_are_read_and_afterwards(redis: Redis) -> None:
    access = HeldStore(redis)
    ring = KeyRing(access, CircuitBreaker(as_unavailable))
    gate = Gate(ring)
    revoked, text = access.create(["read"])
    deleted, _ = access.create(["read"])
    ring.read()
    with access.held(ring):
        made, new_text = access.create(["read"])
        access.revoke(revoked.id)
        redis.delete(keys.access_key(deleted.id))
        ring.read_some([revoked.id, deleted.id, made.id])
        with pytest.raises(UnauthenticatedError):
            gate.admit(sent(text))
    with pytest.raises(UnauthenticatedError):  # the records that were read before are older
        gate.admit(sent(text))
    assert gate.admit(sent(new_text)).caller.key_id == made.id
    assert ring.keys is not None and set(ring.keys.by_id) == {revoked.id, made.id}


def test_what_was_read_before_a_loss_was_accepted_is_not_remembered(redis: Redis) -> None:
    access = HeldStore(redis)
    ring = KeyRing(access, CircuitBreaker(as_unavailable))
    access.create(["read"])
    ring.read()
    with access.held(ring):
        ring.forget()
    assert ring.keys is None


def test_of_many_unknown_keys_ten_are_looked_up(
    ring: KeyRing, access: AccessKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.access.ring.time.monotonic", lambda: 0.0)
    ring = KeyRing(access, CircuitBreaker(as_unavailable))
    access.create(["read"])
    ring.read()
    assert [ring.look_up(f"{k:016x}") is not None for k in range(12)] == [True] * 10 + [False] * 2
    monkeypatch.setattr("service.access.ring.time.monotonic", lambda: 0.25)  # two and a half more
    assert [ring.look_up(f"{k:016x}") is not None for k in range(20, 23)] == [True, True, False]


def test_one_id_is_looked_up_once_a_second_and_for_all_who_ask(
    access: AccessKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = KeyRing(access, CircuitBreaker(as_unavailable))
    may_end, asked = threading.Event(), []
    monkeypatch.setattr(ring, "read_one", lambda key_id: (asked.append(key_id), may_end.wait(5)))
    first, second = ring.look_up("1" * 16), ring.look_up("1" * 16)
    assert first is not None
    assert first is second
    may_end.set()
    first.result(5)
    assert ring.look_up("1" * 16) is None
    assert asked == ["1" * 16]


def test_what_is_remembered_ends_with_each_change_and_with_the_key(
    ring: KeyRing, access: AccessKeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(ring)
    key, text = access.create(["read"], lifetime_s=60.0)
    ring.read()
    admission = gate.admit(sent(text))
    assert gate.still_holds(admission)
    ring.read()
    assert gate.still_holds(admission), "nothing has changed"
    access.create(["read"])
    ring.read()
    assert not gate.still_holds(admission)
    admission = gate.admit(sent(text))
    ends_at_s = (key.expires_at_ms or 0) / 1000
    monkeypatch.setattr("service.access.gate.time.time", lambda: ends_at_s - 0.001)
    assert gate.still_holds(admission)
    assert gate.is_in_force(admission.caller)
    monkeypatch.setattr("service.access.gate.time.time", lambda: ends_at_s)
    assert not gate.still_holds(admission)
    assert not gate.is_in_force(admission.caller)


def test_the_log_names_id_and_reason_and_not_the_key(
    ring: KeyRing, access: AccessKeyStore, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(ring)
    key, text = access.create(["read"])
    access.revoke(key.id)
    ring.read()
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            with pytest.raises(UnauthenticatedError):
                gate.let_in(LOOK, sent(text))
    assert f"access key {key.id}: revoked" in caplog.text
    assert text[21:] not in caplog.text
    assert len(caplog.records) <= 10  # five per second, and the second may have changed


def test_a_request_that_its_key_does_not_allow_counts_against_the_limit_of_the_key(
    ring: KeyRing, access: AccessKeyStore
) -> None:
    _, text = access.create(["predict"])
    ring.read()
    gate = Gate(ring, Rates(replace(Limits(), max_key_requests_per_s=4), clock=Clock()))
    for _ in range(4):
        with pytest.raises(ForbiddenError):
            gate.let_in(LOOK, sent(text))
    with pytest.raises(RateLimitedError):
        gate.let_in(LOOK, sent(text))


def test_options_asks_redis_nothing(ring: KeyRing, access: AccessKeyStore, redis: Redis, blobs: BlobStore) -> None:
    asked: list[str] = []
    app = create_app(redis, blobs, Limits(), check_store=lambda: asked.append("store"), gate=Gate(ring))
    http = app.test_client()
    _, text = access.create(["read"])
    ring.read()
    assert [http.options(path).status_code for path in ("/jobs", "/models/a")] == [200, 200]
    assert asked == []
    assert http.get("/jobs", headers={"X-API-Key": text}).status_code == 200
    assert asked == ["store"]


def test_the_flask_app_alone_asks_for_keys_too(
    ring: KeyRing, access: AccessKeyStore, redis: Redis, blobs: BlobStore
) -> None:
    http = create_app(redis, blobs, Limits(), gate=Gate(ring)).test_client()
    assert http.get("/jobs").status_code == 503
    assert http.get("/openapi.json").status_code == 200
    _, text = access.create(["read"])
    ring.read()
    answer = http.get("/jobs")
    assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert http.get("/jobs", headers={"X-API-Key": text}).status_code == 200
    assert http.post("/jobs", headers={"X-API-Key": text}, json={}).status_code == 403
    assert http.options("/jobs").status_code == 200
    assert [http.get("/no", headers=headers).status_code for headers in ({}, {"X-API-Key": text})] == [401, 404]


def test_a_preflight_request_of_a_page_needs_no_key(
    ring: KeyRing, access: AccessKeyStore, redis: Redis, blobs: BlobStore, server: EmbeddedServer
) -> None:
    access.create(["read"])
    ring.read()
    page = {"Origin": "https://app.example"}

    async def ask() -> list[httpx.Response]:
        on_loop = connect_on_loop(server.url, timeout_s=5, max_connections=1)
        models, limits, gate = loaded_models(ModelStore(redis)), Limits(), Gate(ring)
        app = create_app(redis, blobs, limits, models, gate=gate)
        shell = Shell(app, on_loop, models, threads=1, limits=limits, gate=gate, cors_origins=["https://app.example"])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://h") as http:  # type: ignore[arg-type]
            before = await http.options("/jobs", headers=page | {"Access-Control-Request-Method": "POST"})
            answers = [before, await http.post("/jobs", headers=page, json={})]
        await on_loop.aclose()
        return answers

    before, refused = asyncio.run(ask())
    assert before.status_code == 204
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://app.example"
