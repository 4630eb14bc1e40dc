"""How to connect to Redis, with time limits fit for the caller."""

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.retry import Retry

from storage.identity import Epoch


def connect(redis_url: str, *, timeout_s: float, n_retries: int, epoch: Epoch | None = None) -> Redis:
    """Connect lazily: no socket is opened before the first command.

    A command whose answer was lost is sent again, so it may be applied twice. Every write of ours names its job and
    attempt and gives the same answer when repeated; only a ring may be doubled, and a second ring is harmless.

    Args:
        redis_url: `redis://`, `rediss://` or `unix://`, as redis-py's `from_url` takes it.
        timeout_s: the longest wait for one connection or one answer.
        n_retries: how often a command is tried again, after 0.05 s, 0.1 s, ... and then every second.
        epoch: checks each connection, so that a Redis that was emptied or replaced is as good as none.
    """
    return Redis.from_url(
        redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, 2.0),
        health_check_interval=15,
        # Else each connection looks up the version of redis-py on the disk, and says it: 3 ms in every work horse.
        driver_info=None,
        redis_connect_func=None if epoch is None else epoch.on_connect,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), n_retries),
    )


def connect_on_loop(
    redis_url: str, *, timeout_s: float, max_connections: int, epoch: Epoch | None = None
) -> AsyncRedis:
    """Connect lazily, for an event loop. A command is not tried again: whoever waits there has time to ask anew.

    Args:
        max_connections: who needs one more waits, up to `timeout_s`.
        epoch: as for `connect`.
    """
    pool = BlockingConnectionPool.from_url(
        redis_url,
        timeout=timeout_s,
        max_connections=max_connections,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        driver_info=None,
        redis_connect_func=None if epoch is None else epoch.on_connect_on_loop,
        retry=AsyncRetry(NoBackoff(), 0),
    )
    return AsyncRedis.from_pool(pool)
