"""PUBLISHED: what listens on all addresses of a container may be published on this machine alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from standalone import EmbeddedServer
from storage.access.store import AccessKeyStore
from storage.connection import connect
from tests.api_process import running_api
from tests.faults.rig import wait_for
from tests.free_port import free_port
from tests.stack import ROOT


def test_what_is_published_on_this_machine_needs_no_key_and_no_page_can_use_it(tmp_path: Path) -> None:
    with running_api(tmp_path, HOST="0.0.0.0", PUBLISHED="127.0.0.1:8000 [::1]:8080") as api:
        assert api.http.get("/jobs").status_code == 200
        assert api.http.get("/jobs", headers={"Host": "evil.example"}).status_code == 421
        assert api.http.get("/jobs", headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 403
        with connect(api.server.url, timeout_s=5, n_retries=1) as redis:
            _, text = AccessKeyStore(redis).create(["read"])
        wait_for(lambda: api.http.get("/jobs").status_code == 401)  # the first key is heard of within 50 ms
        assert api.http.get("/jobs", headers={"X-API-Key": text, "Host": "api.example"}).status_code == 200


@pytest.mark.parametrize("published", ["0.0.0.0:9000", "127.0.0.1:8000 9000"])
def test_what_is_published_elsewhere_does_not_start_without_a_key(tmp_path: Path, published: str) -> None:
    with EmbeddedServer(tmp_path) as server:
        settings = {"REDIS_URL": server.url, "DATA_DIR": str(tmp_path), "PUBLISHED": published, "HOST": "0.0.0.0"}
        command = [sys.executable, "-m", "cli", "serve", "--port", str(free_port())]
        ran = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60
        )
    assert ran.returncode == 1
    assert "other machines can reach 0.0.0.0, and there is no access key" in ran.stderr
    assert "docker compose run --rm api keys create --scope admin" in ran.stderr
