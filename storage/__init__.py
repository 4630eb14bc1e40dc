"""Everything that is kept: jobs and models in Redis, instances in a blob store, and the queue's bell."""

from storage.blobs import BlobStore
from storage.checkpoints import Checkpoint, decode_checkpoint, encode_checkpoint
from storage.codec import decode_dataset, decode_model, encode_dataset, encode_model
from storage.connection import connect, connect_on_loop
from storage.epoch import Epoch, accept_loss
from storage.errors import (
    UNAVAILABLE_ERRORS,
    AliasNotFoundError,
    BlobNotFoundError,
    BlobStoreUnavailableError,
    CorruptDataError,
    IdempotencyKeyReusedError,
    JobAlreadyDoneError,
    JobNotFoundError,
    ModelNotFoundError,
    NoNetworkError,
    ReplacedRedisError,
    StaleAttemptError,
    StorageError,
    VersionInUseError,
    VersionNotFoundError,
    is_full,
    is_unavailable,
)
from storage.events import EVENT_ID_PATTERN, MAX_EVENTS, Event, decode_events
from storage.housekeeping import Housekeeping
from storage.job_record import DONE_STATUSES, JOB_STATUSES, BestNetwork, CheckpointReference, Claim, Job, JobStatus
from storage.jobs import JobStore
from storage.models import Model, ModelStore, Version
from storage.queue import QUEUE_NAME, TRAIN_TASK, TrainingQueue
from storage.reconciler import Reconciler
from storage.trained_model import TrainedModel, decode_best, decode_version
from storage.training_spec import DataReference, Sweep, TrainingSpec, VersionReference

__all__ = [
    "DONE_STATUSES",
    "EVENT_ID_PATTERN",
    "JOB_STATUSES",
    "MAX_EVENTS",
    "QUEUE_NAME",
    "TRAIN_TASK",
    "UNAVAILABLE_ERRORS",
    "AliasNotFoundError",
    "BestNetwork",
    "BlobNotFoundError",
    "BlobStore",
    "BlobStoreUnavailableError",
    "Checkpoint",
    "CheckpointReference",
    "Claim",
    "CorruptDataError",
    "DataReference",
    "Epoch",
    "Event",
    "Housekeeping",
    "IdempotencyKeyReusedError",
    "Job",
    "JobAlreadyDoneError",
    "JobNotFoundError",
    "JobStatus",
    "JobStore",
    "Model",
    "ModelNotFoundError",
    "ModelStore",
    "NoNetworkError",
    "Reconciler",
    "ReplacedRedisError",
    "StaleAttemptError",
    "StorageError",
    "Sweep",
    "TrainedModel",
    "TrainingQueue",
    "TrainingSpec",
    "Version",
    "VersionInUseError",
    "VersionNotFoundError",
    "VersionReference",
    "accept_loss",
    "connect",
    "connect_on_loop",
    "decode_best",
    "decode_checkpoint",
    "decode_dataset",
    "decode_events",
    "decode_model",
    "decode_version",
    "encode_checkpoint",
    "encode_dataset",
    "encode_model",
    "is_full",
    "is_unavailable",
]
