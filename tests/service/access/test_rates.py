"""How many requests come in a second: worked out by hand, in memory and in Redis."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from redis import Redis

from service.access.rates import Rates
from service.http.caller import ANYONE, SCOPES, Caller
from service.http.errors import RateLimitedError, answer_to
from service.settings import Limits
from storage.access.rates import RateStore
from storage.availability import as_unavailable
from storage.circuit_breaker import CircuitBreaker
from storage.errors import UnavailableError
from tests.clock import Clock

LIMITS = replace(Limits(), max_key_requests_per_s=4, max_tenant_requests_per_s=6)
ONE, OTHER = (Caller(key, "acme", frozenset(SCOPES)) for key in ("1" * 16, "2" * 16))


def n_taken(take: Callable[[Caller], None], caller: Caller, n: int) -> int:
    taken = 0
    for _ in range(n):
        try:
            take(caller)
        except RateLimitedError:
            continue
        taken += 1
    return taken


def test_of_twice_the_limit_exactly_the_limit_passes() -> None:
    rates = Rates(LIMITS, clock=Clock())
    assert n_taken(rates.take, ONE, 8) == 4


def test_keys_of_one_tenant_share_its_limit_and_a_refused_request_takes_nothing() -> None:
    rates = Rates(LIMITS, clock=Clock())
    assert n_taken(rates.take, ONE, 9) == 4
    assert n_taken(rates.take, OTHER, 9) == 2  # 6 of the tenant
    other_tenant = replace(OTHER, key_id="3" * 16, tenant="bolt")
    assert n_taken(rates.take, other_tenant, 9) == 4


def test_a_bucket_fills_up_in_a_second_and_no_further() -> None:
    clock = Clock()
    rates = Rates(replace(LIMITS, max_tenant_requests_per_s=LIMITS.max_training_bytes), clock=clock)
    assert n_taken(rates.take, ONE, 9) == 4
    clock.now += 0.5
    assert n_taken(rates.take, ONE, 9) == 2
    clock.now += 60
    assert n_taken(rates.take, ONE, 9) == 4


def test_who_has_no_key_is_not_counted_and_without_limits_nobody_is() -> None:
    assert n_taken(Rates(LIMITS, clock=Clock()).take, ANYONE, 99) == 99
    unlimited = Rates(Limits())
    assert (unlimited.is_any, n_taken(unlimited.take, ONE, 99)) == (False, 99)


def test_two_processes_count_together_in_redis(redis: Redis) -> None:
    processes = [Rates(LIMITS, RateStore(redis), CircuitBreaker(as_unavailable)) for _ in range(2)]
    # The clock of Redis goes on meanwhile, so a fast machine takes exactly 4, a very slow one a few more.
    taken = n_taken(processes[0].take_shared, ONE, 8) + n_taken(processes[1].take_shared, ONE, 8)
    assert 4 <= taken <= 6
    assert 0 < redis.ttl(f"perceptron:rate:key:{ONE.key_id}") <= 2


def test_while_redis_is_away_each_process_counts_by_itself(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RateStore(redis)

    def away(_most: object) -> None:
        raise UnavailableError("away")

    monkeypatch.setattr(store, "take", away)
    rates = Rates(LIMITS, store, CircuitBreaker(as_unavailable), clock=Clock())
    assert n_taken(rates.take_shared, ONE, 9) == 4


def test_a_refusal_names_the_limit_and_its_setting() -> None:
    rates = Rates(LIMITS, clock=Clock())
    n_taken(rates.take, ONE, 4)
    with pytest.raises(RateLimitedError, match=r"4 requests a second \(MAX_KEY_REQUESTS_PER_S\)") as caught:
        rates.take(ONE)
    answer = answer_to(caught.value, request_id="r")
    headers = dict(answer.headers)
    assert (answer.status, headers[b"retry-after"], headers[b"x-ratelimit-limit"]) == (429, b"1", b"4")
    assert (headers[b"ratelimit-policy"], headers[b"ratelimit"]) == (b'"key";q=4;w=1', b'"key";r=0;t=1')


def test_damage_in_a_bucket_is_written_over(redis: Redis) -> None:
    redis.set(f"perceptron:rate:key:{ONE.key_id}", "text")
    redis.hset("perceptron:rate:tenant:acme", mapping={"tokens": "nan?", "at_ms": "-"})
    rates = Rates(LIMITS, RateStore(redis), CircuitBreaker(as_unavailable))
    assert n_taken(rates.take_shared, ONE, 1) == 1


def test_a_clock_that_was_set_back_by_an_hour_keeps_no_key_out(redis: Redis) -> None:
    rates = Rates(LIMITS, RateStore(redis), CircuitBreaker(as_unavailable))
    in_an_hour_ms = redis.time()[0] * 1000 + 3_600_000
    redis.hset(f"perceptron:rate:key:{ONE.key_id}", mapping={"tokens": "0.5", "at_ms": in_an_hour_ms})
    assert n_taken(rates.take_shared, ONE, 1) == 1
    assert n_taken(rates.take_shared, ONE, 8) in (3, 4, 5)  # the bucket was full, and its clock is right again
