"""The faults of `./run chaos` reach Redis, and end."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis, RedisError

from storage.connection import connect
from tests.faults.redis_host import RedisHost
from tests.faults.rig import wait_for


@pytest.fixture
def host(tmp_path: Path) -> Iterator[RedisHost]:
    with ExitStack() as on_exit:
        host = RedisHost(tmp_path, on_exit)
        on_exit.enter_context(host)
        yield host


def takes(redis: Redis, command: str, *arguments: object) -> bool:
    try:
        redis.execute_command(command, *arguments)
    except RedisError:
        return False
    return True


def test_the_network_is_cut_or_slow_until_it_heals(host: RedisHost) -> None:
    if (network := host.network) is None:
        pytest.skip("; ".join(host.left_out))
    far, near = (connect(url, timeout_s=1, n_retries=0) for url in (network.url, host.url))
    assert takes(far, "PING")
    network.drop()
    assert (takes(far, "PING"), takes(near, "PING")) == (False, True)
    network.heal()
    wait_for(lambda: takes(far, "PING"))
    network.slow_down()
    started = time.monotonic()
    # 10 kB pass at once, the others at 50 kB/s.
    assert takes(connect(network.url, timeout_s=10, n_retries=0), "SET", "key", "x" * 60_000)
    assert time.monotonic() - started > 0.5
    network.heal()
    assert takes(far, "PING")


def test_the_clock_is_set_and_right_again(host: RedisHost) -> None:
    if (clock := host.clock) is None:
        pytest.skip("; ".join(host.left_out))
    redis = connect(host.url, timeout_s=1, n_retries=0)
    for offset, seconds in (("-1h", -3600), ("+40d", 40 * 86400), ("+0", 0)):
        clock.set(offset)
        wait_for(lambda seconds=seconds: abs(redis.time()[0] - time.time() - seconds) < 5, 5)


def test_the_host_is_full_until_there_is_room_also_for_a_server_that_starts_then(host: RedisHost) -> None:
    redis = connect(host.url, timeout_s=1, n_retries=0)
    assert takes(redis, "SET", "key", "value")
    host.fill()
    wait_for(lambda: not takes(redis, "SET", "key", "value"), 2)
    if host.disk is not None:
        host.kill()
        host.start()
        assert (takes(redis, "SET", "key", "value"), takes(redis, "GET", "key")) == (False, True)
    host.make_room()
    wait_for(lambda: takes(redis, "SET", "key", "value"), 2)
