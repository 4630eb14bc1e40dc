"""The metrics of one process: the families, and how counts are poured into them.

With several processes, prometheus_client keeps each value in a file of its process, and a scrape of any process reads
the files of all. `folder.py` has these files.
"""

import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from service.observe.metrics.readings import Readings
from service.observe.metrics.traffic import BOUNDS_S, OTHER, PredictLabels, PredictTally, Traffic
from storage import alarm

disable_created_metrics()

_PAGE_BYTES = resource.getpagesize()
_NONE = [0] * (len(BOUNDS_S) + 1)


class ProcessMetrics:
    """The metrics of this process.

    Args:
        protocols: the protocol of each rule that predicts.
        read: asks the other parts of the process.
    """

    def __init__(self, traffic: Traffic, protocols: Mapping[str, str], read: Callable[[], Readings]) -> None:
        self._traffic = traffic
        self._protocols = protocols
        self._read = read
        self._lock = threading.Lock()
        self._poured: dict[Hashable, float] = {}
        """How much of each counter is in its family already."""
        self._poured_times: dict[Hashable, list[int]] = {}
        self.registry = registry = CollectorRegistry()
        by_route, by_version = ["route", "method", "code"], ["model", "version", "protocol"]

        def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(f"perceptron_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, labels: Sequence[str] = ()) -> Histogram:
            return Histogram(f"perceptron_{name}", text, labels, registry=registry, buckets=BOUNDS_S)

        def gauge(name: str, text: str, mode: str) -> Gauge:
            return Gauge(f"perceptron_{name}", text, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

        self._requests = counter("http_requests", "Answered HTTP requests.", by_route)
        self._request_times = histogram(
            "http_request_duration_seconds",
            "Time until an answer begins; without requests that wait for a job.",
            ["route", "method"],
        )
        self._predict_times = histogram("predict_duration_seconds", "Time of a successful predict.", ["protocol"])
        self._predictions = counter("predictions", "Successful predicts.", by_version)
        self._rows = counter("prediction_rows", "Instances of successful predicts.", by_version)
        self._stale = counter("stale_predictions", "Predicts answered from memory while Redis could not be asked.")
        self._misses = counter("version_cache_misses", "Successful predicts that had to wait for their version.")
        self._loads = counter("version_cache_loads", "Versions loaded from Redis.")
        self._evictions = counter("version_cache_evictions", "Versions evicted because memory was full.")
        self._versions = gauge("version_cache_versions", "Versions in memory, all processes together.", "livesum")
        self._version_bytes = gauge("version_cache_bytes", "Memory of these versions.", "livesum")
        self._round_trips = histogram("redis_round_trip_seconds", "Round trips to Redis of requests, with retries.")
        self._is_away = gauge("redis_breaker_open", "1 while a process takes Redis for away.", "livemax")
        self._lag = histogram("event_loop_lag_seconds", "How late the event loop does what is due, ten times a second.")
        self._alarms = counter("alarms", "Alarms about damaged data in the logs of the API.")
        self._cpu = counter("process_cpu_seconds", "CPU time of the API, all processes together.")
        self._memory = gauge("process_resident_memory_bytes", "Memory of the API, all processes together.", "livesum")
        self._files = gauge("process_open_fds", "Open files and sockets of the API, all processes together.", "livesum")
        self._processes = gauge("processes", "Processes that serve.", "livesum")
        self._started = gauge("process_start_time_seconds", "When the oldest process began, since 1970.", "livemin")
        self._processes.set(1)
        self._started.set(time.time())

    def pour(self) -> None:
        """Bring all families up to date."""
        with self._lock:
            for labels, tally in self._traffic.predicts().items():
                self._pour_predicts(labels, tally)
            for at, (times, n) in self._traffic.requests().items():
                route = as_route(at.rule)
                self._pour(self._requests.labels(route, at.method, at.status), at, n)
                self._pour_times(self._request_times.labels(route, at.method), at, times.buckets, times.sum_ns)
            for name, histogram, times in (
                ("round trips", self._round_trips, self._traffic.round_trips),
                ("lag", self._lag, self._traffic.loop_lag),
            ):
                self._pour_times(histogram, name, times.buckets, times.sum_ns)
            readings = self._read()
            self._pour(self._loads, "loads", readings.n_loads)
            self._pour(self._evictions, "evictions", readings.n_evictions)
            self._versions.set(readings.n_versions)
            self._version_bytes.set(readings.n_bytes)
            self._is_away.set(readings.is_redis_away)
            self._alarms.inc(alarm.take())
            self._pour_process()

    def _pour_predicts(self, labels: PredictLabels, tally: PredictTally) -> None:
        buckets, sum_ns, is_answered = list(tally.buckets), tally.sum_ns, labels.status < 400
        if buckets == self._poured_times.get(labels):
            return
        route, protocol = as_route(labels.rule), self._protocols.get(labels.rule, OTHER)
        self._pour(self._requests.labels(route, "POST", labels.status), ("requests", labels), sum(buckets))
        if is_answered:
            version = str(labels.version or "provisional") if labels.version >= 0 else OTHER
            of_version = labels.model, version, protocol
            self._pour(self._predictions.labels(*of_version), ("predictions", labels), sum(buckets))
            self._pour(self._rows.labels(*of_version), ("rows", labels), tally.n_rows)
            self._pour(self._stale, ("stale", labels), tally.n_stale)
            self._pour(self._misses, ("misses", labels), tally.n_loaded)
            self._pour_times(self._predict_times.labels(protocol), ("predict", labels), buckets, sum_ns)
        self._pour_times(self._request_times.labels(route, "POST"), labels, buckets, sum_ns)

    def _pour_process(self) -> None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self._pour(self._cpu, "cpu", usage.ru_utime + usage.ru_stime)
        try:
            self._memory.set(int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES)
            self._files.set(len(os.listdir("/proc/self/fd")))
        except OSError:  # no Linux: the largest size so far has to do
            self._memory.set(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))

    def _pour(self, counter: Counter, key: Hashable, total: float) -> None:
        """Add to a counter what has come since the last time."""
        if (more := total - self._poured.get(key, 0.0)) > 0:
            counter.inc(more)
            self._poured[key] = total

    def _pour_times(self, histogram: Histogram, key: Hashable, buckets: list[int], sum_ns: int) -> None:
        """Add to a histogram what has come since the last time.

        prometheus_client can only add one observation at a time, so this writes what its `observe` writes.
        """
        buckets = list(buckets)
        before = self._poured_times.get(key, _NONE)
        if buckets == before:
            return
        for value, now, was in zip(histogram._buckets, buckets, before, strict=True):
            if now > was:
                value.inc(now - was)
        sum_key = ("sum", key)
        histogram._sum.inc(1e-9 * (sum_ns - self._poured.get(sum_key, 0)))
        self._poured[sum_key], self._poured_times[key] = sum_ns, buckets


def as_route(rule: str) -> str:
    """Return a rule of Flask as OpenAPI writes it: `/jobs/<string:job_id>` is `/jobs/{job_id}`."""
    parts = rule.split("<")
    return parts[0] + "".join(
        "{" + part.rpartition(">")[0].rpartition(":")[2] + "}" + part.rpartition(">")[2] for part in parts[1:]
    )
