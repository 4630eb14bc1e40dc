"""What the metrics ask of other parts of the process before each scrape."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Readings:
    """The versions in memory and the circuit breaker. Counts are since the process started."""

    n_loads: int
    n_evictions: int
    n_versions: int
    n_bytes: int
    is_redis_away: bool
