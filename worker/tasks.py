"""RQ's task functions: wiring only."""

import logging
import os
import threading
import time
from types import FrameType

from rq.timeouts import JobTimeoutException
from threadpoolctl import ThreadpoolController

from perceptron import DivergedError, PerceptronError
from storage.availability import is_full, is_unavailable
from storage.blobs import BlobStore
from storage.connection import connect
from storage.errors import BlobStoreUnavailableError, ModelNotFoundError, StaleAttemptError, VersionNotFoundError
from storage.identity import StoreIdentity
from storage.jobs.record import Claim
from storage.jobs.store import JobStore
from storage.models.store import ModelStore
from storage.queue import TrainingQueue
from worker.deadline import TimeUpError, time_limit_error
from worker.guard import WorkHorse
from worker.heartbeat import Heartbeat
from worker.settings import Settings
from worker.training import run_training
from worker.watch import HandedBackError

_log = logging.getLogger(__name__)
_stop_requested = threading.Event()
_THREAD_POOLS = ThreadpoolController()  # made by the parent: finding the libraries takes 5 ms
_horse = WorkHorse()

STAY_S = 1.0
"""A work horse takes the next job by itself for so long: to fork another one costs more than a small training."""


def prepare_work_horse() -> WorkHorse:
    """Make what the parent that calls this and the child that it forks next have in common."""
    global _horse
    _horse = WorkHorse()
    return _horse


def request_stop(_signal_number: int, _frame: FrameType | None) -> None:
    """Signal handler: let the running training end after its epoch, so that the job can be handed back."""
    _stop_requested.set()


def train_model(job_id: str) -> None:
    """Train the job with this id, unless it needs no training any more; and, for a second, those that wait behind it.

    However this ends, the job's record says so: only the loss of Redis or of the process leaves it `running`, and
    then the reconciler gives it another attempt.
    """
    settings = Settings.from_env(os.environ)
    blobs = BlobStore(settings.stores.blob_url)
    redis = connect(settings.stores.redis_url, timeout_s=5, n_retries=60, identity=StoreIdentity(blobs))
    queue = TrainingQueue(redis)
    jobs, models = JobStore(redis, queue), ModelStore(redis)
    until = time.monotonic() + STAY_S
    next_id: str | None = job_id
    while next_id is not None:
        _claim_and_train(next_id, jobs, models, blobs, settings)
        is_to_go = time.monotonic() >= until or _stop_requested.is_set()
        next_id = None if is_to_go else queue.take()


def _claim_and_train(job_id: str, jobs: JobStore, models: ModelStore, blobs: BlobStore, settings: Settings) -> None:
    _horse.begin(job_id)
    claim = jobs.claim(job_id, _horse.token)
    if claim is None:
        _log.info("job %s needs no training", job_id)
        return
    _log.info("job %s: attempt %d starts", job_id, claim.attempt)
    try:
        _train(claim, jobs, models, blobs, settings)
    except StaleAttemptError as error:
        _log.info("job %s: %s", job_id, error)


def _train(claim: Claim, jobs: JobStore, models: ModelStore, blobs: BlobStore, settings: Settings) -> None:
    try:
        # The training shares its rows among threads of its own; BLAS's would only get in their way.
        deadline = _horse.deadline
        deadline.install()
        with Heartbeat(claim, jobs, _stop_requested, deadline), _THREAD_POOLS.limit(limits=1):
            version = run_training(
                claim,
                jobs=jobs,
                models=models,
                blobs=blobs,
                clock=time.monotonic,
                stop_requested=_stop_requested.is_set,
                n_threads=settings.training_threads,
                deadline=deadline,
            )
        _log.info("job %s: published version %d of model %s", claim.job.id, version, claim.job.model)
    except StaleAttemptError:
        raise  # no longer this attempt's to decide
    except HandedBackError:
        jobs.hand_back(claim)
        _log.info("job %s: handed back", claim.job.id)
    except DivergedError as error:
        _fail(claim, jobs, "diverged", str(error))
    except PerceptronError as error:
        _fail(claim, jobs, "invalid_data", str(error))
    except (ModelNotFoundError, VersionNotFoundError) as error:
        _fail(claim, jobs, "invalid_data", f"the version to start from was deleted: {error}")
    except MemoryError:
        _fail(claim, jobs, "out_of_memory", "the worker has too little memory for this data set and network")
    except TimeUpError:
        jobs.fail(claim, time_limit_error())
        _log.info("job %s: failed: its time limit passed before there was a network", claim.job.id)
    except JobTimeoutException as error:
        _fail(claim, jobs, "time_limit", str(error))
    except BlobStoreUnavailableError as error:
        jobs.hand_back(claim)  # no worker can do without it: the job waits for it
        _log.warning("job %s: handed back: %s", claim.job.id, error)
    except Exception as error:
        if is_full(error):
            _fail(claim, jobs, "internal", f"the storage is full, and the network could not be published: {error}")
            return
        if is_unavailable(error):
            raise  # nobody there to tell: the reconciler finds the silent attempt
        _log.exception("job %s: attempt %d met an unexpected error", claim.job.id, claim.attempt)
        _fail(claim, jobs, "internal", f"unexpected {type(error).__name__}; the worker's log has the details")


def _fail(claim: Claim, jobs: JobStore, code: str, detail: str) -> None:
    jobs.fail(claim, {"code": code, "detail": detail})
    _log.info("job %s: failed: %s: %s", claim.job.id, code, detail)
