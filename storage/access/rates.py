"""How many requests come in a second, counted in Redis by all processes together."""

from collections.abc import Mapping

from redis import Redis

from storage import keys
from storage.scripts import load_script


class RateStore:
    """Buckets of requests, in Redis. They expire by themselves."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def take(self, most_per_s: Mapping[str, int]) -> str | None:
        """Take one request from each bucket; or from none, and return the name of the first one that is empty."""
        names = list(most_per_s)
        empty: int = load_script(self._redis, "take_token")(
            keys=[keys.rate(name) for name in names], args=list(most_per_s.values())
        )
        return names[empty - 1] if empty else None
