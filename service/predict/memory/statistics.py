"""Counts and times of each version's requests over the Open Inference Protocol, in this process alone."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

_MAX_VERSIONS = 10_000


@dataclass(slots=True)
class Counters:
    """The counters of one version. Times are sums, in nanoseconds."""

    last_inference_ms: int = 0
    """Since 1970."""
    n_instances: int = 0
    n_successes: int = 0
    success_ns: int = 0
    n_failures: int = 0
    failure_ns: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0


class Statistics:
    """The counters of the versions used last; those of the version unused for longest are evicted."""

    def __init__(self, max_versions: int = _MAX_VERSIONS) -> None:
        self._max_versions = max_versions
        self._lock = threading.Lock()
        self._by_version: OrderedDict[tuple[str, int], Counters] = OrderedDict()

    def of(self, model: str, version: int) -> Counters:
        """Return the counters of a version; all are zero if it had no request."""
        return self._by_version.get((model, version)) or Counters()

    def succeeded(
        self, model: str, version: int, *, n_instances: int, times_ns: tuple[int, int, int, int, int]
    ) -> None:
        """Count an answer.

        Args:
            times_ns: when the request was complete, had a thread, was read, was computed, and was written.
        """
        complete, began, read, computed, written = times_ns
        with self._lock:
            counters = self._counters(model, version)
            counters.last_inference_ms = time.time_ns() // 1_000_000
            counters.n_instances += n_instances
            counters.n_successes += 1
            counters.success_ns += written - complete
            counters.queue_ns += began - complete
            counters.input_ns += read - began
            counters.infer_ns += computed - read
            counters.output_ns += written - computed

    def failed(self, model: str, version: int, *, ns: int) -> None:
        """Count an error of a request that named an existing version."""
        with self._lock:
            counters = self._counters(model, version)
            counters.n_failures += 1
            counters.failure_ns += ns

    def _counters(self, model: str, version: int) -> Counters:
        counters = self._by_version.setdefault((model, version), Counters())
        self._by_version.move_to_end((model, version))
        if len(self._by_version) > self._max_versions:
            self._by_version.popitem(last=False)
        return counters
