"""The one form of our logs: a JSON object a line, or text for people.

`configure` puts it on the standard library's root logger, so that the code logs as any library does
(`_log.info("...", ...)`), and the loggers of others come out in the same form. Members of a line come from the call
(`extra=`) or from what the process does now (`doing`).
"""

import logging
import os
import select
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson
import structlog
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import EventDict, Processor

from storage.log.alarm_codes import PROCESS_FAILED
from storage.log.faults import Fault, faults_of, without_commands
from storage.log.settings import Format, LogSettings
from storage.log.unexpected import log_unexpected
from storage.output import LossyOutput
from storage.tenants import local, tenant_of

MEMBERS = (
    *("code", "request_id", "key_id", "tenant", "job_id", "model", "version", "attempt", "trace_id", "span_id"),
    *("method", "route", "status", "bytes", "remote", "sampled", "duration_ms"),
)
"""What a line may have beside the members that every line has. `docs/operations.md` explains each."""

MAX_LINE_BYTES = select.PIPE_BUF
"""A pipe takes so much whole, so that the lines of several processes do not mix."""

_LIMITS = ((30, 2_000), (10, 500), (4, 200), (1, 60), (0, 20))
"""Frames of each exception and characters of each text, tried until the line is short enough."""

_OUR_LOGGERS = ("storage", "service", "worker", "standalone", "cli")


def configure(process: str, settings: LogSettings) -> Format:
    """Log to the standard output of this process from now on; return the form of the lines.

    Loggers of others log nothing below `info`: some of them would write whole requests.

    Args:
        process: api, worker, webhooks or supervisor.
    """
    stream = sys.stdout
    is_terminal = stream.isatty()
    form = settings.format_for(is_terminal=is_terminal)
    # The supervisor says on whose behalf a child writes into a pipe.
    has_colours = (is_terminal or bool(os.environ.get("FORCE_COLOR"))) and not os.environ.get("NO_COLOR")
    handler = _Handler(stream)
    handler.setFormatter(_formatter(process, form, has_colours=has_colours))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(settings.level, logging.INFO))
    for name in _OUR_LOGGERS:
        logging.getLogger(name).setLevel(settings.level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    if form == "json" and isinstance(stream, LossyOutput):
        stream.note = lambda n: f"{_line_about_loss(handler, n)}\n"
    return form


@contextmanager
def doing(**members: str | int | None) -> Iterator[None]:
    """Give every line that is logged inside the block these members, beside those of the block around it."""
    before = structlog.contextvars.get_contextvars()
    add(**members)
    try:
        yield
    finally:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**before)


def add(**members: str | int | None) -> None:
    """Give every line until the end of the innermost `doing` these members. None: leave it out."""
    structlog.contextvars.bind_contextvars(**{name: each for name, each in members.items() if each is not None})


def members_of(job_id: str) -> dict[str, str]:
    """Return the members that tell which job a line is about.

    Args:
        job_id: as the code passes it on, with its tenant.
    """
    tenant = tenant_of(job_id)
    return {"job_id": local(job_id), **({"tenant": tenant} if tenant else {})}


class _Handler(logging.StreamHandler[Any]):
    """Writes to a stream; what cannot be written is left out, since an error here would print what was to be logged."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say that a line is missing, and of which logger."""
        try:
            record.msg, record.args, record.exc_info = "a line could not be written", (), None
            self.stream.write(f"{self.format(record)}\n")
        except Exception:
            return


def _formatter(process: str, form: Format, *, has_colours: bool) -> ProcessorFormatter:
    def describe(_: object, level: str, event: EventDict) -> EventDict:
        """Put the members in the order in which people look for them."""
        record: logging.LogRecord = event.pop("_record")
        event.pop("_from_structlog", None)
        event.pop("stack_info", None)
        error = event.pop("exc_info", None)
        text = without_commands(str(event.pop("event")))
        child = getattr(record, "child", None)
        """The process that printed the line: the supervisor passes it on."""
        if record.name.partition(".")[0] not in _OUR_LOGGERS:
            text = text.strip().partition("\n")[0]  # what follows repeats exceptions, or the source of a warning
        described: EventDict = {
            "timestamp": _rfc3339(record.created),
            "level": level,
            "event": text,
            # gunicorn and uvicorn call the logger of all their events so, also of those that are no errors.
            "logger": child or record.name.removesuffix(".error"),
            **({"process": child} if child else {"process": process, "pid": record.process}),
            **{name: event[name] for name in MEMBERS if name in event},
        }
        if isinstance(error, tuple) and error[1] is not None:
            described["exception"] = faults_of(error[1])
        return described

    render = _render_json if form == "json" else _TextRenderer(has_colours=has_colours)
    chain: list[Processor] = [structlog.contextvars.merge_contextvars, ExtraAdder(MEMBERS)]
    return ProcessorFormatter(foreign_pre_chain=chain, processors=[describe, render])


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _render_json(_logger: object, _level: str, event: EventDict) -> str:
    line = b""
    for n_frames, n_characters in _LIMITS:
        line = orjson.dumps(_shortened(event, n_frames, n_characters), default=str)
        if len(line) < MAX_LINE_BYTES:
            break
    return line.decode()


def _shortened(event: Mapping[str, Any], n_frames: int, n_characters: int) -> dict[str, Any]:
    shortened = {name: _cut(each, n_characters) if isinstance(each, str) else each for name, each in event.items()}
    if (faults := event.get("exception")) is not None:
        shortened["exception"] = [
            {
                "type": _cut(fault["type"], n_characters),
                "message": _cut(fault["message"], n_characters),
                "frames": fault["frames"][-n_frames:] if n_frames else [],
            }
            for fault in faults[: max(n_frames, 1)]
        ]
    return shortened


def _cut(text: str, n_characters: int) -> str:
    """Return a text that JSON can hold, at most so long."""
    text = text if len(text) <= n_characters else f"{text[:n_characters]}..."
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class _TextRenderer:
    """Lines for people: `structlog.dev.ConsoleRenderer`, with every control character escaped."""

    def __init__(self, *, has_colours: bool) -> None:
        self._render = structlog.dev.ConsoleRenderer(colors=has_colours, sort_keys=False, pad_event_to=0)

    def __call__(self, logger: Any, level: str, event: EventDict) -> str:
        shown = {name: _escaped(each) if isinstance(each, str) else each for name, each in event.items()}
        if (faults := event.get("exception")) is not None:
            shown["exception"] = "\n".join(line for fault in faults for line in _lines_of(fault))
        return self._render(logger, level, shown)


def _lines_of(fault: Fault) -> Iterator[str]:
    yield _escaped(f"  {fault['type']}: {fault['message']}".removesuffix(": "))
    for frame in fault["frames"]:
        yield _escaped(f"    {frame}")


def _escaped(text: str) -> str:
    text = _cut(text, 2_000)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _line_about_loss(handler: logging.Handler, n_lost: int) -> str:
    text = "%d pieces of the log were lost, because nobody read it"
    record = logging.LogRecord("storage.output", logging.WARNING, "", 0, text, (n_lost,), None)
    return handler.format(record)


_log = logging.getLogger(__name__)


def _log_uncaught(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    if isinstance(error, KeyboardInterrupt):
        return
    extra = {"code": PROCESS_FAILED}
    _log.critical("the process ends because of an unexpected error", exc_info=(kind, error, where), extra=extra)


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread is not None else "-"
        log_unexpected(_log, args.exc_value, "the thread %s ended because of an unexpected error", name)
