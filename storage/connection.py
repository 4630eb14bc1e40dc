"""One way to connect to Redis, with time limits fit for the caller."""

from redis import Redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry


def connect(redis_url: str, *, timeout_s: float, n_retries: int) -> Redis:
    """Connect lazily: no socket is opened before the first command.

    A command whose answer was lost is sent again, so it may be applied twice. Every write of ours names its job and
    attempt and gives the same answer when repeated; only a ring may be doubled, and a second ring is harmless.

    Args:
        redis_url: `redis://`, `rediss://` or `unix://`, as redis-py's `from_url` takes it.
        timeout_s: the longest wait for one connection or one answer.
        n_retries: how often a command is tried again, after 0.05 s, 0.1 s, ... and then every second.
    """
    return Redis.from_url(
        redis_url,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, 2.0),
        health_check_interval=15,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.05), n_retries),
    )
