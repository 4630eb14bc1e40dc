"""`/metrics`: the values of all API processes, and what Redis knows of the work of all workers."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from redis import Redis

from service.observe.metrics import folder
from service.observe.metrics.process_metrics import ProcessMetrics
from service.observe.metrics.readings import Readings
from service.observe.metrics.traffic import Traffic
from service.observe.metrics.work_metrics import state_of_service
from storage.availability import is_unavailable
from storage.circuit_breaker import CircuitBreaker
from storage.log.unexpected import log_unexpected
from storage.workload import Workload, read_workload

_POUR_EVERY_S = 1.0
_LOOK_EVERY_S = 1.0
_LAG_EVERY_S = 0.1

_log = logging.getLogger(__name__)


class Metrics:
    """All metrics, for one process to answer with.

    Args:
        traffic: what the requests of this process are counted with.
        protocols: the protocol of each rule that predicts.
        read: asks the other parts of the process.
        breaker: guards every call of Redis.
        check_ready: raises unless the process is ready.
        max_running: how many jobs of one tenant may run at once.
        version: of the project.
    """

    def __init__(
        self,
        traffic: Traffic,
        redis: Redis,
        *,
        protocols: Mapping[str, str],
        read: Callable[[], Readings],
        breaker: CircuitBreaker,
        check_ready: Callable[[], None],
        max_running: int,
        version: str,
    ) -> None:
        self.traffic = traffic
        self._redis = redis
        self._protocols = protocols
        self._read = read
        self._breaker = breaker
        self._check_ready = check_ready
        self._max_running = max_running
        self._version = version
        self._lock = threading.Lock()
        self._process: ProcessMetrics | None = None
        self._look_lock = threading.Lock()
        self._looked_at_s = float("-inf")
        self._seen: tuple[Workload | None, bool] = (None, False)

    def start(self) -> None:
        """Pour once a second from now on, in a thread, so that other processes can show what this one counts."""
        threading.Thread(target=self._keep_poured, name="metrics", daemon=True).start()

    def pour(self) -> None:
        """Bring the values of this process up to date."""
        self._families().pour()

    async def watch_loop(self) -> None:
        """Measure how late the event loop is, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.traffic.loop_lag.add(max(int(1e9 * (loop.time() - due_s)), 0))

    def scrape(self, accept: str) -> tuple[bytes, str]:
        """Return all metrics in the format that suits the Accept header best, and its media type."""
        families = self._families()
        families.pour()
        try:
            encode, media_type = choose_encoder(accept)
        except (TypeError, ValueError):  # it names a version that is none
            encode, media_type = choose_encoder("")
        workload, is_ready = self._look()
        of_service = state_of_service(workload, is_ready=is_ready, version=self._version)
        return encode(_Collected([*self._of_processes(families), *of_service])), media_type

    def _of_processes(self, families: ProcessMetrics) -> list[Metric]:
        """Return what all processes have counted, or this one alone, if nothing is shared."""
        if (shared := folder.current()) is not None:
            try:
                with folder.reading(shared):
                    return list(MultiProcessCollector(None, str(shared)).collect())
            except Exception as error:  # somebody changed the files
                log_unexpected(_log, error, "the metrics of the other processes cannot be read from %s", shared)
        return list(families.registry.collect())

    def _families(self) -> ProcessMetrics:
        """Return the families of this process; made late, in the process that serves and not before it was forked."""
        with self._lock:
            if self._process is None:
                self._process = ProcessMetrics(self.traffic, self._protocols, self._read)
            return self._process

    def _keep_poured(self) -> None:
        while True:
            try:
                self.pour()
            except Exception as error:
                log_unexpected(_log, error, "the metrics could not be brought up to date")
            time.sleep(_POUR_EVERY_S)

    def _look(self) -> tuple[Workload | None, bool]:
        """Return what Redis says, None while it is away, and whether the process is ready; not older than a second."""
        with self._look_lock:
            if time.monotonic() - self._looked_at_s >= _LOOK_EVERY_S:
                workload, is_ready = None, False
                try:
                    with self._breaker.calling():
                        workload = read_workload(self._redis, max_running=self._max_running)
                        self._check_ready()
                    is_ready = True
                except Exception as error:
                    if not is_unavailable(error):
                        log_unexpected(_log, error, "what Redis says could not be read for the metrics")
                self._seen, self._looked_at_s = (workload, is_ready), time.monotonic()
            return self._seen


class _Collected:
    """What prometheus_client's encoders take: metrics that have been collected."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = sorted(metrics, key=lambda metric: metric.name)

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)
