"""`perceptron up` says in one line why it cannot start, and what to do about it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from standalone import DataDirectory
from standalone.data_directory import Owner, owner_of
from standalone.errors import DataDirectoryError, DataDirectoryInUseError
from standalone.stack import WORKER_READY_LINE, UpSettings, _say_ready, exec_api, exec_worker
from tests.free_port import free_port
from worker.process import READY_MESSAGE

from .conftest import wait_until


def refusal(running) -> str:
    """Return the one line on stderr of a command that must fail with exit status 1."""
    assert running.wait() == 1
    assert running.stdout == ""
    (line,) = running.stderr.splitlines()
    return line.removeprefix("perceptron: error: ")


def test_a_second_up_on_a_data_directory_names_the_first_and_the_choices(program, tmp_path: Path):
    data_dir = tmp_path / "data"
    with DataDirectory.open(data_dir, "http://127.0.0.1:8123"):
        assert refusal(program("-m", "cli", "up", "--data-dir", str(data_dir))) == (
            f"{data_dir} is in use by process {os.getpid()}, http://127.0.0.1:8123: use that one, "
            f"stop it (kill {os.getpid()}), or choose another directory with --data-dir"
        )


def test_a_data_directory_is_free_again_after_close_and_after_kill_9(program, tmp_path: Path):
    with DataDirectory.open(tmp_path / "data", "http://127.0.0.1:8000") as data:
        assert not data.was_killed
    code = (
        "import pathlib, signal, sys; from standalone import DataDirectory\n"
        "data = DataDirectory.open(pathlib.Path(sys.argv[1]), 'http://127.0.0.1:8000')\n"
        "print('open', flush=True); signal.pause()"
    )
    owner = program("-c", code, str(tmp_path / "data"))
    wait_until(lambda: owner.stdout)
    with pytest.raises(DataDirectoryInUseError) as caught:
        DataDirectory.open(tmp_path / "data", "http://127.0.0.1:8001")
    assert (caught.value.pid, caught.value.address) == (owner.pid, "http://127.0.0.1:8000")
    owner.signal(signal.SIGKILL)
    owner.wait()
    with DataDirectory.open(tmp_path / "data", "http://127.0.0.1:8001") as data:
        assert data.was_killed


def test_a_new_data_directory_is_private(tmp_path: Path):
    with DataDirectory.open(tmp_path / "new" / "data", "http://127.0.0.1:8000") as data:
        assert data.path.stat().st_mode & 0o777 == 0o700


def test_a_file_in_place_of_the_data_directory_is_refused(program, tmp_path: Path):
    (tmp_path / "data").write_text("not a directory")
    assert refusal(program("-m", "cli", "up", env={"DATA_DIR": str(tmp_path / "data")})) == (
        f"{tmp_path / 'data'} is a file, not a directory: move it away, or choose another directory with --data-dir"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where even root cannot write")
def test_a_data_directory_that_cannot_be_written_is_refused(program):
    message = refusal(program("-m", "cli", "up", "--data-dir", "/proc/self/data"))
    assert message.startswith("/proc/self/data cannot be written (")
    assert message.endswith("): put that right, or choose another directory with --data-dir")


def test_a_full_disk_is_refused(tmp_path: Path):
    free_mb = shutil.disk_usage(tmp_path).free // 1_000_000
    with pytest.raises(DataDirectoryError, match=rf"has \d+ MB free, {free_mb + 1000} MB are needed: make room"):
        DataDirectory.open(tmp_path, "http://127.0.0.1:8000", min_free_bytes=(free_mb + 1000) * 1_000_000)
    with DataDirectory.open(tmp_path, "http://127.0.0.1:8000"):
        pass  # the refused start released the lock


def test_a_busy_port_is_refused_before_anything_starts(program, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        running = program("-m", "cli", "up", "--port", str(port), "--data-dir", str(tmp_path / "data"))
        assert refusal(running) == (
            f"port {port} of 127.0.0.1 is in use: stop what listens there, "
            f"or choose another, for example --port {port % 65535 + 1}"
        )
    assert not (tmp_path / "data" / "redis").exists()


def test_an_unknown_host_is_refused(program, tmp_path: Path):
    running = program("-m", "cli", "up", "--host", "no.such.host.invalid", "--data-dir", str(tmp_path / "data"))
    assert refusal(running) == "the host no.such.host.invalid is unknown: try --host 127.0.0.1"


def test_a_redis_that_does_not_answer_is_refused_without_showing_its_password(program, tmp_path: Path):
    url = f"redis://user:secret@127.0.0.1:{free_port()}/0"
    arguments = ("--port", str(free_port()), "--data-dir", str(tmp_path / "data"))
    running = program("-m", "cli", "up", *arguments, env={"REDIS_URL": url})
    message = refusal(running)
    assert message.startswith("no Redis answers at REDIS_URL (")
    assert message.endswith("start it, or unset REDIS_URL to use the embedded server")
    assert "secret" not in message


def test_a_redis_url_of_another_kind_is_refused(program, tmp_path: Path):
    running = program("-m", "cli", "up", "--redis-url", "valkey+unix:///tmp/x", "--data-dir", str(tmp_path))
    assert refusal(running).startswith("REDIS_URL must begin with redis://, rediss:// or unix://")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--port", "0"], "0 is not in the range 1<=x<=65535"),
        (["--workers", "0"], "0 is not in the range 1<=x<=64"),
        (["--api-processes", "many"], "'many' is not a valid integer range"),
    ],
)
def test_an_option_out_of_range_is_a_usage_error(program, arguments, complaint):
    running = program("-m", "cli", "up", *arguments)
    assert running.wait() == 2
    assert complaint in running.stderr


def test_serve_and_worker_need_a_redis_url(program):
    for verb in ("serve", "worker"):
        running = program("-m", "cli", verb)
        assert running.wait() == 2
        assert "Missing option '--redis-url'" in running.stderr


def test_the_command_knows_its_version_and_shows_examples(program):
    version, help_text = program("-m", "cli", "--version"), program("-m", "cli", "-h")
    assert version.wait() == help_text.wait() == 0
    assert version.stdout == "perceptron 0.1.0\n"
    assert "Examples:\n    perceptron up " in help_text.stdout


def test_the_worker_prints_the_ready_line_that_the_supervisor_waits_for():
    assert WORKER_READY_LINE in READY_MESSAGE


@pytest.mark.parametrize(("host", "bind"), [("::1", "[::1]:8000"), ("0.0.0.0", "0.0.0.0:8000")])
def test_gunicorn_listens_on_an_ipv6_address_too(program, host, bind):
    shown = program(
        "-c", "from service.server.gunicorn_config import bind; print(bind)", env={"HOST": host, "PORT": "8000"}
    )
    assert shown.wait() == 0
    assert shown.stdout == f"{bind}\n"


@pytest.mark.parametrize(
    ("env", "port"),
    [
        ({}, 8000),
        ({"PORT": "8080"}, 8080),  # the default of the image
        ({"PORT": "8080", "SAGEMAKER_BIND_TO_PORT": "8081"}, 8081),
        ({"PORT": "8080", "SAGEMAKER_BIND_TO_PORT": "8081", "AIP_HTTP_PORT": "8082"}, 8082),
        ({"PORT": "8080", "AIP_HTTP_PORT": ""}, 8080),
    ],
)
def test_serve_listens_on_the_port_that_the_platform_sets(program, env, port):
    code = (
        "import os, sys; from cli.main import main\n"
        "os.execve = lambda path, command, env: print(env['PORT'])\n"
        "sys.argv = ['perceptron', 'serve', *sys.argv[1:]]; main()"
    )
    env = {"REDIS_URL": "redis://r", **env}
    for options, expected in ((), port), (("--port", "9000"), 9000):
        shown = program("-c", code, *options, env=env)
        assert shown.wait() == 0, shown.stderr
        assert shown.stdout == f"{expected}\n"


def test_a_wrong_default_model_ends_the_start_and_is_named(program):
    env = {"REDIS_URL": "redis://127.0.0.1:1", "DEFAULT_MODEL": "a b", "PORT": str(free_port())}
    serve = program("-m", "cli", "serve", env=env)
    assert serve.wait() != 0
    assert "DEFAULT_MODEL must be like churn, churn@production or churn/3, not 'a b'" in serve.stderr


@pytest.mark.parametrize(
    "command", [["-m", "cli", "serve"], ["-m", "gunicorn", "-c", "python:service.server.gunicorn_config"]]
)
def test_what_other_machines_reach_does_not_start_without_a_key(program, redis, server, command):
    env = {"REDIS_URL": server.url, "HOST": "0.0.0.0", "PORT": str(free_port())}
    serve = program(*command, env=env)
    assert serve.wait() == 1
    (line,) = (line for line in serve.stderr.splitlines() if "error" in line)
    assert line.startswith("perceptron: error: other machines can reach 0.0.0.0, and there is no access key")


def test_a_truth_value_that_is_none_ends_the_start_and_is_named(program, server):
    env = {"REDIS_URL": server.url, "PORT": str(free_port()), "INSECURE": "perhaps"}
    serve = program("-m", "gunicorn", "-c", "python:service.server.gunicorn_config", env=env)
    assert serve.wait() == 1
    assert "INSECURE must be true or false, not 'perhaps'" in serve.stderr


def test_a_relative_data_directory_is_relative_to_where_the_command_was_called(tmp_path: Path, monkeypatch):
    started = {}
    monkeypatch.setattr("os.execve", lambda path, command, env: started.update(env))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BLOB_URL", raising=False)
    for data_dir, expected in (("here", tmp_path / "here"), ("", tmp_path / "data")):
        monkeypatch.setenv("DATA_DIR", data_dir)
        for start in (
            lambda: exec_worker("redis://r"),
            lambda: exec_api("127.0.0.1", 8000, 1, "redis://r", is_insecure=False),
        ):
            monkeypatch.chdir(tmp_path)
            start()
            assert started["DATA_DIR"] == str(expected)


def test_who_has_a_data_directory_open_can_be_asked_also_after_a_kill(tmp_path: Path):
    assert owner_of(tmp_path) is None
    with DataDirectory.open(tmp_path, "http://127.0.0.1:8000"):
        owner = owner_of(tmp_path)
        assert owner == Owner(os.getpid(), "http://127.0.0.1:8000") and owner.is_alive
    assert owner_of(tmp_path) is None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "lock").write_text(json.dumps({"pid": ended.pid, "address": "http://127.0.0.1:8000"}))
    killed = owner_of(tmp_path)
    assert killed is not None and not killed.is_alive
    (tmp_path / "lock").write_text("[1]")
    assert owner_of(tmp_path) is None


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("models.example", "http://models.example:8000"),
    ],
)
def test_the_address_shown_is_one_that_a_browser_here_can_open(host, address):
    assert UpSettings(host=host).address == address


def test_the_three_lines_to_try_are_curl_commands_with_json_bodies(capfd):
    _say_ready("http://127.0.0.1:8000")
    address, *lines = capfd.readouterr().out.splitlines()
    assert "http://127.0.0.1:8000" in address
    assert len(lines) == 3
    assert all("curl -s " in line for line in lines)
    bodies = [json.loads(line.split(" -d '")[1].split("'")[0]) for line in (lines[0], lines[2])]
    assert [body["model"] for body in bodies] == ["or", "or"]


def test_a_local_folder_with_the_name_of_a_package_is_not_imported(program, tmp_path: Path, monkeypatch):
    for name in ("service", "worker", "cli"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    port = free_port()
    running = program("-P", "-m", "cli", "up", "--port", str(port))
    wait_until(lambda: f"Ready at http://127.0.0.1:{port} " in running.stdout)
    assert (tmp_path / "data" / "redis").is_dir()  # relative to where the command was called
    running.signal(signal.SIGTERM)
    assert running.wait(25.0) == 0
