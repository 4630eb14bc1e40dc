"""What the requests of one process are counted with: plain numbers, because a predict takes 40 microseconds in all.

A counter and a histogram of prometheus_client cost 7 to 10 microseconds for each request, in files. Here it is half a
microsecond, and `ProcessMetrics` pours the sums into the files once a second. `./run bench serving S7` compares.
"""

import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import NamedTuple

from service.observe.access_log import AccessLog

BOUNDS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper bounds of all histograms. One more bucket is for what takes longer."""

OTHER = "other"
"""Stands for all models and versions beyond the limit, and for unknown methods."""

UNKNOWN_ROUTE = "unknown"
"""Stands for all paths that no rule matches."""

MAX_VERSIONS = 200

_BOUNDS_NS = [round(1e9 * bound) for bound in BOUNDS_S]
_N_BUCKETS = len(BOUNDS_S) + 1
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""All others are counted as `other`."""


@dataclass(slots=True)
class Times:
    """Durations: how many fell into each bucket, and their sum."""

    sum_ns: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * _N_BUCKETS)

    def add(self, ns: int) -> None:
        """Count one duration."""
        self.sum_ns += ns
        self.buckets[bisect_left(_BOUNDS_NS, ns)] += 1


@dataclass(slots=True)
class PredictTally:
    """All predicts with the same labels."""

    n_rows: int = 0
    n_stale: int = 0
    n_loaded: int = 0
    """Those that had to wait until their version was loaded."""
    sum_ns: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * _N_BUCKETS)

    @property
    def n(self) -> int:
        """How many there were."""
        return sum(self.buckets)


class PredictLabels(NamedTuple):
    """What predicts are told apart by."""

    rule: str
    status: int
    model: str
    """Empty when the request ended before its version was known."""
    version: int


class RequestLabels(NamedTuple):
    """What all other requests are told apart by."""

    rule: str
    method: str
    status: int


class Traffic:
    """The requests of this process since it started.

    One lock guards each group, for less than 0.1 microseconds: threads and the event loop count the same things.

    Args:
        max_versions: how many versions have labels of their own; all others are counted as `other`.
        access_log: where whoever counts a request also logs it.
    """

    def __init__(self, max_versions: int = MAX_VERSIONS, access_log: AccessLog | None = None) -> None:
        self._max_versions = max_versions
        self.access_log = access_log or AccessLog()
        self._lock = threading.Lock()
        self._predicts: dict[tuple[str, int, str, int], PredictTally] = {}
        self._versions: set[tuple[str, int]] = set()
        self._requests: dict[RequestLabels, tuple[Times, list[int]]] = {}
        self.round_trips = Times()
        self._round_trips_lock = threading.Lock()
        self.loop_lag = Times()
        """Written by the event loop alone."""

    def predicted(
        self,
        rule: str,
        status: int,
        model: str,
        version: int,
        n_rows: int,
        is_stale: bool,
        was_loaded: bool,
        complete_ns: int,
    ) -> int:
        """Count an answer of the one predict; return for how many nanoseconds its client has waited.

        Args:
            model, version: of the version that was found, else empty and 0. They come from loaded models only: a
                request must not be able to add labels.
            complete_ns: when the request was complete.
        """
        labels = (rule, status, model, version)
        with self._lock:
            tally = self._predicts.get(labels)
            if tally is None:
                tally = self._tally(rule, status, model, version)
            ns = perf_counter_ns() - complete_ns
            tally.n_rows += n_rows
            tally.n_stale += is_stale
            tally.n_loaded += was_loaded
            tally.sum_ns += ns
            tally.buckets[bisect_left(_BOUNDS_NS, ns)] += 1
        return ns

    def answered(self, rule: str, method: str, status: int, ns: int | None) -> None:
        """Count an answer to a request that does not predict.

        Args:
            ns: how long its answer took to begin; None if the client wanted it to wait.
        """
        labels = RequestLabels(rule, method if method in METHODS else OTHER, status)
        with self._lock:
            times, n = self._requests.setdefault(labels, (Times(), [0]))
            n[0] += 1
            if ns is not None:
                times.add(ns)

    def called_redis(self, seconds: float) -> None:
        """Count a round trip to Redis."""
        with self._round_trips_lock:
            self.round_trips.add(int(1e9 * seconds))

    def predicts(self) -> Mapping[PredictLabels, PredictTally]:
        """Return the predicts so far; the tallies go on."""
        with self._lock:
            predicts = dict(self._predicts)
        return {PredictLabels(*labels): tally for labels, tally in predicts.items()}

    def requests(self) -> Mapping[RequestLabels, tuple[Times, int]]:
        """Return how long the other requests took, and how many there were."""
        with self._lock:
            return {labels: (times, n[0]) for labels, (times, n) in self._requests.items()}

    def _tally(self, rule: str, status: int, model: str, version: int) -> PredictTally:
        if model and (model, version) not in self._versions:
            if len(self._versions) >= self._max_versions:
                model, version = OTHER, -1
            else:
                self._versions.add((model, version))
        return self._predicts.setdefault((rule, status, model, version), PredictTally())
