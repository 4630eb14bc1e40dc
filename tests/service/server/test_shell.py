"""The ASGI shell around the Flask app, without a server."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.server.shell import Shell
from service.settings import Limits
from storage.blobs import BlobStore
from storage.connection import connect, connect_on_loop
from storage.models.store import ModelStore
from tests.builders import loaded_models


@pytest.fixture
def shell(blobs: BlobStore, tmp_path: Path) -> Shell:
    nobody = connect(f"unix://{tmp_path}/nobody.sock", timeout_s=0.5, n_retries=0)
    on_loop = connect_on_loop(f"unix://{tmp_path}/nobody.sock", timeout_s=0.5, max_connections=1)
    limits = Limits(max_body_bytes=100)
    models = loaded_models(ModelStore(nobody))
    return Shell(
        create_app(nobody, blobs, limits, models), on_loop, models, threads=1, limits=limits, body_timeout_s=0.1
    )


def ask(shell: Shell, method: str, path: str, **options: Any) -> httpx.Response:
    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(shell), base_url="http://h") as http:  # type: ignore[arg-type]
            return await http.request(method, path, **options)

    return asyncio.run(answer())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_shell_says_that_it_is_alive_as_the_flask_app_does(shell: Shell, http: FlaskClient, method: str) -> None:
    headers = {"X-Request-Id": "abc-1"}
    ours, flasks = ask(shell, method, "/livez", headers=headers), http.open("/livez", method=method, headers=headers)
    assert (ours.status_code, ours.content) == (flasks.status_code, flasks.data)
    assert dict(ours.headers) == {name.lower(): value for name, value in flasks.headers}


def test_livez_needs_none_of_the_threads(shell: Shell) -> None:
    shell._flask = None  # type: ignore[assignment]
    assert ask(shell, "GET", "/livez").json() == {"status": "alive"}
    assert ask(shell, "GET", "/livez", headers={"X-Request-Id": "a b"}).headers["X-Request-Id"] != "a b"


def test_a_client_that_stops_sending_is_dropped(shell: Shell) -> None:
    sent: list[Any] = []
    parts = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> Any:
        for part in parts:
            return part
        await asyncio.sleep(10)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/jobs", "headers": [(b"content-length", b"10")]}
    asyncio.run(asyncio.wait_for(shell(scope, receive, send), 5))
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]
    assert b'"code":"request_timeout"' in sent[1]["body"]
