"""Faults: one paragraph that says what to do, exit status 1, and never a traceback."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.free_port import free_port
from tests.stack import Stack

from .conftest import Command


@contextmanager
def another_server(status: int, body: bytes) -> Iterator[str]:
    """Run a server that gives one answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "100")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_no_service_at_an_address_is_said_at_once_with_how_to_start_one(alone: Command) -> None:
    port = free_port()
    for arguments, env, remedy in (
        (("--url", f"127.0.0.1:{port}"), {}, "start the service, or correct --url"),
        ((), {"PERCEPTRON_URL": f"http://127.0.0.1:{port}"}, "start the service, or correct PERCEPTRON_URL"),
    ):
        message = alone.error("jobs", *arguments, **env)
        assert f"no service answers at http://127.0.0.1:{port} (named by " in message
        assert message.endswith(f"connection refused. To go on, {remedy}.")
    assert "the host nowhere.invalid is unknown" in alone.error("jobs", "--url", "http://nowhere.invalid")
    for command in (("jobs",), ("doctor", "--port", str(port))):
        ran = alone(*command, "--url", f"http://user:secret@127.0.0.1:{port}")
        assert ran.returncode == 1 and "secret" not in ran.stdout + ran.stderr
    assert f"the host {'a' * 70}.com is unknown" in alone.error("jobs", "--url", f"http://{'a' * 70}.com")
    ran = alone("jobs", "--url", "ftp://x")
    assert ran.returncode == 2 and "--url must be an address such as http://127.0.0.1:8000" in ran.stderr


def test_the_service_of_a_data_directory_is_found_and_a_killed_one_is_called_so(
    own_stack: Callable[[], Stack],
    alone: Command,
) -> None:
    stack, command = own_stack(), alone
    assert command.good("models") == "model\tlatest\tversions\taliases\n"  # ./data is that of the stack
    stack.kill()
    message = command.error("models")
    assert f"no service answers at {stack.url} (of data, whose service was killed)" in message
    assert message.endswith("start it with 'perceptron up --data-dir data', or name another address with --url.")
    doctor = command("doctor", "--port", str(stack.port))
    assert doctor.returncode == 1
    assert "perceptron up --data-dir data" in doctor.stdout


def test_another_server_is_recognised(alone: Command) -> None:
    with another_server(200, b"<html>Welcome</html>") as url:
        message = alone.error("models", "--url", url)
        assert "is no JSON object: is there another server at this address?" in message
        assert "Name the address of a Perceptron Service with --url." in message
    with another_server(404, b"<html>") as url:
        assert "Not Found" in alone.error("models", "--url", url)
    with another_server(503, b'{"code": "unavailable", "detail": "Redis is away"}') as url:
        assert alone.error("models", "--url", url) == "Redis is away. 'perceptron doctor' looks for the reason."


def test_a_server_cannot_move_the_cursor(alone: Command) -> None:
    with another_server(404, b'{"detail": "\\u001b[2J no\\u009b2J"}') as url:
        assert alone.error("models", "--url", url) == "\\x1b[2J no\\x9b2J"
    failed = (
        b'{"id": "j", "model": "m", "status": "failed", "done": true, "error": {"code": "c", "detail": "\\u001b[2J"}}'
    )
    with another_server(200, failed) as url:
        ran = alone("job", "j", "--url", url)
    assert "\x1b" not in ran.stdout + ran.stderr and ran.stderr == "warning: j failed: \\x1b[2J (c)\n"


def test_files_that_cannot_be_read_or_written_are_named(perceptron: Command, line: str, tmp_path: Path) -> None:
    assert perceptron.error("predict", line, "none.csv") == "none.csv: there is no such file or folder"
    assert perceptron.error("train", "none.csv", "--target", "x") == "none.csv: there is no such file or folder"
    assert perceptron.error("predict", line, tmp_path, "--format", "csv").endswith("it is a folder: name a file")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    message = perceptron.error("predict", line, "rows.csv", "-o", "nowhere/answers.csv")
    assert message == "nowhere/answers.csv: there is no such file or folder"
    (tmp_path / "image.csv").write_bytes(bytes(range(256)) * 10)
    assert "image.csv" in perceptron.error("predict", line, "image.csv")
    assert "not_utf8" not in perceptron.error("train", "image.csv", "--target", "x")


def run(command: Command, shell: str) -> "subprocess.CompletedProcess[str]":
    """Run a line of shell in which `$P` is the command."""
    env, line = command.env | {"P": " ".join(command.line())}, ["bash", "-c", shell]
    return subprocess.run(line, cwd=command.folder, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said(perceptron: Command, line: str) -> None:
    full = "the disk is full: make room and try again\n"
    ran = run(perceptron, f"echo 'a,b' > r.csv; echo 1,2 >> r.csv; $P predict {line} r.csv -o /dev/full --to csv")
    assert (ran.returncode, ran.stderr) == (1, f"perceptron: error: /dev/full: {full}")
    ran = run(perceptron, "$P models > /dev/full")
    assert (ran.returncode, ran.stderr) == (1, f"perceptron: error: {full}")


def test_a_closed_pipe_ends_quietly_and_closed_streams_are_no_traceback(perceptron: Command, line: str) -> None:
    (perceptron.folder / "r.csv").write_text("a,b\n" + "1,2\n" * 300_000)
    ran = run(perceptron, f"set -o pipefail; $P predict {line} r.csv -q | head -1")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "prediction,output\n", "")
    ran = run(perceptron, "set -o pipefail; $P --help | true")
    assert (ran.returncode, ran.stderr) == (1, "")
    ran = run(perceptron, f"$P predict {line} <&-")
    assert (ran.returncode, "standard input or output is closed" in ran.stderr) == (1, True)
    ran = run(perceptron, "$P models >&-")
    assert "Traceback" not in ran.stderr
    ran = run(perceptron, "$P models --url http://127.0.0.1:1 2>&-")
    assert (ran.returncode, ran.stdout) == (1, "")


def test_debug_shows_where_an_error_happened(alone: Command) -> None:
    ran = subprocess.run(
        alone.line("jobs", "--debug", "--url", f"http://127.0.0.1:{free_port()}"),
        env=alone.env, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr and ran.stderr.splitlines()[-1].startswith("perceptron: error: no service answers")


def test_a_terminal_without_unicode_is_no_traceback(perceptron: Command) -> None:
    old = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert "set LC_ALL=C.UTF-8" in perceptron.error("show", "m\u00f6del", **old)
    table = perceptron.good("datasets", "upload", "-", stdin="\u00f6,b\n1,2\n", PYTHONIOENCODING="latin-1")
    assert "\n\udcf6\tnumeric" in table
