"""The metrics of what Redis knows: jobs, the queue, workers on all hosts, and Redis itself."""

import platform
from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from storage.queue import QUEUE_NAME
from storage.webhooks.outbox import OUTCOMES, counter_of
from storage.workload import ALARMS, WorkerFigures, Workload

_COUNTERS: Mapping[str, tuple[str, str]] = {
    "submitted": ("perceptron_jobs_submitted", "Accepted training jobs."),
    "claimed": ("perceptron_attempts_started", "Attempts that workers have started."),
    "attempt_died": ("perceptron_attempts_died", "Attempts whose worker or process died."),
    "handed_back": ("perceptron_attempts_handed_back", "Attempts that gave their job back to the queue."),
    "checkpoints": ("perceptron_checkpoints", "Checkpoints written."),
    "epochs": ("perceptron_epochs", "Epochs trained, as far as reported."),
    ALARMS: ("perceptron_worker_alarms", "Alarms about damaged data in the logs of workers."),
}

_ENDED: Mapping[str, str] = {"published": "succeeded", "failed": "failed", "cancelled": "cancelled"}
"""The state of a job after each counter."""

_RQ_STATUS: Mapping[str, str | None] = {
    "queued": None,  # what is in RQ's list
    "started": "running",
    "finished": "succeeded",
    "failed": "failed",
    "deferred": None,
    "scheduled": None,
}
"""What RQ's own exporter calls the states of jobs, and what we call them."""


def state_of_service(workload: Workload | None, *, is_ready: bool, version: str) -> Iterator[Metric]:
    """Return all of it; without a workload, since Redis is away, only that this is so."""
    build = GaugeMetricFamily("perceptron_build_info", "The version that runs.", labels=["version", "python"])
    build.add_metric([version, platform.python_version()], 1)
    yield build
    yield GaugeMetricFamily("perceptron_ready", "Whether the process that answered would say so at /readyz.", is_ready)
    yield GaugeMetricFamily("perceptron_redis_up", "Whether Redis answers.", workload is not None)
    if workload is not None:
        yield from _jobs(workload)
        yield from _webhooks(workload)
        if workload.counters is not None:
            yield from _counted(workload.counters)
        if workload.workers is not None:
            busy = sum(worker.state == "busy" for worker in workload.workers)
            yield GaugeMetricFamily("perceptron_workers", "Registered training workers.", len(workload.workers))
            yield GaugeMetricFamily("perceptron_workers_busy", "Workers that train.", busy)
            yield from _rq_workers(list(workload.workers))
        yield from _rq_jobs(workload)
        if workload.memory_bytes is not None:
            used, limit = workload.memory_bytes, workload.memory_limit_bytes or 0
            yield GaugeMetricFamily("perceptron_redis_memory_used_bytes", "Memory that Redis uses.", used)
            yield GaugeMetricFamily("perceptron_redis_memory_limit_bytes", "Its maxmemory; 0: it has none.", limit)


def _jobs(workload: Workload) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("perceptron_jobs", "Training jobs by state.", labels=["status"])
    for status, n in workload.n_jobs.items():
        jobs.add_metric([status], n)
    yield jobs
    if workload.n_entries is not None:
        yield GaugeMetricFamily("perceptron_queue_entries", "Entries that no worker has taken.", workload.n_entries)
    if workload.n_runnable is not None:
        text = "Queued jobs that free workers may begin: not those of tenants with as many running jobs as may be."
        yield GaugeMetricFamily("perceptron_jobs_runnable", text, workload.n_runnable)
    if workload.oldest_queued_s is not None:
        text = "Time since the oldest queued job that may begin was created; 0: there is none."
        yield GaugeMetricFamily("perceptron_queue_oldest_age_seconds", text, workload.oldest_queued_s)


def _webhooks(workload: Workload) -> Iterator[Metric]:
    if workload.counters is not None:
        deliveries = CounterMetricFamily(
            "perceptron_webhook_deliveries", "Attempts to tell a webhook the end of a job.", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            deliveries.add_metric([outcome], workload.counters.get(counter_of(outcome), 0))
        yield deliveries
    if workload.n_webhooks is not None:
        yield GaugeMetricFamily("perceptron_webhooks_waiting", "Ends of jobs still to be told.", workload.n_webhooks)
    if workload.webhooks_overdue_s is not None:
        text = "Time since the oldest attempt that is due became so, until its outcome is noted; 0: none is due."
        yield GaugeMetricFamily("perceptron_webhooks_overdue_seconds", text, workload.webhooks_overdue_s)


def _counted(counters: Mapping[str, int]) -> Iterator[Metric]:
    ended = CounterMetricFamily("perceptron_jobs_ended", "Jobs that ended, by their last state.", labels=["status"])
    for counter, status in _ENDED.items():
        ended.add_metric([status], counters.get(counter, 0))
    yield ended
    for counter, (name, text) in _COUNTERS.items():
        yield CounterMetricFamily(name, text, counters.get(counter, 0))


def _rq_workers(workers: list[WorkerFigures]) -> Iterator[Metric]:
    """The names and labels of rq-exporter 3.1, so that its dashboards work."""
    of_worker = ["name", "queues"]
    states = GaugeMetricFamily("rq_workers", "RQ workers", labels=["name", "state", "queues"])
    succeeded = CounterMetricFamily("rq_workers_success", "RQ workers success count", labels=of_worker)
    failed = CounterMetricFamily("rq_workers_failed", "RQ workers fail count", labels=of_worker)
    working = CounterMetricFamily("rq_workers_working_time", "RQ workers spent seconds", labels=of_worker)
    for worker in workers:
        states.add_metric([worker.name, worker.state, worker.queues], 1)
        succeeded.add_metric([worker.name, worker.queues], worker.n_succeeded)
        failed.add_metric([worker.name, worker.queues], worker.n_failed)
        working.add_metric([worker.name, worker.queues], worker.working_s)
    yield from (states, succeeded, failed, working)


def _rq_jobs(workload: Workload) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("rq_jobs", "RQ jobs by state", labels=["queue", "status"])
    for status, ours in _RQ_STATUS.items():
        n = workload.n_jobs.get(ours, 0) if ours else 0
        jobs.add_metric([QUEUE_NAME, status], (workload.n_entries or 0) if status == "queued" else n)
    yield jobs
