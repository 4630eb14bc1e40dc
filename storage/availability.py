"""Which errors mean that a store is away, full or not ours: the caller tries again later."""

from redis import exceptions

from storage.errors import BlobStoreUnavailableError, StorageError


class ReplacedRedisError(StorageError, exceptions.ConnectionError):
    """This Redis was emptied, or is another one than the data of this installation was in.

    It is as good as none, so whoever waits for a Redis that is away waits for the right one, too.
    """

    def __init__(self, found: str | None, expected: str) -> None:
        has = "has no data of this service" if found is None else f"has the data of epoch {found}"
        super().__init__(
            f"Redis was emptied or replaced: it {has}, and the blob store belongs to epoch {expected}. "
            "Bring its data back, or give it up for lost with `perceptron init --accept-loss`"
        )


UNAVAILABLE_ERRORS: tuple[type[Exception], ...] = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.NoPermissionError,
    exceptions.ExecAbortError,  # a command of a transaction was refused for one of the reasons around here
    BlobStoreUnavailableError,
)

# The server cannot write its snapshot or append-only file; it has too few replicas.
_REFUSALS = ("MISCONF", "NOREPLICAS")


def is_full(error: BaseException) -> bool:
    """Whether a store has no room: reading from it goes on, and so does what frees some."""
    return isinstance(error, exceptions.OutOfMemoryError) or (
        isinstance(error, exceptions.ResponseError) and str(error).startswith("MISCONF")
    )


def is_unavailable(error: BaseException) -> bool:
    """Whether the stores refuse what they would take at another time."""
    return isinstance(error, UNAVAILABLE_ERRORS) or (
        isinstance(error, exceptions.ResponseError) and str(error).startswith(_REFUSALS)
    )
