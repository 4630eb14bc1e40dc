"""The task function that RQ calls, and how it reports the errors of a training."""

import logging
import os
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Literal, TypeAlias

from threadpoolctl import ThreadpoolController

from perceptron import DivergedError, PerceptronError
from storage.alarm import report
from storage.availability import is_unavailable, is_wrong_type
from storage.blobs import BlobStore
from storage.connection import connect
from storage.errors import (
    BlobNotFoundError,
    BlobStoreUnavailableError,
    ModelNotFoundError,
    StaleAttemptError,
    VersionNotFoundError,
)
from storage.identity import StoreIdentity
from storage.jobs.attempt import Attempt
from storage.jobs.reports import JobError
from storage.jobs.store import JobStore
from storage.log import traces
from storage.log.faults import message_of
from storage.log.form import add, doing, members_of
from storage.log.unexpected import log_unexpected
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from storage.tenants import local
from worker.deadline import TIME_LIMIT_ERROR, HandedBackError, TimeUpError
from worker.guard import WorkerChild
from worker.heartbeat import Heartbeat
from worker.memory import limit_memory
from worker.settings import Settings
from worker.stores import Patience, tell
from worker.training import run_training

_log = logging.getLogger(__name__)
_stop_requested = threading.Event()
_THREAD_POOLS = ThreadpoolController()  # made by the parent: finding the libraries takes 5 ms
_child = WorkerChild()

STAY_S = 2.0
"""A child without a job waits this long for another one: to fork a child takes longer than a small training."""

LIFE_S = 60.0
"""After this time, a child takes no further job, and a new one starts with fresh memory."""

Outcome: TypeAlias = Literal["succeeded", "failed", "out_of_memory", "left"]
"""What became of an attempt. `left`: another one goes on with the job, or nobody needs it any more."""

_STOP_CHECK_S = 0.2
"""How soon a child that waits notices that it must stop."""


def prepare_child() -> WorkerChild:
    """Make, in the parent, what it shares with the child that it forks next."""
    global _child
    _child = WorkerChild()
    return _child


def request_stop(_signal_number: int, _frame: FrameType | None) -> None:
    """Signal handler: let the running training end after its epoch, so that the job can be handed back."""
    _stop_requested.set()


def train_model(job_id: str, count: Callable[[Outcome, float], None] = lambda outcome, seconds: None) -> None:
    """Train the job with this id, unless it needs no training any more, and then those that are queued behind it.

    However this ends, the job's record says so. Only when Redis or this process is lost does it stay `running`, and
    then the reconciler gives it another attempt.

    Args:
        count: called after each attempt with what became of it and how many seconds it took.
    """
    settings = Settings.from_env(os.environ)
    traces.begin("worker", os.environ)
    limit_memory(settings.max_training_bytes)
    blobs = BlobStore(settings.stores.blob_url)
    identity = StoreIdentity(blobs)
    redis = connect(settings.stores.redis_url, timeout_s=5, n_retries=60, identity=identity)
    queue = TrainingQueue(redis, max_running=settings.max_tenant_running_jobs)
    jobs, models = JobStore(redis, queue), ModelStore(redis)
    life_ends_at = time.monotonic() + LIFE_S
    next_id: str | None = job_id
    try:
        while next_id is not None:
            try:
                identity.check_blobs(redis)
            except BlobStoreUnavailableError as error:
                extra = members_of(next_id)
                _log.warning("job %s is left to a worker with its instances: %s", next_id, error, extra=extra)
                return  # the reconciler enqueues it again
            began_at = time.monotonic()
            outcome = _claim_and_train(next_id, jobs, models, blobs, settings)
            count(outcome, time.monotonic() - began_at)
            # What filled the memory may be there still: the next job gets a child of its own.
            next_id = None if outcome == "out_of_memory" else _next_job(queue, life_ends_at)
    finally:
        traces.end()  # once, as a collector that is away takes its time


def _next_job(queue: TrainingQueue, life_ends_at: float) -> str | None:
    """Take the next job from the queue, or wait a while for one; None if the child must end."""
    _child.wait()
    until = min(time.monotonic() + STAY_S, life_ends_at)
    while not _stop_requested.is_set() and (left_s := until - time.monotonic()) > 0:
        if (job_id := queue.take(wait_s=min(left_s, _STOP_CHECK_S))) is not None:
            return job_id
    return None


def _claim_and_train(job_id: str, jobs: JobStore, models: ModelStore, blobs: BlobStore, settings: Settings) -> Outcome:
    """Train the job, unless it needs no training any more."""
    _child.begin(job_id)
    with doing(**members_of(job_id)):
        attempt = jobs.claim(job_id, _child.token)
        if attempt is None:
            _log.info("job %s needs no training", job_id)
            return "left"
        add(attempt=attempt.number, model=local(attempt.job.model))
        job, parent = attempt.job, attempt.job.trace or {}
        traces.waited("queue", parent=parent, began_at_ms=job.enqueued_at_ms or job.created_at_ms)
        with traces.span("attempt", kind="consumer", parent=parent, job_id=local(job_id), attempt=attempt.number):
            _log.info("job %s: attempt %d starts", job_id, attempt.number)
            try:
                return _train(attempt, models, blobs, settings)
            except StaleAttemptError as error:
                _log.info("job %s: %s", job_id, error)
                return "left"


def _train(attempt: Attempt, models: ModelStore, blobs: BlobStore, settings: Settings) -> Outcome:
    """Train the job.

    Raises:
        StaleAttemptError: the job is no longer this attempt's.
    """
    job, deadline, began_at = attempt.job, _child.deadline, time.monotonic()
    patience = Patience(time.monotonic, time.sleep, _stop_requested.is_set)
    try:
        deadline.install()
        # The training shares its rows among its own threads; those of BLAS would only get in their way.
        with Heartbeat(attempt, _stop_requested, deadline), _THREAD_POOLS.limit(limits=1):
            version = run_training(
                attempt,
                models=models,
                blobs=blobs,
                deadline=deadline,
                stop_requested=_stop_requested.is_set,
                n_threads=settings.training_threads,
            )
        published = {"version": version, "duration_ms": _ms_since(began_at)}
        _log.info("job %s: published version %d of model %s", job.id, version, job.model, extra=published)
        return "succeeded"
    except StaleAttemptError:
        raise
    except (Exception, HandedBackError, TimeUpError) as error:
        deadline.lift()
        is_missing = isinstance(error, BlobNotFoundError)
        is_damaged = is_missing or is_wrong_type(error)
        if is_damaged:
            damage = message_of(error)
            report(f"job {job.id}: {damage}")
            tell(attempt, f"{damage}: the job waits until that is put right, and can be cancelled")
        if is_damaged or isinstance(error, HandedBackError) or is_unavailable(error):
            # A store that is away, full, loading, damaged or without a blob is no fault of the job, which waits for it.
            patience.with_store(lambda: attempt.hand_back(is_urgent=not is_damaged))
            reason = message_of(error) if str(error) else "the worker stops"
            _log.info("job %s: handed back: %s", job.id, reason, extra={"duration_ms": _ms_since(began_at)})
            return "left"
        failure = _failure(error)
        if failure.code == "internal":
            log_unexpected(_log, error, "job %s: attempt %d met an unexpected error", job.id, attempt.number)
        patience.with_store(lambda: attempt.fail(failure))
        # Its details may quote the data: they are for the owner of the job, in its record.
        _log.info("job %s: failed: %s", job.id, failure.code, extra={"duration_ms": _ms_since(began_at)})
        return "out_of_memory" if failure.code == "out_of_memory" else "failed"


def _ms_since(began_at: float) -> int:
    return round(1e3 * (time.monotonic() - began_at))


def _failure(error: BaseException) -> JobError:
    """Explain an error of a training to the owner of the job."""
    match error:
        case DivergedError():
            return JobError("diverged", str(error))
        case PerceptronError():
            return JobError("invalid_data", str(error))
        case ModelNotFoundError() | VersionNotFoundError():
            return JobError("invalid_data", f"the version to start from was deleted: {error}")
        case MemoryError():
            return JobError("out_of_memory", "the training needs more memory than MAX_TRAINING_BYTES allows")
        case TimeUpError():
            return TIME_LIMIT_ERROR
        case _:
            return JobError("internal", f"unexpected {type(error).__name__}; the worker's log has the details")
