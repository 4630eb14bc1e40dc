"""From an error to one paragraph: what is wrong, where, and what to do next."""

import errno
import sys

import click


def explain_failure(error: BaseException) -> str:
    """Return the paragraph for an error that ended a command."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, UnicodeEncodeError) or isinstance(error.__cause__, UnicodeEncodeError):
        return "an argument holds characters that this locale does not know: set LC_ALL=C.UTF-8"
    if isinstance(error, Exception) and _is_of(error, "perceptron_client.errors", "PerceptronError"):
        from cli.remote.service_errors import explain_service_error

        return explain_service_error(error)
    if _is_of(error, "standalone.errors", "StandaloneError"):
        return str(error)
    if isinstance(error, OSError):
        return _explain_os_error(error)
    if isinstance(error, MemoryError):
        return "the memory of this machine is exhausted: close other programs, or send fewer rows at a time"
    return (
        f"unexpected {type(error).__name__}: {str(error)[:300]}. This is a fault of the command: "
        "'--debug' shows where it happened; please report that"
    )


def _is_of(error: BaseException, module: str, name: str) -> bool:
    """Whether the error is of a class whose module need not be imported to know it."""
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(error, getattr(loaded, name))


def _explain_os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"{where}the disk is full: make room and try again"
        case errno.EACCES | errno.EPERM:
            return f"{where}this user may not read or write it: change its rights, or name another file"
        case errno.EROFS:
            return f"{where}the file system is read-only: name a file elsewhere"
        case errno.ENOENT:
            return f"{where}there is no such file or folder"
        case errno.EISDIR:
            return f"{where}it is a folder: name a file"
        case errno.EBADF:
            return "standard input or output is closed: connect it, or name a file"
    return f"{where}{error.strerror or error}"
