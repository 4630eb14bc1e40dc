"""Limits of requests a second, for each access key and for each tenant: predicts in memory, all others in Redis."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from service.http.caller import Caller
from service.http.errors import RateLimitedError
from service.settings import Limits
from storage.circuit_breaker import CircuitBreaker
from storage.errors import UnavailableError
from storage.store_settings import UNLIMITED

if TYPE_CHECKING:
    from storage.access.rates import RateStore

_MAX_KEYS = 50_000


class _Limit(NamedTuple):
    whose: str
    most_per_s: int


class _Bucket:
    """How many requests may still come, and when that was so."""

    __slots__ = ("at_s", "left", "limit")

    def __init__(self, limit: _Limit, now_s: float) -> None:
        self.limit = limit
        self.left = float(limit.most_per_s)
        self.at_s = now_s


class Rates:
    """Takes a request from the buckets of its key and of its tenant, or refuses it.

    A bucket holds as many requests as may come in a second, and fills up in a second. Requests that no key sent are not
    counted.

    Args:
        store: buckets that all processes share; None: those in memory do for all requests.
        breaker: guards every call of Redis.
        clock: seconds that never run backwards.
    """

    def __init__(
        self,
        limits: Limits,
        store: "RateStore | None" = None,
        breaker: CircuitBreaker | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._of_key = limits.max_key_requests_per_s
        self._of_tenant = limits.max_tenant_requests_per_s
        self._store = store
        self._breaker = breaker
        self._clock = clock
        self._lock = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._of_key_id: dict[str, list[_Bucket]] = {}
        """Those of a key and of its tenant: making their names anew takes longer than all the rest of a predict's way
        through here."""

    @property
    def is_any(self) -> bool:
        """Whether there is a limit at all."""
        return min(self._of_key, self._of_tenant) < UNLIMITED

    def take(self, caller: Caller) -> None:
        """Take a predict, counted by this process alone.

        Raises:
            RateLimitedError: it is one too many.
        """
        if caller.key_id is None:
            return
        with self._lock:
            now_s = self._clock()
            buckets = self._of_key_id.get(caller.key_id)
            if buckets is None:
                buckets = self._find(caller, caller.key_id, now_s)
            for bucket in buckets:
                most_per_s = bucket.limit.most_per_s
                left = bucket.left + (now_s - bucket.at_s) * most_per_s
                bucket.left = left if left < most_per_s else float(most_per_s)
                bucket.at_s = now_s
            for bucket in buckets:
                if bucket.left < 1:
                    raise RateLimitedError(*bucket.limit)
            for bucket in buckets:
                bucket.left -= 1

    def take_shared(self, caller: Caller) -> None:
        """Take a request that is no predict, counted by all processes together; while Redis is away, by this one.

        Raises:
            RateLimitedError: it is one too many.
        """
        limits = self._limits(caller)
        if not limits:
            return
        if self._store is None or self._breaker is None:
            self.take(caller)
            return
        try:
            with self._breaker.calling():
                empty = self._store.take({name: limit.most_per_s for name, limit in limits.items()})
        except UnavailableError:
            self.take(caller)
            return
        if empty is not None:
            raise RateLimitedError(*limits[empty])

    def _limits(self, caller: Caller) -> Mapping[str, _Limit]:
        """Return what limits a caller, by the name of the bucket."""
        if caller.key_id is None:
            return {}
        limits = {
            f"key:{caller.key_id}": _Limit("key", self._of_key),
            f"tenant:{caller.tenant}": _Limit("tenant", self._of_tenant),
        }
        return {name: limit for name, limit in limits.items() if limit.most_per_s < UNLIMITED}

    def _find(self, caller: Caller, key_id: str, now_s: float) -> list[_Bucket]:
        if len(self._of_key_id) > _MAX_KEYS:  # of keys that were deleted, most of all
            self._of_key_id.clear()
            self._buckets.clear()
        limits = self._limits(caller).items()
        found = [self._buckets.setdefault(name, _Bucket(limit, now_s)) for name, limit in limits]
        self._of_key_id[key_id] = found
        return found
