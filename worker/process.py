"""The RQ worker: a parent that listens, and a child that it forks to train.

RQ calls the child a work horse, hence the names of the methods that are overridden here.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue, Worker, worker_registration
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from storage.availability import is_unavailable
from storage.identity import StoreIdentity
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reconciler import Reconciler
from storage.jobs.store import JobStore
from storage.queue import QUEUE_NAME, TRAIN_TASK, TrainingQueue
from worker.guard import Guard, WorkerChild
from worker.health import HealthFile
from worker.tasks import prepare_child, request_stop

HAND_BACK_AFTER_S = 2.0
"""On SIGTERM a job may still finish within this time; then it is handed back, with a checkpoint.

After that, an epoch may last another 6 s. So the worker ends within 10 s, after which some process managers kill.
"""

END_AFTER_S = 15.0
"""A worker that still waits for a store this long after SIGTERM ends all the same; its job gets another attempt."""

HEARTBEAT_TTL_S = 12
"""Longer than three monitoring intervals, and shorter than RQ's default, which adds 60 s."""

READY_MESSAGE = "ready for training jobs"
"""Supervisors and tests wait for a line with this text."""

_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


class QueueEntry(RqJob):
    """An RQ job that can only run the training task.

    RQ calls whatever function its record in Redis names. Write access to Redis must not be enough to run any code.
    """

    def perform(self) -> Any:
        """Run the training task.

        Raises:
            PermissionError: the record names another function.
        """
        if self.func_name != TRAIN_TASK:
            raise PermissionError(f"this worker runs {TRAIN_TASK}, not {self.func_name}")
        return super().perform()


class TrainingWorker(Worker):
    """RQ's worker with settings that keep the time between a death and the next attempt short.

    It listens to a single queue. With several, RQ pops without its intermediate list, and a worker that is killed then
    loses the entry.
    """

    job_class = QueueEntry

    max_connection_wait_time = 5.0  # RQ's default: a minute, long after Redis is back

    def __init__(
        self,
        redis: Redis,
        identity: StoreIdentity,
        housekeeping: Housekeeping,
        health_file: HealthFile,
        *,
        max_attempts: int,
    ) -> None:
        queue = TrainingQueue(redis)
        super().__init__(
            Queue(queue.rq_queue.name, connection=redis, serializer="json", job_class=QueueEntry),
            connection=redis,
            serializer="json",
            worker_ttl=18,  # a blocking pop lasts worker_ttl - 15 s, and maintenance runs only between pops
            maintenance_interval=3,
            job_monitoring_interval=3,
            log_job_description=False,
        )
        self.log_result_lifespan = False
        self._identity = identity
        self._health_file = health_file
        self._jobs = JobStore(redis, queue)
        self._reconciler = Reconciler(
            redis, self._jobs, queue, holder=self.name, max_attempts=max_attempts, housekeeping=housekeeping
        )
        self._child: WorkerChild | None = None
        self._guard: Guard | None = None

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Register, subscribe, and say that the worker is ready."""
        super().bootstrap(*args, **kwargs)
        _log.info(READY_MESSAGE)

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        """Show that the worker goes on; called every few seconds, idle or in a training."""
        self._health_file.touch()
        super().heartbeat(*args, **kwargs)

    def get_heartbeat_ttl(self, job: RqJob, working_time: float = 0.0) -> int:
        """Return for how many seconds RQ believes that a silent execution is alive."""
        return HEARTBEAT_TTL_S

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Wait for a queue entry. RQ waits for a Redis that is away; this also waits for one that is full."""
        while True:
            try:
                return super().dequeue_job_and_maintain_ttl(timeout, max_idle_time)
            except ResponseError as error:
                if not is_unavailable(error):
                    raise
                _log.warning("waiting for Redis: %s", error)
                time.sleep(1)

    def run_maintenance_tasks(self) -> None:
        """Run RQ's maintenance and ours; called every few seconds while idle."""
        self._identity.check(self.connection)
        self._register_again()
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self._reconciler.run()

    def fork_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Fork the child that trains, and begin to watch it."""
        self._child = prepare_child()
        self._guard = Guard(self._child, self._jobs)
        super().fork_work_horse(job, queue)

    def maintain_heartbeats(self, job: RqJob, execution: Execution) -> None:
        """Watch the child, send RQ's heartbeat and run our maintenance; called every few seconds in a training."""
        try:
            self._identity.check(self.connection)
            reason = self._guard.reason_to_kill() if self._guard is not None else None
            if reason is not None:
                _log.warning("queue entry %s: its process %s and is killed", job.id, reason)
                self.kill_horse()
            self._register_again()
            super().maintain_heartbeats(job, execution)
            self._reconciler.run()
        except Exception as error:
            # An error here would end this process, and the training with it.
            if not is_unavailable(error):
                raise
            _log.warning("no maintenance while a job trains: %s", error)

    def _register_again(self) -> None:
        """Register again if Redis has forgotten this worker: it was away for long, or lost its data."""
        if not self.connection.sismember(WORKERS_BY_QUEUE_KEY % QUEUE_NAME, self.key):
            with self.connection.pipeline() as transaction:
                transaction.hset(self.key, mapping=self.serialize())
                worker_registration.register(self, transaction)
                transaction.expire(self.key, self.worker_ttl + 60)
                transaction.execute()
            _log.info("registered again as %s", self.name)

    def main_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Let the child die with its parent, then train."""
        parent = self.pid
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent died before the line above
                os._exit(1)
        super().main_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        """Let the child ignore Ctrl-C, which the parent handles, and hand its job back on SIGTERM."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, request_stop)

    def handle_warm_shutdown_request(self) -> None:
        """Let a short job finish and hand a long one back; called on the first SIGTERM or Ctrl-C."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        # The signal may have come between RQ's pop and its fork: then `_child` is the one before.
        if not (self.horse_pid and self._child is not None and self._child.is_waiting):
            time.sleep(HAND_BACK_AFTER_S)
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)
        time.sleep(END_AFTER_S - HAND_BACK_AFTER_S)
        _log.warning("ending without the stores, which do not answer")
        os._exit(0)  # as asked; the child dies with its parent
