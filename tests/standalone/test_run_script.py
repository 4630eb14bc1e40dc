"""`./run` makes its environment once, and says in one line what it needs and how to get it.

Each test runs a copy of the script in its own folder, with empty locks, so no test needs the network.
"""

import ast
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, wait_until

ECHO = "import os, sys; print(os.getpid(), *sys.argv[1:])"
UNLOCKED = "no-such-package==1.0 --hash=sha256:" + 64 * "0" + "\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the script, empty locks and a command that prints its arguments."""
    folder = tmp_path / "a checkout"
    (folder / "cli").mkdir(parents=True)
    (folder / "cli" / "__init__.py").touch()
    (folder / "cli" / "__main__.py").write_text(ECHO)
    shutil.copy(ROOT / "run", folder)
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-data.lock"):
        (folder / name).touch()
    return folder


@pytest.fixture
def installed(checkout: Path) -> Path:
    """The checkout with a .venv that the script takes for finished; without pip, which takes seconds to install."""
    script = runpy.run_path(str(checkout / "run"))
    venv.create(script["VENV"], symlinks=True)
    script["STAMP"].write_text(script["stamp_of"](script["DEV_LOCK"]))
    return checkout


@pytest.fixture
def run(checkout: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: str, python: str = sys.executable, **env: str) -> subprocess.CompletedProcess[str]:
        command = [python, str(checkout / "run"), *arguments]
        environment = {**os.environ, **env}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    return call


@pytest.fixture
def beginning_with(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Environment variables with which Python runs this code first."""

    def prepare(code: str) -> dict[str, str]:
        (tmp_path / "sitecustomize.py").write_text(code)
        return {"PYTHONPATH": str(tmp_path)}

    return prepare


def test_it_installs_once_passes_arguments_on_and_becomes_the_command(checkout: Path, run):
    first = run("up", "--port", "9000", "a b")
    assert first.returncode == 0, first.stderr
    assert first.stdout.split(maxsplit=1)[1] == "up --port 9000 a b\n"
    assert [line.split(" (")[0] for line in first.stderr.splitlines()] == [
        f"run: making .venv with Python {'.'.join(map(str, sys.version_info[:3]))}",
        "run: installing requirements.lock into .venv",
    ]

    second = run("up")
    assert (second.returncode, second.stderr) == (0, "")  # nothing to do, so no output

    marker = checkout / ".venv" / "marker"
    marker.touch()
    (checkout / "requirements.lock").write_text("# changed\n")
    third = run("up")
    assert third.returncode == 0
    assert marker.exists()  # the same environment, with another lock
    assert "installing requirements.lock" in third.stderr


@pytest.mark.long
def test_two_first_runs_at_once_make_one_environment(checkout: Path, tmp_path: Path):
    command = [sys.executable, str(checkout / "run"), "up"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
        for _ in range(2)
    ]
    outputs = [one.communicate(timeout=60) for one in both]
    assert [one.returncode for one in both] == [0, 0], outputs
    messages = "".join(stderr for _, stderr in outputs)
    assert messages.count("making .venv") == 1
    assert messages.count("waiting for another ./run") == 1


@pytest.mark.long
def test_an_interrupt_while_installing_prints_no_traceback_and_the_next_run_recovers(checkout: Path, run, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen([sys.executable, str(checkout / "run"), "up"], stderr=stderr, start_new_session=True)
        wait_until(lambda: "making .venv" in log.read_text())
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)  # as the terminal does
        assert process.wait(10) == 130
    assert "Traceback" not in log.read_text()
    assert run("up").returncode == 0


def test_an_unreachable_package_index_is_one_line(checkout: Path, run):
    (checkout / "requirements.lock").write_text(UNLOCKED)
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "1",
        "PIP_FIND_LINKS": "",
        "PIP_NO_PROXY": "127.0.0.1",
    }
    result = run("up", **nowhere)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "run: error: installing requirements.lock failed: the package index cannot be reached: "
        "check the network and the proxy, then try again"
    )
    assert len(result.stderr.splitlines()) == 3
    assert "no-such-package" in (checkout / ".venv" / "install.log").read_text()


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_python_without_venv_is_one_line_that_names_the_package(run, beginning_with, module: str):
    result = run("up", **beginning_with(f"import sys\nsys.modules[{module!r}] = None"))
    assert (result.returncode, result.stderr) == (
        1,
        "run: error: this Python cannot make virtual environments: run 'apt install python3-venv'\n",
    )


def test_a_folder_that_cannot_be_written_is_one_line(checkout: Path, run):
    (checkout / ".venv.lock").symlink_to("/sys/no-such-file")  # not even root can write there
    os.chmod(checkout, 0o555)
    try:
        result = run("up")
    finally:
        os.chmod(checkout, 0o755)
    assert result.returncode == 1
    assert result.stderr.startswith("run: error: ")
    assert result.stderr.endswith(f" cannot be written: use a copy of {checkout} in a folder of yours\n")
    assert len(result.stderr.splitlines()) == 1


def test_a_full_disk_is_one_line(checkout: Path, run, beginning_with):
    result = run("up", **beginning_with("import shutil\nshutil.disk_usage('.').__class__.free = 5_000_000"))
    assert (result.returncode, result.stderr) == (
        1,
        f"run: error: 5 MB are free on the disk of {checkout}, .venv needs 450 MB: make room\n",
    )


def test_a_python_that_is_too_old_is_one_line(run, beginning_with):
    result = run("up", **beginning_with("import sys\nsys.version_info = (3, 10, 4)"))
    assert result.returncode == 1
    assert result.stderr.startswith("run: error: Python 3.11 or newer is needed, this is 3.")
    assert len(result.stderr.splitlines()) == 1


def test_a_python_as_old_as_3_6_can_parse_the_script_to_say_so():
    ast.parse((ROOT / "run").read_text(), feature_version=(3, 6))


def test_help_lists_the_verbs_and_an_unknown_verb_points_to_it(run):
    for arguments in ([], ["help"], ["--help"]):
        result = run(*arguments)
        assert result.returncode == 0
        assert "  up  " in result.stdout
    result = run("upp")
    assert (result.returncode, result.stderr) == (
        2,
        "run: error: there is no verb 'upp': './run help' lists them\n",
    )


def test_help_names_every_benchmark(run):
    names = sorted(path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py"))
    assert f"measure and compare: {', '.join(names)}\n" in run("help").stdout


@pytest.mark.parametrize(
    ("arguments", "passed_on"),
    [
        ([], f"--numprocesses {(os.cpu_count() or 1) + 1} --dist worksteal"),
        (["tests/worker", "-x", "-q"], "tests/worker -x -q"),
    ],
)
def test_the_whole_suite_runs_in_parallel_and_what_is_named_in_one_process(
    installed: Path, run, arguments: list[str], passed_on: str
):
    (installed / "pytest.py").write_text(f"{ECHO}\nsys.exit(3)")
    result = run("test", *arguments)
    assert (result.stdout.split(maxsplit=1)[1], result.returncode) == (f"{passed_on}\n", 3)


@pytest.mark.parametrize(("dockerfile", "compose_file"), [(0, 0), (1, 0), (0, 1)])
def test_check_refuses_container_files_that_either_tool_refuses(
    installed: Path, run, dockerfile: int, compose_file: int
):
    hadolint = installed / ".venv" / "bin" / "hadolint"
    hadolint.write_text(f'#!/bin/sh\necho hadolint "$@"\nexit {dockerfile}\n')
    hadolint.chmod(0o755)
    (installed / "check_jsonschema.py").write_text(f"{ECHO}\nsys.exit({compose_file})")
    result = run("check", "containers")
    assert "hadolint Dockerfile\n" in result.stdout
    assert " --builtin-schema vendor.compose-spec docker-compose.yml\n" in result.stdout
    is_clean = dockerfile == compose_file == 0
    last_line = "run: containers: ok" if is_clean else "run: error: these checks failed: containers"
    assert (result.returncode, result.stderr.splitlines()[-1]) == (0 if is_clean else 1, last_line)


def test_a_closed_output_prints_no_traceback(checkout: Path):
    shell = f"{sys.executable} '{checkout / 'run'}' help | true"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert result.stderr == ""


def test_the_locks_hold_hashes_and_no_address():
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-data.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        pins = [line for line in text.splitlines() if not line.startswith(" ")]
        assert all("==" in line for line in pins)
        assert text.count("--hash=sha256:") >= len(pins)


def test_the_dev_lock_is_the_runtime_lock_and_more():
    def pins(name: str) -> set[str]:
        return {line.split()[0] for line in (ROOT / name).read_text().splitlines() if "==" in line}

    assert pins("requirements.lock") < pins("requirements-dev.lock")
