"""The supervisor's log as JSON: each line of it is an object, whatever the children print."""

import json
import signal

from .conftest import wait_until

PROGRAM = r"""
import sys
from standalone import ChildSpec, Supervisor
from standalone.log_lines import begin, say
from storage.log.settings import LogSettings
assert begin(LogSettings(format="json")) == {"LOG_FORMAT": "json"}
child = '''
print('{"event": "its own", "process": "api"}')
print('# plain text')
print('{"event": "cut of')
print()
print("ready")
import signal; signal.pause()
'''
spec = ChildSpec("redis", [sys.executable, "-uc", child], ready_line="ready")
sys.exit(Supervisor([[spec]], on_ready=lambda: say(["Ready at http://x", "curl -d '{}'"])).run())
"""


def test_lines_of_children_pass_as_they_are_and_text_becomes_an_event(program) -> None:
    running = program("-c", PROGRAM)
    wait_until(lambda: "curl" in running.stdout)
    running.signal(signal.SIGTERM)
    assert running.wait(10.0) == 0
    lines = running.stdout.splitlines()
    assert lines[0] == '{"event": "its own", "process": "api"}'
    said = [(line["process"], line["event"]) for line in map(json.loads, lines[1:])]
    assert said == [
        ("redis", "# plain text"),
        ("redis", '{"event": "cut of'),
        ("redis", "ready"),
        ("supervisor", "Ready at http://x"),
        ("supervisor", "curl -d '{}'"),
    ]
    assert running.stderr == ""
