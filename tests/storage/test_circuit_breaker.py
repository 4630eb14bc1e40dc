"""Redis that lets one caller wait in vain is not asked by everybody else."""

from contextlib import suppress

import pytest
import redis

from storage.availability import ReplacedRedisError, as_unavailable
from storage.circuit_breaker import RETRY_AFTER_S, RETRY_REFUSED_AFTER_S, CircuitBreaker
from storage.errors import (
    BlobStoreUnavailableError,
    ModelNotFoundError,
    RedisAwayError,
    UnavailableError,
)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker(as_unavailable, clock=clock)


def call(breaker: CircuitBreaker, error: Exception | None = None) -> bool:
    """Call Redis, which answers with the error; say whether it was asked at all."""
    was_asked = False
    with suppress(Exception), breaker.calling():
        was_asked = True
        if error is not None:
            raise error
    return was_asked


def test_while_redis_is_away_one_caller_a_second_tries_it(breaker: CircuitBreaker, clock: Clock) -> None:
    assert call(breaker, redis.TimeoutError()) and call(breaker, redis.TimeoutError())
    assert breaker.is_away and breaker.is_refusing
    clock.now_s += RETRY_AFTER_S - 0.001
    assert not call(breaker)
    clock.now_s += 0.001
    assert not breaker.is_refusing
    with breaker.calling():
        assert not call(breaker)  # another one tries just now
    assert not breaker.is_away
    assert call(breaker)


def test_refusals_do_not_put_off_the_next_try(breaker: CircuitBreaker, clock: Clock) -> None:
    call(breaker, redis.TimeoutError()), call(breaker, redis.TimeoutError())
    for _ in range(8):
        clock.now_s += RETRY_AFTER_S / 8
        try:
            with breaker.calling():
                pass
        except RedisAwayError as error:
            breaker.note(error)  # as an error handler around it does
    assert call(breaker)


def test_an_error_is_an_answer_too(breaker: CircuitBreaker, clock: Clock) -> None:
    call(breaker, redis.ConnectionError())
    clock.now_s += RETRY_AFTER_S
    call(breaker, ModelNotFoundError("or"))
    assert not breaker.is_away


@pytest.mark.parametrize(
    "error",
    [
        redis.OutOfMemoryError("full", status_code="OOM"),
        redis.ResponseError("MISCONF ..."),
        redis.ReadOnlyError("replica", status_code="READONLY"),
    ],
)
def test_a_redis_that_takes_no_writes_is_not_away(breaker: CircuitBreaker, error: Exception) -> None:
    with pytest.raises(UnavailableError) as caught, breaker.calling():
        raise error
    assert caught.value.__cause__ is error
    assert not breaker.is_away


def test_clients_see_why_redis_is_refused_but_no_path_or_address(breaker: CircuitBreaker) -> None:
    for error, is_shown in (
        (ReplacedRedisError(None, "ours"), True),
        (redis.ConnectionError("Error 111 connecting to 10.0.0.7:6379"), False),
        (BlobStoreUnavailableError("/var/lib/perceptron/blobs"), False),
    ):
        assert (str(breaker.note(error)) == str(error)) is is_shown


def test_one_slow_answer_refuses_nobody(breaker: CircuitBreaker) -> None:
    """On 15a4f66, each slow answer refused all others for a second."""
    for _ in range(5):
        call(breaker, redis.TimeoutError())
        assert not breaker.is_away
        assert call(breaker)
    call(breaker, redis.TimeoutError()), call(breaker, redis.TimeoutError())
    assert breaker.is_refusing


def test_a_silence_that_others_share_is_an_outage(breaker: CircuitBreaker, clock: Clock) -> None:
    """Else the first of many to give up would let one more wait, as long again."""
    with breaker.calling():
        clock.now_s += 1
        call(breaker, redis.TimeoutError())
        assert breaker.is_refusing


def test_a_silence_in_which_others_were_answered_refuses_nobody(breaker: CircuitBreaker, clock: Clock) -> None:
    with breaker.calling(), suppress(Exception), breaker.calling():
        clock.now_s += 1
        assert call(breaker)
        raise redis.TimeoutError
    assert not breaker.is_away


def test_a_redis_that_refuses_connections_is_tried_again_soon(breaker: CircuitBreaker, clock: Clock) -> None:
    call(breaker, redis.ConnectionError())
    assert breaker.is_refusing
    clock.now_s += RETRY_REFUSED_AFTER_S
    assert call(breaker) and not breaker.is_away


def test_who_is_refused_hears_the_reason_of_the_last_try(breaker: CircuitBreaker) -> None:
    call(breaker, ReplacedRedisError(None, "ours"))
    with pytest.raises(RedisAwayError, match="accept-loss"), breaker.calling():
        pass


def test_what_else_goes_wrong_inside_is_left_as_it_is(breaker: CircuitBreaker) -> None:
    with pytest.raises(ValueError, match="ours"), breaker.calling():
        raise ValueError("ours")
