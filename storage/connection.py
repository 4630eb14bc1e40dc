"""How to connect to Redis, with time limits that fit the caller."""

from urllib.parse import urlsplit

from redis import Redis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff, NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from storage.errors import RedisUrlError
from storage.identity import StoreIdentity


def check_url(redis_url: str) -> None:
    """Check that the URL can be read, and that no part of a password stands where an address is.

    Raises:
        RedisUrlError: it cannot, or has a `@` behind the host, since a character before that is not percent-encoded.
    """
    try:
        parse_url(redis_url)
    except ValueError:
        raise RedisUrlError from None  # the message of redis-py may quote a part of the password
    url = urlsplit(redis_url)
    if url.netloc and "@" in url.path + url.query.partition("=")[0] + url.fragment:
        raise RedisUrlError


def connect(redis_url: str, *, timeout_s: float, n_retries: int, identity: StoreIdentity | None = None) -> Redis:
    """Connect lazily: no socket is opened before the first command.

    A command whose answer was lost is sent again, so it may be applied twice. Every write of ours names its job and
    attempt and gives the same answer when repeated. Only a job may be enqueued twice, which is harmless: the second
    claim is refused.

    Args:
        redis_url: `redis://`, `rediss://` or `unix://`, as redis-py's `from_url` takes it.
        timeout_s: the longest wait for one connection or one answer.
        n_retries: how often a command is retried: after 0.05 s, 0.1 s, ... and then every second.
        identity: checks each new connection, so that an emptied or replaced Redis counts as away.

    Raises:
        RedisUrlError: the URL cannot be read.
    """
    check_url(redis_url)
    return Redis.from_url(
        redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, 2.0),
        health_check_interval=15,
        # Otherwise each connection reads the version of redis-py from the disk and sends it: 3 ms per worker child.
        driver_info=None,
        redis_connect_func=None if identity is None else identity.on_connect,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), n_retries),
    )


def connect_on_loop(
    redis_url: str, *, timeout_s: float, max_connections: int, identity: StoreIdentity | None = None
) -> AsyncRedis:
    """Connect lazily, for an event loop. Commands are not retried: their callers ask again by themselves.

    Args:
        max_connections: a caller that needs one more waits for it, up to `timeout_s`.
        identity: as for `connect`.

    Raises:
        RedisUrlError: the URL cannot be read.
    """
    check_url(redis_url)
    pool = BlockingConnectionPool.from_url(
        redis_url,
        timeout=timeout_s,
        max_connections=max_connections,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        driver_info=None,
        redis_connect_func=None if identity is None else identity.on_connect_on_loop,
        retry=AsyncRetry(NoBackoff(), 0),
    )
    return AsyncRedis.from_pool(pool)
