"""The servers that `serving.py` compares, each a process on the first core, and the load on the second core."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = Path(__file__).parent / ".environments"
FASTAPI = ("fastapi", "uvicorn[standard]", "numpy")
MLSERVER = ("mlserver", "numpy")

_ON_FIRST_CORE, _ON_SECOND_CORE = ("taskset", "-c", "0"), ("taskset", "-c", "1")


class Missing(Exception):
    """A contestant cannot take part; the message says why."""


def require_wrk() -> None:
    """Find the load generator, or install it if possible.

    Raises:
        SystemExit: there is none.
    """
    if shutil.which("wrk") is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "--yes", "--quiet", "wrk"], check=False, stdout=sys.stderr)
    if shutil.which("wrk") is None or shutil.which("taskset") is None:
        sys.exit("wrk and taskset are needed to make the load: 'apt install wrk util-linux', or see github.com/wg/wrk")


def environment(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of an environment with the newest of these packages; the first use makes it.

    Raises:
        Missing: they cannot be installed.
    """
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        made = subprocess.run(pip, capture_output=True, text=True)
        if made.returncode != 0:
            raise Missing(f"{name} does not install here: {made.stderr.strip().splitlines()[-1]}")
        (folder / "installed").touch()
    return python


def installed(python: Path | str, *packages: str) -> dict[str, str]:
    """Return the versions of packages in an environment."""
    code = "import sys, importlib.metadata as m; print(*[m.version(p) for p in sys.argv[1:]])"
    answer = subprocess.run([str(python), "-c", code, *packages], check=True, capture_output=True, text=True)
    return dict(zip(packages, answer.stdout.split(), strict=True))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(
    command: Sequence[str], folder: Path, ready_url: str, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on the first core until the block ends.

    Raises:
        Missing: it does not start.
    """
    log = folder / f"{time.monotonic_ns()}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_ON_FIRST_CORE, *command], cwd=folder, env={**os.environ, **env}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while not _answers(ready_url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Missing(f"{command[-1]} does not start: {' '.join(log.read_text().strip().splitlines()[-1:])}")
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def script(folder: Path, bodies: Sequence[bytes], **headers: str) -> Path:
    """Write a script for wrk that sends the bodies in turn, as JSON unless `Content_Type` says another type."""
    path = folder / f"{time.monotonic_ns()}.lua"
    sent = {"Content_Type": "application/json", **headers}
    lines = ['wrk.method = "POST"']
    lines += [f'wrk.headers["{name.replace("_", "-")}"] = "{value}"' for name, value in sent.items()]
    if len(bodies) == 1:
        lines.append(f"wrk.body = {json.dumps(bodies[0].decode())}")
    else:
        listed = ",\n".join(json.dumps(body.decode()) for body in bodies)
        lines += [
            f"local bodies = {{{listed}}}",
            "local requests, i = {}, 0",
            "init = function() for k, body in ipairs(bodies) do requests[k] = wrk.format(nil, nil, nil, body) end end",
            "request = function() i = i % #requests + 1; return requests[i] end",
        ]
    path.write_text("\n".join(lines))
    return path


def load(url: str, lua: Path | None, *, duration_s: int = 2, connections: int = 32) -> tuple[float, float]:
    """Send requests over kept connections as fast as they are answered. Returns requests/s, and p99 in seconds."""
    command = [*_ON_SECOND_CORE, "wrk", "--latency", "-t1", f"-c{connections}", f"-d{duration_s}s"]
    command += [] if lua is None else ["-s", str(lua)]
    text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(text)
    rate = float(text.split("Requests/sec:")[1].split()[0])
    p99 = re.search(r"^ +99% +(\S+) *$", text, re.MULTILINE)
    assert p99 is not None, text
    return rate, _seconds(p99[1])


def _seconds(text: str) -> float:
    for unit, factor in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)
