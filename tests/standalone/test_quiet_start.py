"""What somebody sees who starts the service for the first time: only lines that help."""

import json
from collections.abc import Callable

import pytest

from standalone.redis_server import is_noise
from tests.stack import Stack


def test_a_start_says_who_comes_in_where_it_listens_and_what_to_try(own_stack: Callable[..., Stack]) -> None:
    stack = own_stack()
    assert stack.http.get("/readyz").status_code == stack.http.get("/jobs").status_code == 200
    assert stack.stop() == 0
    lines = [json.loads(line) for line in stack.data_dir.with_suffix(".log").read_text().splitlines()]
    n_until_ready = next(k for k, line in enumerate(lines) if line["event"].startswith("Ready at"))
    seen = {(line["process"], line["level"], line["logger"], line["event"][:13]) for line in lines[:n_until_ready]}
    assert seen == {
        ("api", "info", "gunicorn", "Listening at:"),
        ("api", "warning", "service.access.gate", "access is off"),
        ("worker", "info", "worker.process", "ready for tra"),
    }
    requests = [line["route"] for line in lines if line["event"] == "request"]
    assert requests == ["/jobs"]  # and no health check


def test_with_debug_nothing_is_left_out(own_stack: Callable[..., Stack], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "debug")
    stack = own_stack()
    lines = [json.loads(line) for line in stack.data_dir.with_suffix(".log").read_text().splitlines()]
    said = " ".join(line["event"] for line in lines)
    assert "Booting worker with pid" in said and "Application startup complete" in said
    assert {line["level"] for line in lines if line.get("route") == "/readyz"} == {"debug"}


@pytest.mark.parametrize(
    ("line", "is_dropped"),
    [
        ("1:M 26 Nov 2026 17:21:34.979 # WARNING Memory overcommit must be enabled! Without it, a background", True),
        ("1:M 26 Nov 2026 # WARNING overcommit_memory is set to 0! Background save may fail under low memory", True),
        ("1:M # WARNING: You specified a maxmemory value that is less than 1MB (current value is 1 bytes)", True),
        ("1:M # WARNING You have Transparent Huge Pages (THP) support enabled in your kernel.", True),
        ("1:M # WARNING: the new maxmemory value set via CONFIG SET (1) is smaller than the current memory", False),
        ("1:M # Error writing to the AOF file: No space left on device", False),
        ("WARNING Memory overcommit must be enabled!", False),
    ],
)
def test_of_the_embedded_server_only_what_it_says_at_each_start_is_dropped(line: str, is_dropped: bool) -> None:
    assert is_noise(line) is is_dropped
