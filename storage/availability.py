"""Which errors mean that a store is away, full or not ours, so that the caller should try again later."""

import re

from redis import exceptions

from storage.errors import (
    BlobStoreUnavailableError,
    MissingCommandsError,
    RedisAwayError,
    RedisSilentError,
    StorageError,
    UnavailableError,
    WrongBlobStoreError,
)
from storage.log.faults import without_commands


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


class NewerSchemaError(StorageError, exceptions.ConnectionError):
    """A newer release wrote what is in Redis, in a way that this one does not know.

    A connection error, so that code that waits for Redis to come back also waits for one that it can read.
    """

    def __init__(self, found: str, known: int, release: str) -> None:
        super().__init__(
            f"the data in Redis needs release {release or 'of a later date'} or newer: perceptron:schema is {found!r}, "
            f"and this release knows schema {known}. Run the newer release, or restore the backup from before it"
        )


UNAVAILABLE_ERRORS: tuple[type[Exception], ...] = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    BlobStoreUnavailableError,
    UnavailableError,
)

# An answer of Redis begins with a code. These are about a command or its data, so they are faults of ours. Every other
# one is about the server: LOADING, BUSY, READONLY, MISCONF, OOM, NOSCRIPT, NOPERM, MASTERDOWN, NOREPLICAS, ...
_CODES_OF_COMMANDS = {"ERR", "WRONGTYPE", "NOGROUP", "BUSYGROUP", "BUSYKEY", "CROSSSLOT", "NOPROTO"}

# Answers with ERR that are about the server all the same.
_ABOUT_THE_SERVER = re.compile(
    r"unknown command|unknown subcommand|max number of clients|ACL failure|no permissions|not allowed from script"
    r"|replica|cluster support|[Dd]isk|AOF"
)

# Redis before 7 wraps the answer that a command of a script got: "Error running script (...): @user_script:3: -OOM".
_WITHIN_A_SCRIPT = re.compile(r"Error running script.*?: -?([A-Z]{2,})\b")

_DENIED_COMMAND = re.compile(r"no permissions to run the '([\w|]+)' command")


def _code_of(error: exceptions.ResponseError) -> str:
    """Return the code with which Redis began its answer, such as OOM; that of a script is the code in it."""
    # redis-py puts the command of a pipeline before the answer.
    code = error.status_code or str(error).rpartition(" of pipeline caused error: ")[2].partition(" ")[0]
    if (within := _WITHIN_A_SCRIPT.search(str(error))) is not None:
        return within[1]
    return code if code.isupper() and code.isalpha() else "ERR"


def is_unavailable(error: BaseException) -> bool:
    """Whether a store refuses now what it may take later."""
    if isinstance(error, exceptions.ResponseError):
        if is_wrong_type(error):
            return False  # the error names a key, in which any word may be
        return _code_of(error) not in _CODES_OF_COMMANDS or _ABOUT_THE_SERVER.search(str(error)) is not None
    return isinstance(error, UNAVAILABLE_ERRORS)


def is_wrong_type(error: BaseException) -> bool:
    """Whether a key of Redis holds another type of value than we write there, so what was there is lost."""
    return isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error)


def as_unavailable(error: BaseException) -> UnavailableError | None:
    """Return the `UnavailableError` for an error; None if it does not mean that a store is unavailable."""
    match error:
        case UnavailableError():
            return error
        case ReplacedRedisError() | NewerSchemaError():
            return RedisAwayError(str(error))
        case WrongBlobStoreError():
            return UnavailableError(str(error))
        case BlobStoreUnavailableError():
            return UnavailableError("the blob store cannot be reached or takes nothing now")
        case exceptions.TimeoutError():
            return RedisSilentError()
        case exceptions.BusyLoadingError():
            return RedisAwayError("Redis is loading its data, which takes a while after a restart")
        case exceptions.AuthenticationError():
            return RedisAwayError(f"Redis refuses the login: REDIS_URL has {_login_fault(error)}")
        case exceptions.ConnectionError(__cause__=exceptions.ConnectionError() as cause):
            return as_unavailable(cause)  # redis-py wraps what happens while a connection of an event loop is made
        case exceptions.ConnectionError():
            return RedisAwayError()
        case exceptions.NoPermissionError() if (command := _DENIED_COMMAND.search(str(error))) is not None:
            return MissingCommandsError([command[1].upper()])
        case exceptions.NoPermissionError():
            return UnavailableError("Redis denies the user of REDIS_URL a command, key or channel that is needed")
    if is_wrong_type(error):
        return UnavailableError(f"a key of Redis is damaged: {without_commands(str(error))}")
    return UnavailableError() if is_unavailable(error) else None


def explain(error: BaseException) -> str:
    """Return in one line, for a log, why a store is unavailable: with the address, which clients do not see."""
    reason = str(as_unavailable(error) or error)
    return f"{reason} ({error})" if reason in (str(RedisAwayError()), str(UnavailableError())) else reason


def _login_fault(error: exceptions.AuthenticationError) -> str:
    if error.status_code == "NOAUTH":
        return "no password, and this Redis wants one"
    if "without any password configured" in str(error) or "no password is set" in str(error):
        return "a password, and this Redis has none"
    return "the wrong user name or password"
