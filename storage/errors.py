"""What can go wrong in storage.

    StorageError
    |-- UnavailableError
    |   |-- MissingCommandsError
    |   `-- RedisAwayError
    |       `-- RedisSilentError
    |-- QueueFullError
    |-- DatasetsFullError
    |-- JobNotFoundError
    |-- JobAlreadyDoneError
    |-- NoNetworkError
    |-- StaleAttemptError
    |-- IdempotencyKeyReusedError
    |-- ModelNotFoundError
    |-- VersionNotFoundError
    |-- AliasNotFoundError
    |-- VersionInUseError
    |-- DatasetNotFoundError
    |-- DatasetInUseError
    |-- AccessKeyNotFoundError
    |-- AccessKeyEndedError
    |-- AccessKeyRotatedError
    |-- OpenToAllError
    |-- BlobNotFoundError
    |-- BlobStoreUnavailableError
    |   `-- WrongBlobStoreError
    |-- BlobUrlError
    |-- RedisUrlError
    `-- CorruptDataError

Knows nothing of redis-py: `availability` says which of its errors are an `UnavailableError`.
"""

from collections.abc import Sequence

from storage.tenants import local


class StorageError(Exception):
    """Base of all storage errors."""


def _shown(name: str) -> str:
    """Return a name as messages show it: as its tenant knows it, and no more than what a real one may have."""
    name = local(name)
    return repr(name if len(name) <= 128 else f"{name[:128]}...")


class UnavailableError(StorageError):
    """A store refuses now what it may take later. The message names no path and no address: clients may see it."""

    def __init__(self, message: str = "the store of jobs and models cannot be reached or takes no writes now") -> None:
        super().__init__(message)


class MissingCommandsError(UnavailableError):
    """Redis does not have, or denies, commands that are needed."""

    def __init__(self, commands: Sequence[str]) -> None:
        names = ", ".join(commands)
        super().__init__(
            f"Redis does not have or denies {names} (on keys perceptron:* and rq:*), which is needed: allow what "
            "docs/operations.md lists under Commands, or use another Redis"
        )
        self.commands = tuple(commands)


class RedisUrlError(StorageError):
    """REDIS_URL cannot be read. The message quotes nothing of it: any part may be one of the password."""

    def __init__(self) -> None:
        super().__init__(
            "REDIS_URL must begin with redis://, rediss:// or unix://, have a port from 0 to 65535, and /, ?, #, @ and "
            "% in its password must be percent-encoded"
        )


class RedisAwayError(UnavailableError):
    """Redis cannot be reached, does not answer in time, or is not the one with our data."""

    def __init__(
        self, message: str = "Redis cannot be reached: does it run, and is the address in REDIS_URL right?"
    ) -> None:
        super().__init__(message)


class RedisSilentError(RedisAwayError):
    """Redis does not answer in time."""

    def __init__(self, message: str = "Redis does not answer in time") -> None:
        super().__init__(message)


class QueueFullError(StorageError):
    """As many jobs of the tenant wait as may."""

    def __init__(self, max_queued: int) -> None:
        super().__init__(f"{max_queued:,} jobs wait, and no more may (MAX_TENANT_QUEUED_JOBS): send it again later")


class DatasetsFullError(StorageError):
    """The data sets of the tenant would take more bytes than they may."""

    def __init__(self, n_bytes: int, max_bytes: int) -> None:
        super().__init__(
            f"with this one, the data sets would take {n_bytes:,} bytes of at most {max_bytes:,} "
            "(MAX_TENANT_DATASET_BYTES): delete some first"
        )


class JobNotFoundError(StorageError):
    """No job has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"there is no job {_shown(job_id)}")
        self.job_id = job_id


class JobAlreadyDoneError(StorageError):
    """The job has succeeded or failed, so it cannot be cancelled."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(f"job {_shown(job_id)} has already {status} and cannot be cancelled")
        self.job_id = job_id
        self.status = status


class NoNetworkError(StorageError):
    """The job has no network to predict with: it has just begun, or it is done."""

    def __init__(self, job_id: str, status: str) -> None:
        if status == "succeeded":
            reason = "has finished; predict with its version"
        else:
            yet = " yet" if status in ("queued", "running") else ""
            reason = f"is {status} and has no network{yet}"
        super().__init__(f"job {_shown(job_id)} {reason}")
        self.job_id = job_id
        self.status = status


class StaleAttemptError(StorageError):
    """The attempt no longer owns its job: the job was cancelled, taken over, or is done."""

    def __init__(self, job_id: str, attempt: int) -> None:
        super().__init__(f"attempt {attempt} no longer owns job {_shown(job_id)}")
        self.job_id = job_id
        self.attempt = attempt


class IdempotencyKeyReusedError(StorageError):
    """An earlier, different request came with the same Idempotency-Key."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"this Idempotency-Key was used for another request, which made job {_shown(job_id)}")
        self.job_id = job_id


class ModelNotFoundError(StorageError):
    """No model has this name."""

    def __init__(self, model: str) -> None:
        super().__init__(f"there is no model {_shown(model)}")
        self.model = model


class VersionNotFoundError(StorageError):
    """The model has no such version."""

    def __init__(self, model: str, version: int | str) -> None:
        super().__init__(f"model {_shown(model)} has no version {version}")
        self.model = model
        self.version = version


class AliasNotFoundError(StorageError):
    """The model has no such alias."""

    def __init__(self, model: str, alias: str) -> None:
        super().__init__(f"model {_shown(model)} has no alias {alias!r}")
        self.model = model
        self.alias = alias


class VersionInUseError(StorageError):
    """An alias points at the version, so it cannot be deleted."""

    def __init__(self, model: str, version: int, alias: str) -> None:
        super().__init__(f"alias {alias!r} points at version {version} of model {_shown(model)}; move the alias first")
        self.model = model
        self.version = version
        self.alias = alias


class DatasetNotFoundError(StorageError):
    """No data set has this id."""

    def __init__(self, dataset_id: str) -> None:
        super().__init__(f"there is no data set {_shown(dataset_id)}")
        self.dataset_id = dataset_id


class DatasetInUseError(StorageError):
    """A job that is not done needs the data set, so it cannot be deleted."""

    def __init__(self, dataset_id: str, job_id: str) -> None:
        super().__init__(
            f"job {_shown(job_id)} needs data set {_shown(dataset_id)}; wait until it is done, or cancel it"
        )
        self.dataset_id = dataset_id
        self.job_id = job_id


class AccessKeyNotFoundError(StorageError):
    """No access key has this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no access key {_shown(key_id)}")
        self.key_id = key_id


class AccessKeyEndedError(StorageError):
    """The access key was revoked or has expired."""

    def __init__(self, key_id: str, reason: str) -> None:
        how = "was revoked" if reason == "revoked" else "has expired"
        super().__init__(f"access key {key_id!r} {how}; make another one with 'perceptron keys create'")
        self.key_id = key_id
        self.reason = reason


class AccessKeyRotatedError(StorageError):
    """The access key was rotated before, so another key has its rights already."""

    def __init__(self, key_id: str, successor: str) -> None:
        super().__init__(
            f"access key {_shown(key_id)} was rotated before, into {_shown(successor)}: rotate that one, or make "
            "another one with 'perceptron keys create'"
        )
        self.key_id = key_id
        self.successor = successor


class OpenToAllError(StorageError):
    """The API would let everybody in who reaches it from another machine."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"other machines can reach {address}, and there is no access key, so everybody could do everything: make "
            "a key with 'perceptron keys create --scope admin', or let everybody in with --insecure (INSECURE=true)"
        )
        self.address = address


class BlobNotFoundError(StorageError):
    """The blob store has no blob with this digest."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"there is no blob with sha256 {digest}")
        self.digest = digest


class BlobStoreUnavailableError(StorageError):
    """The blob store cannot be read or written: no space, no permission, no connection."""


class BlobStoreBeingMarkedError(BlobStoreUnavailableError):
    """Another process writes the store identity beside the blobs at this moment."""


class WrongBlobStoreError(BlobStoreUnavailableError):
    """The blob store is not the one in which our jobs have their instances. Clients may see the message."""

    def __init__(self, found: str | None) -> None:
        has = "no store identity" if found is None else f"the store identity {found}"
        super().__init__(
            f"the blob store is not the one of this Redis: it has {has}. Mount it, or name it with DATA_DIR or "
            "BLOB_URL; to use it as it is, run `perceptron init --accept-loss`"
        )


class BlobUrlError(StorageError):
    """Nothing that is installed can reach BLOB_URL."""

    def __init__(self, scheme: str, reason: str) -> None:
        super().__init__(f"BLOB_URL begins with {scheme}://, which nothing that is installed can reach: {reason}")


class CorruptDataError(StorageError):
    """What is stored in Redis or in the blob store is not what was written there."""
