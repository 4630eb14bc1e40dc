"""nginx as deploy/nginx.conf has it, but for its addresses and the place of its files."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.faults.rig import ROOT, wait_for
from tests.free_port import free_port


@contextmanager
def running_nginx(folder: Path, replica: int, other: int) -> Iterator[int]:
    """Run it in front of two replicas, named by their ports; give the port of the front."""
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None:
        pytest.skip("nginx is not installed: apt install nginx-light")
    port = free_port()
    text = (ROOT / "deploy" / "nginx.conf").read_text().replace("/tmp/nginx", f"{folder}/nginx")
    text = text.replace("listen 8000;", f"listen 127.0.0.1:{port};")
    names = re.findall(r"server (api[-0-9]*:8000)", text)
    assert names == ["api:8000", "api-2:8000"]
    for name, each in zip(names, (replica, other), strict=True):
        text = text.replace(f"server {name} ", f"server 127.0.0.1:{each} ")
    config = folder / "nginx.conf"
    config.write_text(text)
    command = [nginx, "-p", str(folder), "-e", "stderr", "-c", str(config), "-g", "daemon off;"]
    with (folder / "nginx.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        wait_for(lambda: status_of(port) is not None)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def status_of(port: int) -> int | None:
    with suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/livez").status_code
    return None
