"""Lines of the log as a process writes them: a small program that logs, and what comes out of its pipe."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from storage.log.settings import LogSettings

ROOT = Path(__file__).parents[3]

PROGRAM = """
import logging, os, sys, threading, warnings
warnings.simplefilter("default")
from storage.errors import StaleAttemptError
from storage.log.form import add, configure, doing
from storage.log.settings import LogSettings
from storage.output import never_block
never_block()
configure("worker", LogSettings.from_env(os.environ))
log = logging.getLogger("worker.tasks")
"""


def lines_of(program: str, **env: str) -> list[str]:
    """Run the program in a copy of this process, which has imported everything already."""
    reader, writer = os.pipe()
    with warnings.catch_warnings(action="ignore"):  # Python 3.12 warns where threads run
        pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        os.environ.update(env)
        try:
            exec(PROGRAM + program, {"__name__": "__main__"})
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as output:
        text = output.read()
    os.waitpid(pid, 0)
    assert text.endswith("\n")
    return text[:-1].split("\n")


def objects_of(program: str, **env: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines_of(program, **env)]


def test_a_line_is_an_object_with_what_the_process_does_and_what_the_call_adds():
    program = """
with doing(job_id="job_1", tenant=None, attempt=2):
    add(model="or")
    log.info("published version %d", 7, extra={"version": 7, "password": "x"})
log.warning("after it")
"""
    first, second = objects_of(program)
    assert list(first)[:6] == ["timestamp", "level", "event", "logger", "process", "pid"]
    time, pid = first.pop("timestamp"), first.pop("pid")
    assert len(time) == len("2026-11-26T15:30:12.515Z") and time.endswith("Z") and time[10] == "T"
    assert isinstance(pid, int)
    assert first == {
        "level": "info", "event": "published version 7", "logger": "worker.tasks", "process": "worker",
        "job_id": "job_1", "model": "or", "version": 7, "attempt": 2,
    }  # fmt: skip
    assert set(second) == {"timestamp", "level", "event", "logger", "process", "pid"}


def test_no_value_begins_another_line_in_either_form():
    program = r'log.info("one\r\ntwo %s\n", "\x1b[31mthree\rfour", extra={"model": "a\nb"})'
    [line] = objects_of(program)
    assert (line["event"], line["model"]) == ("one\r\ntwo \x1b[31mthree\rfour\n", "a\nb")
    [text] = lines_of(program, LOG_FORMAT="text")
    assert r"one\r\ntwo \x1b[31mthree\rfour\n [worker.tasks]" in text and "\x1b" not in text


def test_an_error_is_a_member_without_what_it_says_about_a_value():
    program = """
def read(text):
    secret = text
    return float(text)
try:
    try:
        read("the value")
    except ValueError as error:
        raise StaleAttemptError("job_1", 3) from error
except StaleAttemptError:
    log.exception("it failed")
"""
    [line] = objects_of(program)
    outer, inner = line["exception"]
    assert (outer["type"], inner["type"]) == ("storage.errors.StaleAttemptError", "ValueError")
    assert outer["message"] == "attempt 3 no longer owns job 'job_1'"
    assert inner["message"] == ""
    assert [frame.split(" ")[1] for frame in inner["frames"]] == ["<module>", "read"]
    text = "\n".join(lines_of(program, LOG_FORMAT="text"))
    assert "the value" not in json.dumps(line) + text
    assert "storage.errors.StaleAttemptError: attempt 3" in text


def test_errors_of_threads_and_of_the_program_are_lines_too():
    program = """
thread = threading.Thread(target=lambda: {}["the value"], name="heartbeat")
thread.start(); thread.join()
warnings.warn("the old way")
raise SystemError("the value")
"""
    in_thread, warning, last = objects_of(program)
    assert in_thread["event"] == "the thread heartbeat ended because of an unexpected error"
    assert in_thread["exception"][0]["type"] == "KeyError"
    assert warning["event"].endswith("UserWarning: the old way")
    assert (last["level"], last["exception"][0]["type"]) == ("critical", "SystemError")
    assert "the value" not in json.dumps([in_thread, last])


def test_a_line_fits_into_a_pipe_whole_whatever_is_logged():
    program = r"""
def deep(n):
    deep(n - 1) if n else 1 / 0
log.info("x" * 100_000)
log.info("\x00\ud800" * 100_000, extra={"model": "\x00" * 5_000})
try:
    deep(300)
except ZeroDivisionError:
    log.exception("y" * 3_000)
"""
    lines = lines_of(program)
    assert [len(line.encode()) < 4096 for line in lines] == [True] * 3
    last = json.loads(lines[2])
    assert last["exception"][0]["type"] == "ZeroDivisionError"
    assert last["exception"][0]["frames"][-1].endswith(" deep")


def test_at_debug_only_our_own_loggers_say_more():
    program = """
log.debug("ours")
logging.getLogger("botocore.auth").debug("a whole request")
"""
    assert [line["event"] for line in objects_of(program, LOG_LEVEL="debug")] == ["ours"]
    assert lines_of('log.debug("ours"); log.info("at info")')[0].count("at info") == 1
    assert lines_of('log.info("no"); log.error("at error")', LOG_LEVEL="error")[0].count("at error") == 1


def test_a_command_that_an_error_of_redis_repeats_is_left_out():
    program = """
log.info("%s", "Command # 2 (HSET key the value) of pipeline caused error: WRONGTYPE wrong kind")
log.info("%s", "ERR unknown command 'X', with args beginning with: 'the value' ")
"""
    assert [line["event"] for line in objects_of(program)] == ["WRONGTYPE wrong kind", "ERR unknown command 'X'"]


def test_text_has_colours_only_where_the_supervisor_says_that_a_terminal_shows_it():
    program = 'log.info("hello")'
    assert "\x1b[" not in lines_of(program, LOG_FORMAT="text")[0]
    assert "\x1b[" in lines_of(program, LOG_FORMAT="text", FORCE_COLOR="1")[0]
    assert "\x1b[" not in lines_of(program, LOG_FORMAT="text", FORCE_COLOR="1", NO_COLOR="1")[0]


def test_a_setting_with_another_value_is_one_line_and_status_2():
    with pytest.raises(ValueError, match="LOG_FORMAT must be json or text, not 'xml'"):
        LogSettings.from_env({"LOG_FORMAT": "xml"})
    env = {**os.environ, "LOG_LEVEL": "loud", "REDIS_URL": "redis://127.0.0.1:1"}
    result = subprocess.run([sys.executable, "-m", "worker.main"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    levels = "debug, info, warning, error, critical"
    assert result.stderr == f"a setting cannot be read: LOG_LEVEL must be one of {levels}, not 'loud'\n"


def test_what_a_full_pipe_lost_is_a_line_too():
    lost, line = objects_of('sys.stdout.n_lost = 3; log.info("again")')
    assert (lost["event"], lost["level"]) == ("3 pieces of the log were lost, because nobody read it", "warning")
    assert line["event"] == "again"
