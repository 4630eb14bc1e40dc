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

_MAX_BUCKETS = 100_000


class _Limit(NamedTuple):
    whose: str
    most_per_s: int


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
        self._buckets: dict[str, tuple[float, float]] = {}
        """Requests left, and when that was so."""

    @property
    def is_any(self) -> bool:
        """Whether there is a limit at all."""
        return min(self._of_key, self._of_tenant) < UNLIMITED

    def take(self, caller: Caller) -> None:
        """Take a predict, counted by this process alone.

        Raises:
            RateLimitedError: it is one too many.
        """
        limits = self._limits(caller)
        with self._lock:
            now_s = self._clock()
            left = {name: self._left(name, limit.most_per_s, now_s) for name, limit in limits.items()}
            empty = next((name for name, n in left.items() if n < 1), None)
            if empty is None:
                if len(self._buckets) > _MAX_BUCKETS:
                    self._buckets.clear()  # of keys that were deleted, most of all
                self._buckets |= {name: (n - 1, now_s) for name, n in left.items()}
        if empty is not None:
            raise RateLimitedError(*limits[empty])

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

    def _left(self, name: str, most: int, now_s: float) -> float:
        left, at_s = self._buckets.get(name, (float(most), now_s))
        return min(float(most), left + (now_s - at_s) * most)
