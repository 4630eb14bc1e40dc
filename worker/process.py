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
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq import Queue, Worker, worker_registration
from rq.executions import Execution
from rq.job import Job as RqJob
from rq.job import JobStatus
from rq.utils import now
from rq.worker import WorkerStatus
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from storage import alarm
from storage.availability import is_unavailable, is_wrong_type
from storage.damage import reported
from storage.identity import StoreIdentity
from storage.jobs.housekeeping import Housekeeping
from storage.jobs.reconciler import Reconciler
from storage.jobs.store import JobStore
from storage.log.alarm_codes import UNEXPECTED_ERROR
from storage.log.faults import message_of
from storage.log.form import members_of
from storage.queue import NO_TIME_LIMIT, QUEUE_NAME, TrainingQueue
from storage.workload import count_attempt, share_alarms
from worker.deadline import HandedBackError
from worker.guard import Guard, WorkerChild
from worker.health import HealthFile
from worker.tasks import Outcome, prepare_child, request_stop, train_model
from worker.webhooks.process import DelivererProcess

HAND_BACK_AFTER_S = 2.0
"""On SIGTERM a job may still finish within this time; then it is handed back, with a checkpoint.

After that, an epoch may last another 6 s. So the worker ends within 10 s, after which some process managers kill.
"""

END_AFTER_S = 15.0
"""A worker that still waits for a store this long after SIGTERM ends all the same; its job gets another attempt."""

MAINTAIN_EVERY_S = 3
"""How often an idle worker runs its maintenance; one whose child trains looks after that as often."""

READY_MESSAGE = "ready for training jobs"
"""Supervisors and tests wait for a line with this text."""

_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


class QueueEntry(RqJob):
    """What RQ's loop needs of a queue entry. RQ's record of it is not read: whoever can write to Redis could forge it.

    Args:
        job_id: of our job, and the only thing that comes from Redis.
    """

    def __init__(self, job_id: str, redis: Redis) -> None:
        super().__init__(job_id.replace("/", "-"), redis)  # RQ's name for it has no slash
        self.training_job_id = job_id
        self.timeout = NO_TIME_LIMIT

    def get_status(self, refresh: bool = True) -> JobStatus:
        """Return that all is done: what became of a training is in our record, so RQ has nothing to write."""
        return JobStatus.FINISHED


@contextmanager
def _if_possible() -> Iterator[None]:
    """Leave out what RQ writes about a worker while Redis does not take it: no work depends on it."""
    try:
        yield
    except Exception as error:
        if not (is_unavailable(error) or is_wrong_type(error)):
            raise
        _log.debug("not written: %s", error)


class TrainingWorker(Worker):
    """RQ's worker, reduced to what cannot be forged: its registration, and its loop that forks and watches a child.

    Of RQ's queue only the list of entries is used, and of an entry only the id of the job. So no callback, webhook,
    dependency or repeat of an entry runs, and there are no executions and registries to clean.
    """

    max_connection_wait_time = 5.0  # RQ's default: a minute, long after Redis is back

    def __init__(
        self,
        redis: Redis,
        identity: StoreIdentity,
        housekeeping: Housekeeping,
        health_file: HealthFile,
        *,
        max_running: int = 0,
        max_attempts: int,
        webhooks: DelivererProcess | None = None,
    ) -> None:
        queue = TrainingQueue(redis, max_running=max_running)
        super().__init__(
            [queue.rq_queue],
            connection=redis,
            serializer="json",
            worker_ttl=18,  # an idle worker waits worker_ttl - 15 s for an entry between two heartbeats
            job_monitoring_interval=MAINTAIN_EVERY_S,
        )
        self._identity = identity
        self._queue = queue
        self._health_file = health_file
        self._webhooks = webhooks
        self._jobs = JobStore(redis, queue)
        self._reconciler = Reconciler(
            redis, self._jobs, queue, holder=self.name, max_attempts=max_attempts, housekeeping=housekeeping
        )
        self._registration = f"{WORKERS_BY_QUEUE_KEY % QUEUE_NAME}, {self.redis_workers_keys} or {self.key}"
        self._maintained_at_s = float("-inf")
        self._child: WorkerChild | None = None
        self._guard: Guard | None = None

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Register, and say that the worker is ready."""
        super().bootstrap(*args, **kwargs)
        _log.info(READY_MESSAGE)

    def register_birth(self) -> None:
        """Register, or later, when the worker finds that it is not registered."""
        self.birth_date = self.last_heartbeat = now()
        with _if_possible():
            self._register()

    @_if_possible()
    def register_death(self) -> None:
        """Delete the registration; it expires otherwise."""
        super().register_death()  # type: ignore[no-untyped-call]

    @_if_possible()
    def set_state(self, state: str, pipeline: Pipeline | None = None) -> None:
        """Note what the worker does."""
        super().set_state(state, pipeline)

    @_if_possible()
    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Show that the worker goes on; called every few seconds, idle or in a training."""
        self._health_file.touch()
        super().heartbeat(timeout, pipeline)

    @_if_possible()
    def set_shutdown_requested_date(self) -> None:
        """Note that the worker was told to stop; called by a signal handler."""
        super().set_shutdown_requested_date()  # type: ignore[no-untyped-call]

    def subscribe(self) -> None:
        """Take no commands of RQ: a message must not be enough to stop a training or the worker."""

    def check_for_suspension(self, burst: bool) -> None:
        """Do not look whether somebody suspended the workers: a forged key must not be enough, and RQ writes here."""

    @property
    def should_run_maintenance_tasks(self) -> bool:
        """False: RQ's loop ends when maintenance meets an error, and its clock may be set back. Ours is `_maintain`."""
        return False

    def dequeue_job_and_maintain_ttl(
        self, timeout: int | None, max_idle_time: int | None = None
    ) -> tuple[RqJob, Queue] | None:
        """Wait for a queue entry, and before that for stores that are ours and take writes, and an undamaged queue.

        Returns:
            None if the worker must stop.
        """
        wait_s = 1.0
        while not self._stop_requested:
            try:
                self.set_state(WorkerStatus.IDLE)
                self.heartbeat()
                if time.monotonic() - self._maintained_at_s >= MAINTAIN_EVERY_S:
                    self._maintain()
                self._identity.check_blobs(self.connection)  # a job that is taken needs its instances
                if (job_id := self._queue.take(wait_s=self.dequeue_timeout)) is not None:
                    return QueueEntry(job_id, self.connection), self.queues[0]
            except Exception as error:
                if not (is_unavailable(error) or is_wrong_type(error)):
                    raise
                _log.warning("waiting for a store: %s", error)
                time.sleep(wait_s)
                wait_s = min(2 * wait_s, self.max_connection_wait_time)
        return None

    def _maintain(self) -> None:
        """Look after webhooks, after the registration of workers and after all jobs."""
        if self._webhooks is not None:
            self._webhooks.keep()
        self._identity.check(self.connection)
        self._reconciler.run()
        with reported(self._registration):
            if self._register():
                _log.info("registered again as %s", self.name)
            worker_registration.clean_worker_registry(self.queues[0])
        self._maintained_at_s = time.monotonic()

    def prepare_execution(self, job: RqJob) -> Execution:
        """Say that the worker is busy; RQ's record of an execution is not needed."""
        self.set_state(WorkerStatus.BUSY)
        execution = Execution("", job.id, self.connection)
        self.executions[execution.id] = execution  # RQ takes it out again
        return execution

    def fork_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Fork the child that trains, and begin to watch it."""
        self._child = prepare_child()
        self._guard = Guard(self._child, self._jobs)
        super().fork_work_horse(job, queue)

    def maintain_heartbeats(self, job: RqJob, execution: Execution) -> None:
        """Watch the child and run our maintenance; called every few seconds in a training."""
        try:
            self._identity.check(self.connection)  # first: in an emptied Redis no job is held
            reason = self._guard.reason_to_kill() if self._guard is not None else None
            if reason is not None:
                job_id = self._child.job_id if self._child is not None else job.id
                extra = members_of(job_id)
                _log.warning("job %s: its process %s and is killed", job_id, reason, extra=extra)
                self.kill_horse()
            self.heartbeat()
            self._maintain()
        except Exception as error:
            # An error here would end this process, and the training with it.
            if not (is_unavailable(error) or is_wrong_type(error)):
                raise
            _log.warning("no maintenance while a job trains: %s", error)

    def _register(self) -> bool:
        """Register, unless the worker is registered. Redis may have been away for long, or have lost its data."""
        if self.connection.sismember(WORKERS_BY_QUEUE_KEY % QUEUE_NAME, self.key):
            return False
        with self.connection.pipeline() as transaction:
            transaction.hset(self.key, mapping=self.serialize())
            worker_registration.register(self, transaction)
            transaction.expire(self.key, self.worker_ttl + 60)
            transaction.execute()
        return True

    def main_work_horse(self, job: RqJob, queue: Queue) -> None:
        """Let the child die with its parent, then train."""
        parent = self.pid
        if sys.platform == "linux":
            ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # the parent died before the line above
                os._exit(1)
        super().main_work_horse(job, queue)

    def perform_job(self, job: RqJob, queue: Queue, execution: Execution) -> bool:
        """Train, in the child; return whether it came to an end."""
        assert isinstance(job, QueueEntry), "as `dequeue_job_and_maintain_ttl` returns it"
        try:
            alarm.take()  # those before the fork are the parent's to count
            train_model(job.training_job_id, self._count)
        except Exception as error:
            details = None if is_unavailable(error) or isinstance(error, HandedBackError) else error
            reason = f"{type(error).__name__}: {message_of(error)}"
            extra = members_of(job.training_job_id) | ({"code": UNEXPECTED_ERROR} if details else {})
            _log.error("the process that took job %s ended early: %s", job.id, reason, exc_info=details, extra=extra)
            return False
        return True

    @_if_possible()
    def _count(self, outcome: Outcome, seconds: float) -> None:
        """Note, in the child, one more attempt in RQ's record of the worker: RQ's own tools and metrics show it."""
        share_alarms(self.connection)
        if outcome != "left":
            count_attempt(self.connection, self.key, is_success=outcome == "succeeded", seconds=seconds)

    def setup_work_horse_signals(self) -> None:
        """Let the child ignore Ctrl-C, which the parent handles, and hand its job back on SIGTERM."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, request_stop)

    def handle_warm_shutdown_request(self) -> None:
        """Let a short job finish and hand a long one back; called on the first SIGTERM or Ctrl-C."""
        super().handle_warm_shutdown_request()  # type: ignore[no-untyped-call]
        threading.Thread(target=self._end, daemon=True).start()

    def _shutdown(self) -> None:
        # RQ raises StopRequested in an idle worker. If that meets a line being logged, `logging` catches it.
        self._stop_requested = True
        super()._shutdown()  # type: ignore[no-untyped-call]

    def _end(self) -> None:
        # The signal may have come between RQ's pop and its fork: then `_child` is the one before.
        if not (self.horse_pid and self._child is not None and self._child.is_waiting):
            time.sleep(HAND_BACK_AFTER_S)
        if self.horse_pid:
            self.kill_horse(signal.SIGTERM)
        time.sleep(END_AFTER_S - HAND_BACK_AFTER_S)
        _log.warning("ending without the stores, which do not answer")
        os._exit(0)  # as asked; the child dies with its parent
