"""What a log says about an exception: its type and where it came from, and its message only if that holds no data."""

import json
import re
import sys
import traceback
from pathlib import Path
from typing import TypedDict

from pydantic_core import ErrorDetails, ValidationError

_MAX_CHAIN, _MAX_FRAMES = 5, 30

_OURS = frozenset({"storage", "worker", "standalone"})
"""Packages whose errors name keys, ids, files and limits, and no value that somebody sent.

Errors of `perceptron` and `service` are about data. They are meant for its owner, who gets them as the answer.
"""

_ABOUT_CODE = frozenset(
    {AssertionError, AttributeError, ImportError, MemoryError, ModuleNotFoundError, NameError, NotImplementedError}
    | {RecursionError, TypeError, UnboundLocalError}
)
"""Errors of Python itself that name types and variables. A ValueError or a KeyError has the value in it."""

_COMMAND = re.compile(r"Command # \d+ \(.*?\) of pipeline caused error: |,? with args beginning with:.*", re.DOTALL)
"""Where an error of Redis repeats the command, whose arguments may be data."""

_PACKAGES = Path(__file__).resolve().parents[2]


def describe(error: BaseException) -> str:
    """Return the type of an exception and what its message may say; of pydantic's, the places and what is wrong there.

    For the messages of our own errors, which are logged. What was read is left out: it may be somebody's data.
    """
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {_what_is_wrong(fault)}" for fault in faults[:5])
    return f"{type(error).__name__}: {message_of(error)}".removesuffix(": ")


def _what_is_wrong(fault: ErrorDetails) -> str:
    return "invalid" if fault["type"] in ("value_error", "assertion_error") else fault["msg"]


class Fault(TypedDict):
    """One exception, with the one that caused it after it."""

    type: str
    message: str
    frames: list[str]
    """Where it was raised: file, line and function, the outermost first."""


def without_commands(text: str) -> str:
    """Return a text without the commands that errors of Redis repeat."""
    return _COMMAND.sub("", text) if "Command # " in text or "with args" in text else text


def message_of(error: BaseException) -> str:
    """Return the message of an exception if it can hold nothing that somebody sent, else an empty text."""
    kind = type(error)
    if isinstance(error, OSError) and not isinstance(error, UnicodeError):
        return error.strerror or (str(error) if kind.__module__ == "builtins" else "")
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at character {error.pos}"
    package = kind.__module__.partition(".")[0]
    if kind in _ABOUT_CODE or package in _OURS:
        return without_commands(str(error))
    if package == "redis":
        return without_commands(str(error))
    return ""


def faults_of(error: BaseException) -> list[Fault]:
    """Return an exception and those that led to it, without local variables and lines of source."""
    found: list[Fault] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen and len(found) < _MAX_CHAIN:
        seen.add(id(current))
        kind = type(current)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        found.append({"type": name, "message": message_of(current), "frames": _frames_of(current)})
        is_hidden = current.__suppress_context__
        current = current.__cause__ or (None if is_hidden else current.__context__)
    return found


def _frames_of(error: BaseException) -> list[str]:
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), limit=-_MAX_FRAMES, lookup_lines=False, capture_locals=False
    )
    return [f"{_short(each.filename)}:{each.lineno} {each.name}" for each in frames]


def _short(path: str) -> str:
    """Return a path without the folder of our packages or of those that are installed."""
    for folder in (*sys.path, str(_PACKAGES)):
        if folder and path.startswith(f"{folder}/"):
            return path[len(folder) + 1 :]
    return path
