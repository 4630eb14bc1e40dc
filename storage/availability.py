"""Which errors mean that a store is away, full or not ours, so that the caller should try again later."""

from redis import exceptions

from storage.errors import (
    BlobStoreUnavailableError,
    RedisAwayError,
    RedisSilentError,
    StorageError,
    UnavailableError,
    WrongBlobStoreError,
)


class ReplacedRedisError(StorageError, exceptions.ConnectionError):
    """Redis was emptied, or is not the one that holds the data of this installation.

    A connection error, so that code that waits for Redis to come back also waits for the right one.
    """

    def __init__(self, found: str | None, expected: str) -> None:
        has = "has no data of this service" if found is None else f"has store identity {found}"
        super().__init__(
            f"Redis was emptied or replaced: it {has}, but the blob store has store identity {expected}. "
            "Restore the data of Redis, or give it up with `perceptron init --accept-loss`"
        )


UNAVAILABLE_ERRORS: tuple[type[Exception], ...] = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.NoPermissionError,
    exceptions.ExecAbortError,  # a transaction had a command that was refused for one of these reasons
    BlobStoreUnavailableError,
    UnavailableError,
)

# The server cannot write its snapshot or append-only file; it has too few replicas.
_REFUSALS = ("MISCONF", "NOREPLICAS")


def is_full(error: BaseException) -> bool:
    """Whether a store has no room: reads still work, and so do writes that free memory."""
    return isinstance(error, exceptions.OutOfMemoryError) or (
        isinstance(error, exceptions.ResponseError) and str(error).startswith("MISCONF")
    )


def is_unavailable(error: BaseException) -> bool:
    """Whether a store refuses now what it may take later."""
    return isinstance(error, UNAVAILABLE_ERRORS) or (
        isinstance(error, exceptions.ResponseError) and str(error).startswith(_REFUSALS)
    )


def as_unavailable(error: BaseException) -> UnavailableError | None:
    """Return the `UnavailableError` for an error; None if it does not mean that a store is unavailable."""
    match error:
        case UnavailableError():
            return error
        case ReplacedRedisError():
            return RedisAwayError(str(error))
        case WrongBlobStoreError():
            return UnavailableError(str(error))
        case BlobStoreUnavailableError():
            return UnavailableError("the blob store cannot be reached or takes nothing now")
        case exceptions.TimeoutError():
            return RedisSilentError()
        case exceptions.ConnectionError():
            return RedisAwayError()
    return UnavailableError() if is_unavailable(error) else None
