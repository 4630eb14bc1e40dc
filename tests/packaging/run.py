"""Build the distributions and install them as users do, each into an empty environment: `./run package-test`.

Needs a package index: each way to install fetches about 150 MB, or takes them from uv's cache. Nothing is left behind,
and nothing but temporary folders is written.
"""

import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.free_port import free_port

ROOT = Path(__file__).resolve().parents[2]
PLANES = ROOT / "examples" / "planes.csv"
PACKAGES = {"perceptron", "storage", "service", "worker", "standalone", "perceptron_client", "cli"}

NOT_PACKED = ("tests/", "benchmarks/", ".ci/", "data/", ".venv/")
NEEDED = ("storage/lua/publish.lua", "perceptron_client/py.typed", "cli/main.py", "service/asgi.py", "worker/main.py")

READY_WITHIN_S = 120.0
ENDS_WITHIN_S = 30.0


class Failed(Exception):
    """A step did not do what it should."""


def main() -> int:
    """Run all steps; returns the exit status."""
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="perceptron-package-") as name:
        folder = Path(name)
        steps: list[tuple[str, Callable[[], None]]] = [
            ("python -m build", lambda: build(folder)),
            ("the wheel's and the sdist's names", lambda: check_names(folder)),
            ("uv tool install WHEEL", lambda: uv_tool_install(folder, str(wheel_of(folder)), "wheel")),
            ("git clone", lambda: clone(folder)),
            ("uv tool install . in the clone", lambda: uv_tool_install(folder, ".", "clone")),
            ("uvx --from . perceptron up in the clone", lambda: uvx_up(folder)),
            ("pipx install . in the clone", lambda: pipx_install(folder, ".")),
            ("pipx install SDIST", lambda: pipx_install(folder, str(sdist_of(folder)))),
        ]
        for step, run in steps:
            step_began_at = time.monotonic()
            try:
                run()
            except (Failed, OSError, subprocess.SubprocessError) as error:
                print(f"FAILED  {step}\n{error}")
                return 1
            print(f"ok      {step} ({time.monotonic() - step_began_at:.0f} s)", flush=True)
    print(f"all is well after {time.monotonic() - began_at:.0f} s")
    return 0


def build(folder: Path) -> None:
    """Build both distributions; the wheel is made from the sdist."""
    output([sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT)])


def wheel_of(folder: Path) -> Path:
    (path,) = (folder / "dist").glob("*.whl")
    return path


def sdist_of(folder: Path) -> Path:
    (path,) = (folder / "dist").glob("*.tar.gz")
    return path


def check_names(folder: Path) -> None:
    """Check that the distributions hold what is needed, and neither tests nor benchmarks."""
    in_wheel = set(zipfile.ZipFile(wheel_of(folder)).namelist())
    with tarfile.open(sdist_of(folder)) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    for kind, names in (("wheel", in_wheel), ("sdist", in_sdist)):
        if extra := sorted(name for name in names if name.startswith(NOT_PACKED)):
            raise Failed(f"the {kind} holds {', '.join(extra[:5])}")
        if missing := [name for name in NEEDED if name not in names]:
            raise Failed(f"the {kind} lacks {', '.join(missing)}")
    top = {name.partition("/")[0] for name in in_wheel if ".dist-info/" not in name}
    if top != PACKAGES:
        raise Failed(f"the wheel holds the packages {sorted(top)}")
    tracked = output(["git", "ls-files", *sorted(PACKAGES)], cwd=ROOT).split()
    of_client = {"perceptron_client/pyproject.toml", "perceptron_client/README.md"}  # of a distribution of its own
    if missing := sorted({*tracked} - in_wheel - of_client):
        raise Failed(f"the wheel lacks {', '.join(missing[:5])}")


def clone(folder: Path) -> None:
    """Clone what is committed."""
    output(["git", "clone", "--quiet", str(ROOT), str(folder / "clone")])


def uv_tool_install(folder: Path, what: str, name: str) -> None:
    """Install with uv, and use the command."""
    programs = folder / f"uv-{name}"
    settings = {"UV_TOOL_DIR": str(folder / f"uv-tools-{name}"), "UV_TOOL_BIN_DIR": str(programs)}
    output([*uv(), "tool", "install", "--quiet", what], cwd=where(folder, what), settings=settings)
    try_out([str(programs / "perceptron")], folder / f"data-uv-{name}")


def uvx_up(folder: Path) -> None:
    """Run the command without installing it."""
    try_out([*uv(), "tool", "run", "--from", ".", "perceptron"], folder / "data-uvx", cwd=folder / "clone")


def pipx_install(folder: Path, what: str) -> None:
    """Install with pipx, and use the command."""
    name = "clone" if what == "." else "sdist"
    programs = folder / f"pipx-{name}"
    settings = {"PIPX_HOME": str(folder / f"pipx-home-{name}"), "PIPX_BIN_DIR": str(programs)}
    command = [*uv(), "tool", "run", "pipx", "install", "--python", sys.executable, what]
    output(command, cwd=where(folder, what), settings=settings)
    try_out([str(programs / "perceptron")], folder / f"data-pipx-{name}")


def try_out(command: Sequence[str], data: Path, cwd: Path | None = None) -> None:
    """Start the service, train, predict and stop it, all with an installed command, in a folder without our files."""
    cwd = cwd or data.parent
    if not re.fullmatch(r"perceptron \d+\.\d+\.\d+\n", shown := output([*command, "--version"], cwd=cwd)):
        raise Failed(f"--version printed {shown!r}")
    port = free_port()
    log = data.with_suffix(".log")
    with log.open("wb") as file:
        service = subprocess.Popen(
            [*command, "up", "--port", str(port), "--data-dir", str(data)],
            cwd=cwd, env=environment(), stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + READY_WITHIN_S
        while "Ready at http" not in log.read_text():
            if service.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"'perceptron up' is not ready:\n{log.read_text()[-3000:]}")
            time.sleep(0.1)
        settings = {"DATA_DIR": str(data)}
        output([*command, "train", str(PLANES), "--target", "seats"], cwd=cwd, settings=settings)
        answer = output([*command, "predict", "planes", str(PLANES)], cwd=cwd, settings=settings)
        if len(lines := answer.splitlines()) != 3323 or lines[0] != "prediction,output":
            raise Failed(f"predict printed {len(lines)} lines, first {lines[:1]}")
        output([*command, "doctor", "--data-dir", str(data), "--port", str(port)], cwd=cwd)
        os.killpg(service.pid, signal.SIGTERM)
        if (status := service.wait(ENDS_WITHIN_S)) not in (0, -signal.SIGTERM):  # uv does not wait for what it runs
            raise Failed(f"'perceptron up' ended with {status}:\n{log.read_text()[-3000:]}")
    finally:
        if service.poll() is None:
            os.killpg(service.pid, signal.SIGKILL)
            service.wait()


def uv() -> list[str]:
    return [sys.executable, "-m", "uv"]


def where(folder: Path, what: str) -> Path:
    return folder / "clone" if what == "." else folder


def environment(settings: dict[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which only what is installed is found."""
    ours = ("PYTHONPATH", "VIRTUAL_ENV", "REDIS_URL", "DATA_DIR", "BLOB_URL", "PORT", "PERCEPTRON_URL")
    return {name: value for name, value in os.environ.items() if name not in ours} | (settings or {})


def output(command: Sequence[str], cwd: Path | None = None, settings: dict[str, str] | None = None) -> str:
    """Return what a command prints.

    Raises:
        Failed: its exit status is not 0.
    """
    ran = subprocess.run(command, cwd=cwd, env=environment(settings), capture_output=True, text=True, timeout=900)
    if ran.returncode != 0:
        raise Failed(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stdout[-2000:]}{ran.stderr[-3000:]}")
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
