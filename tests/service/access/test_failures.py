"""Requests with a bad access key: twenty a second from one address are answered as such, worked out by hand."""

import asyncio

import pytest
from redis import Redis

from service.access.failures import Failures
from service.access.gate import Gate
from service.access.needs import LOOK
from service.access.ring import KeyRing
from service.http.caller import Caller
from service.http.errors import RateLimitedError, UnauthenticatedError, answer_to
from storage.access.store import AccessKeyStore
from storage.availability import as_unavailable
from storage.circuit_breaker import CircuitBreaker
from tests.clock import Clock


def n_taken(failures: Failures, address: str | None, n: int) -> int:
    taken = 0
    for _ in range(n):
        try:
            failures.check(address)
        except RateLimitedError:
            continue
        failures.count(address)
        taken += 1
    return taken


def test_one_address_has_twenty_in_each_second() -> None:
    clock = Clock()
    failures = Failures(clock)
    assert n_taken(failures, "203.0.113.9", 30) == 20
    assert n_taken(failures, "203.0.113.10", 30) == 20
    clock.now += 1
    assert n_taken(failures, "203.0.113.9", 30) == 20


def test_whose_address_is_not_known_is_not_counted() -> None:
    assert n_taken(Failures(Clock()), None, 99) == 99


@pytest.mark.parametrize(
    ("first", "second", "n"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", 0),  # who has one has the other
        ("2001:db8:0:1::1", "2001:db8:0:2::1", 20),
        ("::ffff:203.0.113.9", "::ffff:203.0.113.10", 20),
        ("::ffff:203.0.113.9", "203.0.113.9", 0),
        ("fe80::1%eth0", "fe80::2", 0),
        ("no address", "another", 20),
    ],
)
def test_addresses_count_together_if_one_client_has_both(first: str, second: str, n: int) -> None:
    failures = Failures(Clock())
    n_taken(failures, first, 20)
    assert n_taken(failures, second, 20) == n


def test_after_twenty_bad_keys_no_key_of_the_address_is_looked_up_and_good_keys_still_come_in(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = AccessKeyStore(redis)
    good, text = access.create(["read"])
    ring = KeyRing(access, CircuitBreaker(as_unavailable))
    ring.read()
    gate = Gate(ring)
    gate._failures = Failures(Clock())
    n_asked = 0

    def look_up(_key_id: str) -> None:
        nonlocal n_asked
        n_asked += 1

    monkeypatch.setattr(ring, "look_up", look_up)

    async def let_in(text: str) -> Caller:
        sent = {b"x-api-key": text.encode()} if text else {}
        return await gate.let_in_on_loop(LOOK, sent, find_address=lambda: "203.0.113.9")

    for k in range(20):
        with pytest.raises(UnauthenticatedError):
            asyncio.run(let_in(f"psk_{k:016x}_{'a' * 43}"))
    for _ in range(3):
        with pytest.raises(RateLimitedError, match="this address may send 20 requests with an access key") as limited:
            asyncio.run(let_in(f"psk_{99:016x}_{'a' * 43}"))
    assert n_asked == 20
    answer = answer_to(limited.value, request_id="r")
    assert (answer.status, dict(answer.headers)[b"retry-after"]) == (429, b"1")
    assert asyncio.run(let_in(text)).key_id == good.id
    with pytest.raises(UnauthenticatedError):  # who sends no key tries none
        asyncio.run(let_in(""))


def test_a_key_that_was_made_a_moment_ago_lets_any_number_in_at_once(redis: Redis) -> None:
    access = AccessKeyStore(redis)
    access.create(["read"])
    ring = KeyRing(access, CircuitBreaker(as_unavailable))
    ring.read()
    gate = Gate(ring)
    made, text = access.create(["read"])
    sent = {b"x-api-key": text.encode()}

    async def let_in() -> list[Caller]:
        return await asyncio.gather(
            *(gate.let_in_on_loop(LOOK, sent, find_address=lambda: "203.0.113.9") for _ in range(50))
        )

    assert {caller.key_id for caller in asyncio.run(let_in())} == {made.id}
