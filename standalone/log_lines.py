"""What the supervisor writes: its own lines, and those of its children.

As JSON all of it goes to standard output, one object a line. As text, standard output has what a person waits for, and
standard error has the rest, under the name of the process.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

import orjson

from storage.log.settings import FORMAT_SETTING, LogSettings

_log = logging.getLogger(__name__)
_is_json = False


def begin(settings: LogSettings) -> Mapping[str, str]:
    """Write in the form that is set from now on; return the settings that make the children do the same."""
    global _is_json
    from storage.log.form import configure  # here, so that a command that only asks for help does not load it

    form = configure("supervisor", settings)
    _is_json = form == "json"
    if form == "text" and sys.stdout.isatty():
        return {FORMAT_SETTING: form, "FORCE_COLOR": "1"}
    return {FORMAT_SETTING: form}


def log(message: str) -> None:
    """Write a line of the supervisor's own."""
    if _is_json:
        _log.info("%s", message)
    else:
        _write(f"[supervisor] {message}\n")


def relay(name: str, line: str) -> None:
    """Write a line of a child: as it is if it has the form of the log, else as an event of that child."""
    if not _is_json:
        _write(f"[{name}] {line}\n")
    elif _is_object(line):
        with suppress(OSError):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    elif line:
        _log.info("%s", line, extra={"child": name})


def say(lines: Sequence[str]) -> None:
    """Write what a person waits for."""
    if _is_json:
        for line in lines:
            _log.info("%s", line)
        return
    with suppress(OSError):  # nobody reads stdout: no reason to stop
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        sys.stdout.flush()


def _is_object(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _write(text: str) -> None:
    with suppress(OSError):  # nobody reads any more (`./run up 2>&1 | head`): continue without a log
        sys.stderr.write(text)
        sys.stderr.flush()
